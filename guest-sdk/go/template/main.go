package main

import (
	"strings"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"
)

// Greeter greets each text, in capitals.
type Greeter struct {
	Greeting string `help:"Words to put before the text" default:"Hello"`
}

// Run turns one file into another.
func (g *Greeter) Run(in task.Input, out task.Output) error {
	text, err := in.ReadText()
	if err != nil {
		return err
	}
	return out.WriteText(g.Greeting + ", " + strings.ToUpper(text))
}

func init() {
	task.Register(task.About{
		Name:    "{{name}}",
		Version: "0.1.0",
		Summary: "Greets each text, and turns it into upper case",
	}, &Greeter{})
}

func main() {} // A component has no main, but Go wants one.
