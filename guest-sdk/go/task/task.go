// Package task is for writing tasks of tigerflow-host in Go.
//
// A task turns one input file into one output file. Built for WebAssembly it is
// one component, which `tigerflow-host run` loads into a sandbox.
//
//	// Hello greets a text.
//	type Hello struct {
//		Greeting string `help:"Words to put before the text" default:"Hello"`
//	}
//
//	func (h *Hello) Run(in task.Input, out task.Output) error {
//		text, err := in.ReadText()
//		if err != nil {
//			return err
//		}
//		return out.WriteText(h.Greeting + ", " + strings.ToUpper(text))
//	}
//
//	func init() {
//		task.Register(task.About{
//			Name:    "hello",
//			Version: "0.1.0",
//			Summary: "Greets a text in capitals",
//		}, &Hello{})
//	}
//
//	func main() {} // A component has no main, but Go wants one.
//
// # Parameters
//
// Each exported field of the task's struct is a parameter, an option of the
// command line, which is set when Setup is called. Its tags:
//
//	help:"…"      one sentence for --help
//	default:"10"  its value where the user gives none
//	choice:"a,b"  one of these texts
//	param:"name"  its name, where it is not the field's in kebab-case;
//	              param:"-": no parameter
//
// A field has a string, bool, integer or float type, is a [time.Duration]
// ("5m"), or has the method UnmarshalText (a [regexp.Regexp], a
// [net/netip.Addr]). A pointer may be missing: then it is nil. A bool is false
// by default. Every other field without a default must be given. Fields of an
// embedded struct count as the struct's own.
//
// # Errors
//
// An error that Run returns ends this file only, and becomes its `.err` file:
// its text is the message, the name of the first type in its chain that says
// something is the exception_type, and its causes are the traceback. An error
// with a method `Kind() string` names itself. See [Transient], [RetryAfter] and
// [Aborted] for other ends; an error whose method `Timeout() bool` says so is
// transient, too. A panic ends the file, too, and the instance with
// it, since nobody knows what it left half done.
//
// # Log
//
// What the task tells the packages [log/slog] and [log] goes to the host's log,
// with its level; [LevelTrace] is the lowest. What it prints goes to the host's
// stdout.
//
// # HTTP
//
// Import the package taskhttp, and net/http works.
package task

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"

	wit "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_types"
	types "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/types"
)

// Task is what works on files. Its value is the context that all calls in an
// instance share. The host makes as many instances as files are in flight, so
// an instance never works on two files at once, and instances share nothing.
//
// A task may have the methods of [Setupper] and [Teardowner], too.
type Task interface {
	// Run turns one file into another. Where it writes nothing to out, the host
	// puts an empty placeholder there.
	Run(in Input, out Output) error
}

// Setupper is a task that prepares something for all its files: it loads a
// model, opens a database.
type Setupper interface {
	// Setup is called once in an instance, when the parameters are set. An error
	// stops the whole run with its message.
	Setup() error
}

// Teardowner is a task that gives back what it prepared.
type Teardowner interface {
	// Teardown is called once, when the run ends or the instance is retired. The
	// host reports an error, and counts it as a failure of the run.
	Teardown() error
}

// Func is a task without parameters and context: a function.
type Func func(in Input, out Output) error

// Run calls f.
func (f Func) Run(in Input, out Output) error { return f(in, out) }

// About is what a task says of itself.
type About struct {
	// Name is the task's name in kebab-case.
	Name string
	// Version is the task's own semantic version: "1.2.0".
	Version string
	// Summary is one sentence on what Run makes of a file.
	Summary string
	// MaxConcurrency is how many files may be in flight at once over all
	// instances: 1 for the only writer of a database. 0 is no limit. The command
	// line never raises it.
	MaxConcurrency uint32
	// Needs are capabilities that the task is useless without: the host does not
	// start it before the user gave them.
	Needs []Grant
	// CanUse are capabilities that the task uses where the user gives them.
	CanUse []Grant
	// Options are the task's own defaults for options of `tigerflow-host run`, as
	// the command line would say them: {"timeout": "5m"}.
	Options map[string]string
}

// Grant is a capability beyond the input and the output, which only the user
// can give: [ReadOnly], [ReadWrite], [Environment], [Host].
type Grant struct {
	capability wit.Capability
	reason     string
}

// ReadOnly is a directory to read, which the task sees at this absolute path.
// The reason is one sentence for the user who decides.
func ReadOnly(guestPath, reason string) Grant {
	return directory(guestPath, false, reason)
}

// ReadWrite is a directory to read and write, which the task sees at this
// absolute path.
func ReadWrite(guestPath, reason string) Grant {
	return directory(guestPath, true, reason)
}

func directory(guestPath string, writable bool, reason string) Grant {
	access := wit.DirectoryAccess{GuestPath: guestPath, Writable: writable}
	return Grant{wit.MakeCapabilityDirectory(access), reason}
}

// Environment is an environment variable of this name.
func Environment(variable, reason string) Grant {
	return Grant{wit.MakeCapabilityEnvironment(variable), reason}
}

// Host is a network host: "api.example.org", "api.example.org:8443" or
// "*.example.org".
func Host(name, reason string) Grant {
	return Grant{wit.MakeCapabilityHost(name), reason}
}

// Register says which task the component is. Call it once, in an init function.
// task is a pointer to a struct, whose exported fields are the parameters, or a
// [Func].
//
// It panics where the task cannot be one: a field's type is none of a
// parameter's, say. In a component that is told when the host first asks what the
// task is.
func Register(about About, task Task) {
	parameters, err := parametersOf(task)
	if registered != nil {
		err = errors.New("a component is one task, and there is one already")
	}
	registered = &component{about: about, task: task, parameters: parameters}
	if err == nil {
		return
	}
	registered.mistake = &mistake{place: "an unknown place", text: "task.Register: " + err.Error()}
	if _, file, line, ok := runtime.Caller(1); ok {
		registered.mistake.place = fmt.Sprintf("%s:%d", file, line)
	}
	if !inComponent {
		panic(registered.mistake.text)
	}
}

// inComponent says whether this is a component, and no test.
const inComponent = runtime.GOOS == "wasip1"

// mistake is why there is no task.
type mistake struct {
	place, text string
}

// registered is the task of this component.
var registered *component

// component is a task and its context.
type component struct {
	about      About
	task       Task
	parameters []parameter
	isSetUp    bool
	mistake    *mistake
}

// describe answers the host's call of this name.
func (c *component) describe() wit.Description {
	description := wit.Description{
		Name:           c.about.Name,
		Version:        c.about.Version,
		Summary:        c.about.Summary,
		MaxConcurrency: types.None[uint32](),
	}
	for _, parameter := range c.parameters {
		description.Parameters = append(description.Parameters, parameter.describe())
	}
	for _, grant := range c.about.Needs {
		description.Grants = append(description.Grants, grant.describe(true))
	}
	for _, grant := range c.about.CanUse {
		description.Grants = append(description.Grants, grant.describe(false))
	}
	if c.about.MaxConcurrency > 0 {
		description.MaxConcurrency = types.Some(c.about.MaxConcurrency)
	}
	for name, value := range c.about.Options {
		option := types.Tuple2[string, string]{F0: name, F1: value}
		description.OptionDefaults = append(description.OptionDefaults, option)
	}
	slices.SortFunc(description.OptionDefaults, func(a, b types.Tuple2[string, string]) int {
		return cmp.Compare(a.F0, b.F0)
	})
	return description
}

func (g Grant) describe(required bool) wit.Grant {
	return wit.Grant{Capability: g.capability, Reason: g.reason, Required: required}
}

// setup answers the host's call of this name.
func (c *component) setup(arguments []wit.Argument) error {
	if err := setParameters(c.task, c.parameters, arguments); err != nil {
		return err
	}
	if task, ok := c.task.(Setupper); ok {
		if err := task.Setup(); err != nil {
			return err
		}
	}
	c.isSetUp = true
	return nil
}

// run answers the host's call of this name.
func (c *component) run(in Input, out Output) error {
	if !c.isSetUp {
		return outOfOrder("run")
	}
	err := c.task.Run(in, out)
	// Also after an error: the next run has files of its own.
	if lost := closeFiles(); err == nil {
		err = lost
	}
	return err
}

// teardown answers the host's call of this name.
func (c *component) teardown() error {
	if !c.isSetUp {
		return outOfOrder("teardown")
	}
	c.isSetUp = false
	if task, ok := c.task.(Teardowner); ok {
		return task.Teardown()
	}
	return nil
}

func outOfOrder(call string) error {
	return &ownError{kind: "OrderOfCalls", message: fmt.Sprintf("`%s` was called before `setup`", call)}
}

// structOf is the struct whose fields are the parameters, where there is one.
func structOf(task Task) (reflect.Value, bool) {
	value := reflect.ValueOf(task)
	if value.Kind() == reflect.Pointer && !value.IsNil() && value.Elem().Kind() == reflect.Struct {
		return value.Elem(), true
	}
	return reflect.Value{}, false
}
