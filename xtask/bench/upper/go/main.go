package main

import (
	"strings"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"
)

type upper struct{}

func (*upper) Run(in task.Input, out task.Output) error {
	text, err := in.ReadText()
	if err != nil {
		return err
	}
	return out.WriteText(strings.ToUpper(text))
}

func init() {
	task.Register(task.About{Name: "upper", Version: "0.1.0", Summary: "Turns a text into upper case"}, &upper{})
}

func main() {}
