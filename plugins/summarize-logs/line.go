package main

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// request is what one line of a log tells of a request.
type request struct {
	client string
	at     time.Time
	method string
	// target is the path with its query; empty where the request was none of
	// HTTP.
	target string
	status int
	bytes  int64
}

// parse reads a line of the combined format, or of the common one, which has
// neither referrer nor user agent at its end:
//
//	192.0.2.7 - alice [22/Nov/2026:14:30:26 +0000] "GET /a?b HTTP/1.1" 200 512 "https://…" "Mozilla/5.0 …"
func parse(line string) (request, error) {
	var r request
	client, rest, _ := strings.Cut(line, " ")
	// The identity and the user, which may have spaces in it, say nothing here.
	_, rest, found := strings.Cut(rest, " [")
	if !found {
		return r, errors.New("there is no time in brackets")
	}
	stamp, rest, found := strings.Cut(rest, "] ")
	if !found {
		return r, errors.New("the time has no end")
	}
	at, err := time.Parse("02/Jan/2006:15:04:05 -0700", stamp)
	if err != nil {
		return r, errors.New("the time is not of the form 22/Nov/2026:14:30:26 +0000")
	}
	asked, rest, err := quoted(rest)
	if err != nil {
		return r, err
	}
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return r, errors.New("status and size are missing")
	}
	status, err := strconv.Atoi(fields[0])
	if err != nil || status < 100 || status > 599 {
		return r, errors.New("there is no such status")
	}
	size := int64(0)
	if fields[1] != "-" {
		if size, err = strconv.ParseInt(fields[1], 10, 64); err != nil || size < 0 {
			return r, errors.New("the size is no number")
		}
	}
	r = request{client: client, at: at.UTC(), status: status, bytes: size}
	// What is no HTTP (a TLS handshake on a plain port) is logged as it came.
	if parts := strings.Split(asked, " "); len(parts) >= 2 && strings.HasPrefix(parts[len(parts)-1], "HTTP/") {
		r.method, r.target = parts[0], parts[1]
	}
	return r, nil
}

// quoted takes a text in quotes off the begin of a line. Quotes in it have a
// backslash before them.
func quoted(line string) (text, rest string, err error) {
	if !strings.HasPrefix(line, `"`) {
		return "", "", errors.New("there is no request in quotes")
	}
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			return line[1:i], line[i+1:], nil
		}
	}
	return "", "", errors.New("the request's quotes have no end")
}
