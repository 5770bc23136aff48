// Package tasktest runs a task outside of a component, for `go test`.
//
//	func TestGreets(t *testing.T) {
//		hello := tasktest.Setup(t, &Hello{}, "greeting=Hi")
//		got, err := tasktest.Run(t, hello, "world\n")
//		if err != nil || got != "Hi, WORLD\n" {
//			t.Errorf("got %q, %v", got, err)
//		}
//	}
package tasktest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/bridge"
	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"
)

// Setup sets a task's parameters, of arguments such as "top=5" and of their
// defaults, and calls its Setup; when the test ends, its Teardown. An error of
// either ends the test.
func Setup[T task.Task](t testing.TB, tested T, arguments ...string) T {
	t.Helper()
	texts := map[string]string{}
	for _, argument := range arguments {
		name, text, found := strings.Cut(argument, "=")
		if !found {
			t.Fatalf("tasktest.Setup: %q is not of the form NAME=VALUE", argument)
		}
		texts[name] = text
	}
	if err := bridge.Setup(tested, texts); err != nil {
		t.Fatalf("tasktest.Setup: %v", err)
	}
	t.Cleanup(func() {
		if tested, ok := any(tested).(task.Teardowner); ok {
			if err := tested.Teardown(); err != nil {
				t.Errorf("Teardown: %v", err)
			}
		}
	})
	return tested
}

// Run runs a task on a file of these contents, and returns what it made of them:
// nothing where it wrote nothing.
func Run(t testing.TB, tested task.Task, contents string) (string, error) {
	t.Helper()
	directory := t.TempDir()
	input, output := filepath.Join(directory, "input.txt"), filepath.Join(directory, "output.txt")
	if err := os.WriteFile(input, []byte(contents), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := bridge.Run(tested, input, output); err != nil {
		return "", err
	}
	made, err := os.ReadFile(output)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(made), nil
}
