package taskhttp

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"
)

func answer(t *testing.T, status int, header, value, body string) error {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(header, value)
		w.WriteHeader(status)
		w.Write([]byte(body))
	}))
	defer server.Close()
	response, err := http.Get(server.URL + "/path?key=secret")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return Check(response)
}

func TestAnswersThatSayNoBecomeErrors(t *testing.T) {
	if err := answer(t, 204, "X", "", ""); err != nil {
		t.Error(err)
	}
	err := answer(t, 404, "X", "", " {\n  \"a\":\t1\r\n}\n")
	status, ok := errors.AsType[*StatusError](err)
	if !ok || status.StatusCode != 404 || status.Kind() != "HttpStatus" ||
		!strings.HasSuffix(err.Error(), "/path: the server answered 404 Not Found: { \"a\": 1 }") {
		t.Errorf("got %v", err)
	}
	if _, ok := errors.AsType[*task.TransientError](err); ok {
		t.Error("404 is not for another try")
	}
	err = answer(t, 503, "Retry-After", " 120 ", "")
	if transient, ok := errors.AsType[*task.TransientError](err); !ok || transient.After != 2*time.Minute {
		t.Errorf("got %v", err)
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	now := time.Unix(784_111_777, 0)
	for value, want := range map[string]time.Duration{
		"120":                           2 * time.Minute,
		"Sun, 06 Nov 1994 08:49:47 GMT": 10 * time.Second,
		"Sun, 06 Nov 1994 08:49:07 GMT": 0,
		"soon":                          0,
		"-1":                            0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%s: got %s, not %s", value, got, want)
		}
	}
}

func TestExcerptsAreShortAndOnOneLine(t *testing.T) {
	if got := excerpt([]byte("a\x1b[31mb\xff")); got != "a [31mb\uFFFD" {
		t.Errorf("got %q", got)
	}
	if got := []rune(excerpt([]byte(strings.Repeat("é", 4000)))); len(got) != excerptLetters+1 {
		t.Errorf("got %d letters", len(got))
	}
}
