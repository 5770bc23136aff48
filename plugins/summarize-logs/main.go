// Summarize-logs makes a summary in JSON of each access log of a web server.
package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"
)

const (
	// lineLimit is the longest line that is read, in bytes. Servers cut requests
	// far before.
	lineLimit = 1 << 20

	// progressEvery is after how many lines the host is told how far it is.
	progressEvery = 20_000
)

// Summarizer is the task. Its exported fields are its parameters.
type Summarizer struct {
	Top     int     `help:"How many of the most requested paths to list" default:"10"`
	Queries bool    `help:"Take paths with different queries for different ones"`
	Only    string  `help:"Which requests to summarize: all, or those answered with a status of 400 and more" choice:"all,errors" default:"all"`
	MaxBad  float64 `help:"Fail a file when more than this percentage of its lines are no log lines" default:"10"`
}

// NotALog is the error of a file that is something else.
type NotALog struct {
	Bad, Lines int
	// First is the first line that is no log line.
	First BadLine
}

func (e *NotALog) Error() string {
	return fmt.Sprintf("it is no access log: %d of %d lines are none of it, first line %d (%s); see --max-bad",
		e.Bad, e.Lines, e.First.Line, e.First.Reason)
}

// Setup checks what the types of the parameters do not say.
func (s *Summarizer) Setup() error {
	if s.Top < 0 {
		return errors.New("--top cannot be negative")
	}
	if s.MaxBad < 0 || s.MaxBad > 100 {
		return errors.New("--max-bad is a percentage, from 0 to 100")
	}
	return nil
}

// Run summarizes one log, which may be packed by gzip.
func (s *Summarizer) Run(in task.Input, out task.Output) error {
	file, err := in.Open()
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := unpacked(file)
	if err != nil {
		return err
	}
	summary := newSummary(s.Queries, s.Only == "errors")
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, lineLimit)
	for lines.Scan() {
		summary.add(lines.Text())
		if summary.Lines%progressEvery == 0 {
			in.Progress(share(file))
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", summary.Lines+1, err)
	}

	switch bad := summary.BadLines; {
	case summary.Lines == 0:
		return task.Aborted("the log is empty")
	case float64(bad)*100 > s.MaxBad*float64(summary.Lines):
		return &NotALog{Bad: bad, Lines: summary.Lines, First: summary.FirstBad[0]}
	case bad > 0:
		slog.Warn("some lines are no log lines", "bad", bad, "lines", summary.Lines)
	}
	summary.finish(s.Top)
	contents, err := json.MarshalIndent(summary, "", "  ")
	if err != nil {
		return err
	}
	return out.Write(append(contents, '\n'))
}

// unpacked is the log's text, whether it is packed or not.
func unpacked(file *task.Reader) (io.Reader, error) {
	// A file of one byte is not packed, and its end is no error here.
	if begin, _ := file.Peek(2); string(begin) == "\x1f\x8b" {
		return gzip.NewReader(file)
	}
	return file, nil
}

// share is how much of a file is read.
func share(file *task.Reader) float64 {
	place, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0
	}
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return 0
	}
	return float64(place) / float64(info.Size())
}

func init() {
	task.Register(task.About{
		Name:    "summarize-logs",
		Version: "0.1.0",
		Summary: "Summarizes a web server's access log as JSON",
	}, &Summarizer{})
}

func main() {} // A component has no main, but Go wants one.
