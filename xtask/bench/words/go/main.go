// The task.
package main

import (
	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"

	"words/words"
)

type counter struct{}

func (*counter) Run(in task.Input, out task.Output) error {
	text, err := in.ReadText()
	if err != nil {
		return err
	}
	return out.WriteText(words.Count(text))
}

func init() {
	task.Register(task.About{Name: "words", Version: "0.1.0", Summary: "Counts words"}, &counter{})
}

func main() {}
