package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"
	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/tasktest"
)

const log = `192.0.2.1 - - [22/Nov/2026:14:30:26 +0100] "GET /a?x=1 HTTP/1.1" 200 100 "-" "Mozilla/5.0"
192.0.2.1 - alice smith [22/Nov/2026:14:59:59 +0100] "GET /a?x=2 HTTP/1.1" 404 20 "-" "say \"hi\""
2001:db8::7 - - [22/Nov/2026:15:00:00 +0100] "POST /b HTTP/2.0" 204 -
198.51.100.3 - - [22/Nov/2026:15:10:00 +0100] "\x16\x03\x01" 400 150 "-" "-"
`

func summarize(t *testing.T, contents string, arguments ...string) (Summary, error) {
	t.Helper()
	made, err := tasktest.Run(t, tasktest.Setup(t, &Summarizer{}, arguments...), contents)
	var summary Summary
	if err == nil {
		err = json.Unmarshal([]byte(made), &summary)
	}
	return summary, err
}

func TestALogIsSummarized(t *testing.T) {
	s, err := summarize(t, log)
	if err != nil {
		t.Fatal(err)
	}
	if s.Lines != 4 || s.Requests != 4 || s.Bytes != 270 || s.Clients != 3 || s.BadLines != 0 {
		t.Errorf("got %+v", s)
	}
	if s.Statuses["200"] != 1 || s.Statuses["404"] != 1 || s.Methods["GET"] != 2 || s.Methods["POST"] != 1 {
		t.Errorf("got %v, %v", s.Statuses, s.Methods)
	}
	if len(s.TopPaths) != 2 || s.TopPaths[0] != (Path{"/a", 2, 1, 120}) || s.TopPaths[1] != (Path{"/b", 1, 0, 0}) {
		t.Errorf("got %+v", s.TopPaths)
	}
	first := time.Date(2026, time.November, 22, 13, 0, 0, 0, time.UTC)
	if len(s.Hours) != 2 || s.Hours[0] != (Hour{first, 2, 1, 120}) || s.Hours[1].Requests != 2 {
		t.Errorf("got %+v", s.Hours)
	}
	if !s.Last.Equal(first.Add(70 * time.Minute)) {
		t.Errorf("got %v", s.Last)
	}
}

func TestParametersChangeWhatIsTold(t *testing.T) {
	if s, _ := summarize(t, log, "queries=true", "top=2"); len(s.TopPaths) != 2 || s.TopPaths[0].Path != "/a?x=1" {
		t.Errorf("got %+v", s.TopPaths)
	}
	if s, _ := summarize(t, log, "only=errors", "top=0"); s.Requests != 2 || s.Bytes != 170 || len(s.TopPaths) != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestAPackedLogIsUnpacked(t *testing.T) {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	writer.Write([]byte(log))
	writer.Close()
	if s, err := summarize(t, packed.String()); err != nil || s.Requests != 4 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestBadLinesAreCountedUpToALimit(t *testing.T) {
	s, err := summarize(t, "\n"+log, "max-bad=20")
	if err != nil || s.BadLines != 1 || s.FirstBad[0] != (BadLine{1, "there is no time in brackets"}) {
		t.Errorf("got %+v, %v", s, err)
	}
	_, err = summarize(t, "\n"+log, "max-bad=19.9")
	if no, ok := errors.AsType[*NotALog](err); !ok || no.Bad != 1 || no.Lines != 5 {
		t.Errorf("got %v", err)
	}
	if _, err = summarize(t, ""); err == nil {
		t.Error("a summary of nothing")
	} else if _, ok := errors.AsType[*task.AbortedError](err); !ok {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsWrongWithALineIsSaid(t *testing.T) {
	good := strings.SplitAfter(log, "\n")[0]
	for _, change := range []struct{ old, new, want string }{
		{" [", " ", "there is no time in brackets"},
		{"] ", " ", "the time has no end"},
		{"Nov", "November", "the time is not of the form 22/Nov/2026:14:30:26 +0000"},
		{`"GET`, "GET", "there is no request in quotes"},
		{"1.1\" 200 100 \"-\" \"Mozilla/5.0\"", "1.1", "the request's quotes have no end"},
		{" 200 100 \"-\" \"Mozilla/5.0\"", " 200", "status and size are missing"},
		{" 200 ", " 999 ", "there is no such status"},
		{" 100 ", " many ", "the size is no number"},
	} {
		_, err := parse(strings.Replace(good, change.old, change.new, 1))
		if err == nil || err.Error() != change.want {
			t.Errorf("%s for %s: got %v", change.new, change.old, err)
		}
	}
}

func TestParametersHaveLimits(t *testing.T) {
	if (&Summarizer{Top: -1}).Setup() == nil || (&Summarizer{MaxBad: 101}).Setup() == nil {
		t.Error("anything goes")
	}
}
