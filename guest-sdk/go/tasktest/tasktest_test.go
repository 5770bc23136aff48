package tasktest

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task"
)

type repeat struct {
	Times int `default:"2"`
	torn  *bool
}

func (r *repeat) Run(in task.Input, out task.Output) error {
	text, err := in.ReadText()
	if err != nil || text == "" {
		return errors.Join(err, errors.New("nothing to repeat"))
	}
	writer, err := out.Create()
	if err != nil {
		return err
	}
	for range r.Times {
		fmt.Fprint(writer, text)
	}
	return nil
}

func (r *repeat) Teardown() error {
	*r.torn = true
	return nil
}

func TestATaskRuns(t *testing.T) {
	torn := false
	t.Run("within", func(t *testing.T) {
		for times, want := range map[string]string{"times=3": "ababab", "times=0": ""} {
			tested := Setup(t, &repeat{torn: &torn}, times)
			if got, err := Run(t, tested, "ab"); got != want || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
		if got, err := Run(t, Setup(t, &repeat{torn: &torn}), ""); got != "" || err == nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	if !torn {
		t.Error("Teardown was not called")
	}
}

func TestAFunctionRuns(t *testing.T) {
	first := task.Func(func(in task.Input, out task.Output) error {
		reader, err := in.Open()
		if err != nil {
			return err
		}
		letter, err := reader.ReadByte()
		if err == io.EOF {
			return nil
		}
		return out.WriteText(string(letter))
	})
	if got, err := Run(t, Setup(t, first), "xyz"); got != "x" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
