package task

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	wit "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_types"
)

// picky fails for the input that its parameter names.
type picky struct {
	Bad string
	// left is what Run leaves open.
	left *Writer
}

func (p *picky) Run(in Input, out Output) error {
	if in.Stem() == p.Bad {
		return errors.New(in.Name() + " is bad")
	}
	writer, err := out.Create()
	if err != nil {
		return err
	}
	p.left = writer
	_, err = io.WriteString(writer, "not closed")
	return err
}

func (p *picky) Setup() error {
	if p.Bad == "all" {
		return errors.New("nothing is good")
	}
	return nil
}

func (p *picky) Teardown() error { return errors.New("it stays open") }

func componentOf(t *testing.T, task Task, about About) *component {
	t.Helper()
	registered = nil
	t.Cleanup(func() { registered = nil })
	Register(about, task)
	return registered
}

func texts(pairs ...string) []wit.Argument {
	var arguments []wit.Argument
	for i := 0; i < len(pairs); i += 2 {
		arguments = append(arguments, wit.Argument{Name: pairs[i], Value: wit.MakeValueText(pairs[i+1])})
	}
	return arguments
}

func TestAnInstanceLivesFromSetupToTeardown(t *testing.T) {
	task := &picky{}
	c := componentOf(t, task, About{})
	if err := c.run("a", "b"); err == nil || kindOf(err) != "OrderOfCalls" {
		t.Errorf("run before setup: %v", err)
	}
	if err := c.setup(texts("bad", "all")); err == nil || err.Error() != "nothing is good" {
		t.Errorf("setup: %v", err)
	}
	if err := c.setup(texts("bad", "b")); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(t.TempDir(), "a.out")
	if err := c.run("/input/a.txt", Output(output)); err != nil {
		t.Error(err)
	}
	if contents, _ := os.ReadFile(output); string(contents) != "not closed" {
		t.Errorf("what was left open is not there: %q", contents)
	}
	if err := c.run("/input/b.txt", Output(output)); err == nil || err.Error() != "b.txt is bad" {
		t.Errorf("run: %v", err)
	}
	if err := c.teardown(); err == nil || err.Error() != "it stays open" {
		t.Errorf("teardown: %v", err)
	}
	if err := c.teardown(); err == nil || kindOf(err) != "OrderOfCalls" {
		t.Errorf("teardown after teardown: %v", err)
	}
}

func TestAWriteThatFailsLateFailsTheRun(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	c := componentOf(t, &picky{}, About{})
	if err := c.setup(texts("bad", "")); err != nil {
		t.Fatal(err)
	}
	err := c.run("/input/a", "/dev/full")
	if err == nil || !strings.HasPrefix(err.Error(), "cannot write the end of the output: ") {
		t.Errorf("got %v", err)
	}
	if len(open) != 0 {
		t.Errorf("%d files stay open", len(open))
	}
}

func TestTheDescriptionSaysWhatWasRegistered(t *testing.T) {
	c := componentOf(t, &picky{}, About{
		Name:           "picky",
		Version:        "1.2.3",
		Summary:        "Picks",
		MaxConcurrency: 1,
		Needs:          []Grant{ReadWrite("/db", "Keeps the database there")},
		CanUse:         []Grant{Host("api.example.org", "Asks it"), Environment("TOKEN", "Signs with it")},
		Options:        map[string]string{"timeout": "5m", "retries": "0"},
	})
	d := c.describe()
	if d.Name != "picky" || d.Version != "1.2.3" || d.Summary != "Picks" || d.MaxConcurrency.Some() != 1 {
		t.Errorf("got %+v", d)
	}
	if len(d.Parameters) != 1 || d.Parameters[0].Name != "bad" || !d.Parameters[0].Required {
		t.Errorf("got %+v", d.Parameters)
	}
	if !d.Grants[0].Required || d.Grants[1].Required || !d.Grants[0].Capability.Directory().Writable ||
		d.Grants[2].Capability.Environment() != "TOKEN" {
		t.Errorf("got %+v", d.Grants)
	}
	if d.OptionDefaults[0].F0 != "retries" || d.OptionDefaults[1].F1 != "5m" {
		t.Errorf("got %+v", d.OptionDefaults)
	}
	if !(componentOf(t, Func(nil), About{}).describe().MaxConcurrency.IsNone()) {
		t.Error("a limit out of nothing")
	}
}

func TestRegisterRefusesWhatIsNoTask(t *testing.T) {
	refused := func(want string, task Task) {
		t.Helper()
		defer func() {
			if text, _ := recover().(string); !strings.Contains(text, want) {
				t.Errorf("got %q, not %q", text, want)
			}
		}()
		registered = nil
		Register(About{}, task)
	}
	refused("it is nil", nil)
	refused("the *task.picky is nil", (*picky)(nil))
	refused("register a pointer", byValue{})
	registered = nil
	Register(About{}, Func(nil))
	defer func() {
		registered = nil
		if text, _ := recover().(string); !strings.Contains(text, "there is one already") {
			t.Errorf("got %q", text)
		}
	}()
	Register(About{}, Func(nil))
}

type byValue struct{ Top int }

func (byValue) Run(Input, Output) error { return nil }
