// Package bridge is how the packages taskhttp and tasktest reach what the package
// task does not export.
package bridge

import "io"

// What the package task puts here. A task is a task.Task.
var (
	// Setup sets the parameters, as the command line writes them, and calls the
	// task's own Setup.
	Setup func(task any, arguments map[string]string) error
	// Run calls the task's own Run, and closes what that left open.
	Run func(task any, input, output string) error
	// Opened has something closed when the task's Run returns, and Closed has
	// not: it is closed.
	Opened, Closed func(io.Closer)
)
