package task

import (
	"fmt"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/bridge"
	wit "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_types"
)

func init() {
	bridge.Opened = remember
	bridge.Closed = forget
	bridge.Setup = func(task any, texts map[string]string) error {
		c := component{task: task.(Task)}
		var err error
		if c.parameters, err = parametersOf(c.task); err != nil {
			return err
		}
		var arguments []wit.Argument
		for _, p := range c.parameters {
			text, ok := texts[p.name]
			if !ok {
				continue
			}
			delete(texts, p.name)
			kind, _ := kindOfValue(p.value)
			value, err := parse(text, kind)
			if err != nil {
				return fmt.Errorf("the parameter `%s` %w", p.name, err)
			}
			arguments = append(arguments, wit.Argument{Name: p.name, Value: value})
		}
		for name := range texts {
			return fmt.Errorf("there is no parameter `%s`", name)
		}
		return c.setup(arguments)
	}
	bridge.Run = func(task any, input, output string) error {
		c := component{task: task.(Task), isSetUp: true}
		return c.run(Input(input), Output(output))
	}
}
