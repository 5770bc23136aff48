package task

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	// The exported functions themselves.
	_ "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/exports/wit_exports"

	export "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/exports/export_tigerflow_task_task"
	"github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_report"
	wit "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_types"
	types "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/types"
)

func init() {
	slog.SetDefault(slog.New(newLogHandler(writeLog)))
	export.Describe = func() wit.Description {
		defer trapOnPanic()
		return theTask().describe()
	}
	export.Setup = func(arguments []wit.Argument) types.Result[types.Unit, wit.Failure] {
		defer trapOnPanic()
		return resultOf(theTask().setup(arguments), failureOf)
	}
	export.Run = func(input, output string) types.Result[types.Unit, wit.RunError] {
		defer trapOnPanic()
		in, out := Input(strings.Clone(input)), Output(strings.Clone(output))
		return resultOf(theTask().run(in, out), runErrorOf)
	}
	export.Teardown = func() types.Result[types.Unit, wit.Failure] {
		defer trapOnPanic()
		return resultOf(theTask().teardown(), failureOf)
	}
}

// theTask is the registered task.
func theTask() *component {
	if registered == nil {
		panic(&mistake{"package main", "there is no task: call task.Register in an init function"})
	}
	if registered.mistake != nil {
		panic(registered.mistake)
	}
	return registered
}

func resultOf[E any](err error, convert func(error) E) types.Result[types.Unit, E] {
	if err != nil {
		return types.Err[types.Unit](convert(err))
	}
	return types.Ok[types.Unit, E](types.Unit{})
}

func writeLog(level slog.Level, line string) {
	to := tigerflow_task_report.Level_Error
	switch {
	case level < slog.LevelDebug:
		to = tigerflow_task_report.Level_Trace
	case level < slog.LevelInfo:
		to = tigerflow_task_report.Level_Debug
	case level < slog.LevelWarn:
		to = tigerflow_task_report.Level_Info
	case level < slog.LevelError:
		to = tigerflow_task_report.Level_Warn
	}
	tigerflow_task_report.Log(to, line)
}

// trap ends the instance with a WebAssembly trap. In trap_wasm.s.
func trap()

// trapOnPanic turns a panic into what the host knows as one: the goroutine's
// trace and, as the last line, place and message on stderr, and a trap. The
// stack is not unwound at that point, so the host's own backtrace shows where
// it was, too. Without this the program would exit with code 2, which says less.
// The panic is not made an error of the file alone: what it left half done must
// not meet the next file.
func trapOnPanic() {
	value := recover()
	if value == nil {
		return
	}
	message := fmt.Sprint(value)
	place, trace := whereItPanicked()
	if mistake, ok := value.(*mistake); ok {
		place, message, trace = mistake.place, mistake.text, ""
	}
	fmt.Fprintf(os.Stderr, "%spanicked at %s: %s\n", trace, place, oneLine(message))
	trap()
}

// ownFrames is how the functions begin that call the task's own.
const ownFrames = "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/task.(*component)."

// whereItPanicked is the place of the panic, and the goroutine's trace from
// there on.
func whereItPanicked() (place, trace string) {
	place = "an unknown place"
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	panicking := false
	for frame, more := frames.Next(); more; frame, more = frames.Next() {
		inRuntime := strings.HasPrefix(frame.Function, "runtime.")
		if panicking && !inRuntime {
			place = fmt.Sprintf("%s:%d", frame.File, frame.Line)
			break
		}
		panicking = panicking || inRuntime && strings.HasSuffix(frame.Function, "panic")
	}
	trace = string(debug.Stack())
	// What lies above the last `panic(…)` is this package and the runtime.
	head, rest, found := strings.Cut(trace, "\n")
	if at := strings.LastIndex(rest, "\npanic("); found && at >= 0 {
		lines := strings.SplitN(rest[at+1:], "\n", 3)
		trace = head + "\n" + lines[len(lines)-1]
	}
	// So is what lies below the task's own functions.
	if at := strings.Index(trace, "\n"+ownFrames); at >= 0 {
		trace = trace[:at+1]
	}
	return place, trace
}
