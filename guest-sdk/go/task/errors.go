package task

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"syscall"
	"time"

	wit "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_types"
	types "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/types"
)

// TransientError is an error that another try may mend: [Transient] and
// [RetryAfter] make it.
type TransientError struct {
	// Err is what went wrong.
	Err error
	// After is when another try makes sense; 0 is for the host to say.
	After time.Duration
}

// Error is the text of what went wrong.
func (e *TransientError) Error() string { return e.Err.Error() }

// Unwrap is what went wrong.
func (e *TransientError) Unwrap() error { return e.Err }

// Transient marks an error as worth another try: a busy server, a lost
// connection. It may be wrapped further, and nil stays nil.
func Transient(err error) error {
	return RetryAfter(err, 0)
}

// RetryAfter is [Transient] where the task knows when another try makes sense:
// from a server's Retry-After, say.
func RetryAfter(err error, delay time.Duration) error {
	if err == nil {
		return nil
	}
	return &TransientError{Err: err, After: delay}
}

// AbortedError says that there is nothing to do for a file: [Aborted] makes it.
type AbortedError struct {
	// Reason says why.
	Reason string
}

// Error is the reason.
func (e *AbortedError) Error() string { return e.Reason }

// Aborted declines a file: deliberate, and not an error. The task has nothing to
// do for it.
func Aborted(reason string) error {
	return &AbortedError{Reason: reason}
}

// ownError is an error of this package's.
type ownError struct {
	kind, message string
}

func (e *ownError) Error() string { return e.message }

func (e *ownError) Kind() string { return e.kind }

// runErrorOf is the host's view of an error of Run.
func runErrorOf(err error) wit.RunError {
	if aborted, ok := errors.AsType[*AbortedError](err); ok {
		if error(aborted) == err {
			return wit.MakeRunErrorAborted(aborted.Reason)
		}
		return wit.MakeRunErrorAborted(err.Error())
	}
	transient, isTransient := errors.AsType[*TransientError](err)
	if isTransient || isTimeout(err) {
		failure := wit.TransientFailure{Failure: failureOf(err), RetryAfter: types.None[uint64]()}
		if isTransient && transient.After > 0 {
			failure.RetryAfter = types.Some(uint64(transient.After.Milliseconds()))
		}
		return wit.MakeRunErrorTransient(failure)
	}
	return wit.MakeRunErrorFailed(failureOf(err))
}

// failureOf is what the `.err` file says of an error.
func failureOf(err error) wit.Failure {
	message := oneLine(err.Error())
	if path, ok := errors.AsType[*fs.PathError](err); ok && path.Op == "open" && path.Err == error(syscall.EBADF) {
		// What Go says of a path in no granted directory: "bad file number".
		message += " (it is in no granted directory: grant it with --dir HOST_DIR::GUEST_DIR)"
	}
	return wit.Failure{Kind: kindOf(err), Message: message, Trace: traceOf(err)}
}

// kindOf is the name of the first error in the chain that has one, and else of
// the first type that says something: `PathError`, and not `wrapError`.
func kindOf(err error) string {
	kind := "error"
	for err := range chain(err) {
		if named, ok := err.(interface{ Kind() string }); ok {
			return named.Kind()
		}
		// What only ends in Error (url.Error) gives way to what it wraps.
		if name := typeName(err); name != "" && (kind == "error" || strings.HasSuffix(kind, ".Error")) {
			kind = name
		}
	}
	if isTimeout(err) {
		return "Timeout"
	}
	return kind
}

// isTimeout says whether an error is one of time, in the way of package net.
func isTimeout(err error) bool {
	for err := range chain(err) {
		if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
			return true
		}
	}
	return false
}

// typeName is the name of an error's type as people write it; empty where it
// says no more than that it is an error.
func typeName(err error) string {
	kind := reflect.TypeOf(err)
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	switch kind.PkgPath() {
	case "errors", "fmt", "github.com/pkg/errors":
		return ""
	}
	if kind == reflect.TypeFor[TransientError]() {
		return ""
	}
	name, _, _ := strings.Cut(kind.Name(), "[")
	if name == "Error" {
		// By itself it says nothing: url.Error.
		return kind.String()
	}
	return name
}

// traceOf tells the causes, one a line, outermost first. An error that knows
// where it comes from, and says so by %+v, is left to tell it.
func traceOf(err error) string {
	var lines []string
	last := err.Error()
	for err := range chain(err) {
		if _, ok := err.(fmt.Formatter); ok {
			return fmt.Sprintf("%+v", err)
		}
		if text := err.Error(); text != last {
			lines = append(lines, "caused by: "+oneLine(text))
			last = text
		}
	}
	return strings.Join(lines, "\n")
}

// chain yields an error and its causes, outermost first.
func chain(err error) func(yield func(error) bool) {
	return func(yield func(error) bool) { walk(err, yield) }
}

func walk(err error, yield func(error) bool) bool {
	if err == nil {
		return true
	}
	if !yield(err) {
		return false
	}
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		return walk(wrapper.Unwrap(), yield)
	case interface{ Unwrap() []error }:
		for _, err := range wrapper.Unwrap() {
			if !walk(err, yield) {
				return false
			}
		}
	}
	return true
}

// oneLine joins the lines of a text, as joined errors have them.
func oneLine(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
}
