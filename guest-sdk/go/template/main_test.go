package main

import (
	"testing"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/tasktest"
)

func TestGreets(t *testing.T) {
	for argument, want := range map[string]string{
		"greeting=Hello": "Hello, WORLD\n",
		"greeting=Hi":    "Hi, WORLD\n",
	} {
		greeter := tasktest.Setup(t, &Greeter{}, argument)
		if got, err := tasktest.Run(t, greeter, "world\n"); got != want || err != nil {
			t.Errorf("%s: got %q, %v", argument, got, err)
		}
	}
}
