package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// badShown is how many bad lines the summary shows.
const badShown = 3

// Summary is what is told of a log.
type Summary struct {
	Lines    int            `json:"lines"`
	Requests int            `json:"requests"`
	Bytes    int64          `json:"bytes"`
	Clients  int            `json:"clients"`
	First    *time.Time     `json:"first"`
	Last     *time.Time     `json:"last"`
	Methods  map[string]int `json:"methods"`
	Statuses map[string]int `json:"statuses"`
	TopPaths []Path         `json:"top_paths"`
	// Hours are those in which there was a request, in UTC.
	Hours    []Hour    `json:"hours"`
	BadLines int       `json:"bad_lines"`
	FirstBad []BadLine `json:"first_bad_lines"`

	queries, errorsOnly bool
	clients             map[string]struct{}
	paths               map[string]*Path
	hours               map[time.Time]*Hour
}

// Path is what is told of one path.
type Path struct {
	Path     string `json:"path"`
	Requests int    `json:"requests"`
	Errors   int    `json:"errors"`
	Bytes    int64  `json:"bytes"`
}

// Hour is what is told of one hour.
type Hour struct {
	Hour     time.Time `json:"hour"`
	Requests int       `json:"requests"`
	Errors   int       `json:"errors"`
	Bytes    int64     `json:"bytes"`
}

// BadLine is a line that is no log line.
type BadLine struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

func (b BadLine) String() string { return fmt.Sprintf("line %d: %s", b.Line, b.Reason) }

// newSummary begins a summary. queries: paths keep their query; errorsOnly:
// requests that went well are left out.
func newSummary(queries, errorsOnly bool) *Summary {
	return &Summary{
		Methods:    map[string]int{},
		Statuses:   map[string]int{},
		FirstBad:   []BadLine{},
		queries:    queries,
		errorsOnly: errorsOnly,
		clients:    map[string]struct{}{},
		paths:      map[string]*Path{},
		hours:      map[time.Time]*Hour{},
	}
}

// add takes in a line.
func (s *Summary) add(line string) {
	s.Lines++
	r, err := parse(strings.TrimSuffix(line, "\r"))
	if err != nil {
		s.BadLines++
		if len(s.FirstBad) < badShown {
			s.FirstBad = append(s.FirstBad, BadLine{Line: s.Lines, Reason: err.Error()})
		}
		return
	}
	failed := 0
	if r.status >= 400 {
		failed = 1
	} else if s.errorsOnly {
		return
	}

	s.Requests++
	s.Bytes += r.bytes
	s.clients[r.client] = struct{}{}
	s.Statuses[strconv.Itoa(r.status)]++
	if s.First == nil || r.at.Before(*s.First) {
		s.First = &r.at
	}
	if s.Last == nil || r.at.After(*s.Last) {
		s.Last = &r.at
	}
	hour := entry(s.hours, r.at.Truncate(time.Hour))
	hour.Requests++
	hour.Errors += failed
	hour.Bytes += r.bytes
	if r.target == "" {
		return
	}
	s.Methods[r.method]++
	path := r.target
	if !s.queries {
		path, _, _ = strings.Cut(path, "?")
	}
	counted := entry(s.paths, path)
	counted.Requests++
	counted.Errors += failed
	counted.Bytes += r.bytes
}

// entry is the value of a key, made where there is none.
func entry[K comparable, V any](entries map[K]*V, key K) *V {
	value := entries[key]
	if value == nil {
		value = new(V)
		entries[key] = value
	}
	return value
}

// finish makes the lists of what was counted. top: how many paths to list.
func (s *Summary) finish(top int) {
	s.Clients = len(s.clients)
	s.TopPaths = make([]Path, 0, len(s.paths))
	for name, path := range s.paths {
		path.Path = name
		s.TopPaths = append(s.TopPaths, *path)
	}
	slices.SortFunc(s.TopPaths, func(a, b Path) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Path, b.Path))
	})
	s.TopPaths = s.TopPaths[:min(top, len(s.TopPaths))]
	s.Hours = make([]Hour, 0, len(s.hours))
	for _, at := range slices.SortedFunc(maps.Keys(s.hours), time.Time.Compare) {
		s.hours[at].Hour = at
		s.Hours = append(s.Hours, *s.hours[at])
	}
}
