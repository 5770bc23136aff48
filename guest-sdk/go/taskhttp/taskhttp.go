// Package taskhttp lets net/http ask servers from a task: import it, and
// [http.Get] and its like work as everywhere.
//
//	import _ "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/taskhttp"
//
// In a component it sets [http.DefaultTransport] to one that has the host send
// the requests; connections, their reuse, HTTP/2, certificates and proxies are
// the host's. The user grants each server (`--allow-host api.example.org`), and
// the task says that it wants to with [task.Host].
//
// A request waits without holding up other goroutines, so several go on at the
// same time; one that computes holds up all. The deadline of a request's context
// and the client's Timeout hold. An error that another try may mend (a
// connection refused or lost, a server that takes too long) is marked as
// transient, see [task.TransientError]; so is the [StatusError] of an answer such
// as 429 or 503.
//
// Outside of a component it changes nothing: tests reach servers of
// net/http/httptest.
package taskhttp

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"
)

const (
	// excerptBytes is how much of a body is read for an error, and
	// excerptLetters how much of it is shown: a message of an API, and not a
	// whole page.
	excerptBytes   = 4 << 10
	excerptLetters = 500
)

// StatusError is an answer that says no: [Check] makes it.
type StatusError struct {
	// Method, Host and Path are those of the request. Its query and headers,
	// which may hold keys, are not told.
	Method, Host, Path string
	// StatusCode is the answer's status.
	StatusCode int
	// Excerpt is the begin of its body, on one line.
	Excerpt string
}

// Error says what was asked, and what the server answered.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s%s: the server answered %d", e.Method, e.Host, e.Path, e.StatusCode)
	if reason := http.StatusText(e.StatusCode); reason != "" {
		text += " " + reason
	}
	if e.Excerpt != "" {
		text += ": " + e.Excerpt
	}
	return text
}

// Kind is what becomes `exception_type`.
func (e *StatusError) Kind() string { return "HttpStatus" }

// Check makes a [StatusError] of an answer with a status of 400 or more, and
// closes its body. Where another try may have another answer, the error is
// transient, with the server's Retry-After.
//
//	response, err := http.Get(url)
//	if err != nil {
//		return err
//	}
//	defer response.Body.Close()
//	if err := taskhttp.Check(response); err != nil {
//		return err
//	}
func Check(response *http.Response) error {
	if response.StatusCode < 400 {
		return nil
	}
	// What the body does not say, the status says.
	begin, _ := io.ReadAll(io.LimitReader(response.Body, excerptBytes))
	response.Body.Close()
	err := &StatusError{StatusCode: response.StatusCode, Excerpt: excerpt(begin)}
	if request := response.Request; request != nil {
		err.Method, err.Host, err.Path = request.Method, request.URL.Host, request.URL.Path
	}
	switch response.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return task.RetryAfter(err, retryAfter(response.Header.Get("Retry-After"), time.Now()))
	}
	return err
}

// retryAfter is how long a Retry-After says to wait: seconds, or until a date.
// 0: it does not say.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}

// excerpt is a body's begin on one line.
func excerpt(body []byte) string {
	letters := []rune(strings.ToValidUTF8(string(body), "\uFFFD"))
	words := strings.FieldsFunc(string(letters), func(letter rune) bool {
		return unicode.IsSpace(letter) || unicode.IsControl(letter)
	})
	letters = []rune(strings.Join(words, " "))
	if len(letters) > excerptLetters {
		return string(letters[:excerptLetters]) + "…"
	}
	return string(letters)
}
