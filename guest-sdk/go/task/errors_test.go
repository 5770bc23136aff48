package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"testing"
	"time"

	wit "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_types"
)

type tooBad struct{ cause error }

func (e *tooBad) Error() string { return "too bad" }
func (e *tooBad) Unwrap() error { return e.cause }

type named[T any] struct{ value T }

func (named[T]) Error() string { return "generic" }

func TestTheKindIsTheFirstTypeThatSaysSomething(t *testing.T) {
	_, number := strconv.Atoi("x")
	_, file := os.Open("/no/such/file")
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("x"), "error"},
		{fmt.Errorf("x: %w", errors.New("y")), "error"},
		{fmt.Errorf("x: %w", number), "NumError"},
		{file, "PathError"},
		{&tooBad{file}, "tooBad"},
		{errors.Join(errors.New("x"), &tooBad{}), "tooBad"},
		{named[int]{}, "named"},
		{Transient(errors.New("x")), "error"},
		{&url.Error{Op: "Get", Err: errors.New("x")}, "url.Error"},
		{&url.Error{Op: "Get", Err: file}, "PathError"},
		{&tooBad{&ownError{kind: "MissingParameter"}}, "MissingParameter"},
		{&url.Error{Op: "Get", Err: context.DeadlineExceeded}, "Timeout"},
	} {
		if got := kindOf(test.err); got != test.want {
			t.Errorf("%#v: got %s, not %s", test.err, got, test.want)
		}
	}
}

func TestTheTraceTellsTheCauses(t *testing.T) {
	_, file := os.Open("/no/such/file")
	failure := failureOf(fmt.Errorf("cannot count: %w", Transient(&tooBad{file})))
	want := "caused by: too bad\ncaused by: open /no/such/file: no such file or directory\n" +
		"caused by: no such file or directory"
	if failure.Message != "cannot count: too bad" || failure.Trace != want {
		t.Errorf("got %+v", failure)
	}
	failure = failureOf(errors.Join(errors.New("one"), errors.New("two")))
	if failure.Message != "one; two" || failure.Trace != "caused by: one\ncaused by: two" {
		t.Errorf("got %+v", failure)
	}
}

type withStack struct{}

func (withStack) Error() string { return "it broke" }

func (withStack) Format(f fmt.State, _ rune) { fmt.Fprint(f, "it broke\nmain.main\n\tmain.go:7") }

func TestAnErrorThatKnowsItsStackTellsIt(t *testing.T) {
	if got := traceOf(fmt.Errorf("x: %w", withStack{})); got != "it broke\nmain.main\n\tmain.go:7" {
		t.Errorf("got %q", got)
	}
}

func TestEachErrorEndsItsWay(t *testing.T) {
	if got := runErrorOf(errors.New("no")); got.Tag() != wit.RunError_Failed || got.Failed().Message != "no" {
		t.Errorf("got %+v", got)
	}
	busy := fmt.Errorf("asking: %w", RetryAfter(errors.New("busy"), 1500*time.Millisecond))
	got := runErrorOf(busy)
	if got.Tag() != wit.RunError_Transient || got.Transient().RetryAfter.Some() != 1500 ||
		got.Transient().Failure.Message != "asking: busy" {
		t.Errorf("got %+v", got)
	}
	if got := runErrorOf(Transient(errors.New("busy"))); got.Transient().RetryAfter.IsSome() {
		t.Errorf("got %+v", got)
	}
	if got := runErrorOf(fmt.Errorf("x: %w", os.ErrDeadlineExceeded)); got.Tag() != wit.RunError_Transient {
		t.Errorf("got %+v", got)
	}
	if got := runErrorOf(fmt.Errorf("x: %w", Aborted("no need"))); got.Aborted() != "x: no need" {
		t.Errorf("got %+v", got)
	}
	if Transient(nil) != nil || RetryAfter(nil, time.Second) != nil {
		t.Error("an error out of nothing")
	}
	if !errors.Is(Transient(fs.ErrNotExist), fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
}
