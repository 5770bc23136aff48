// Package export_tigerflow_task_task is what the exported functions call. The
// package task puts its own functions here, which it could not otherwise: it
// imports the exported functions, so they cannot import it.
package export_tigerflow_task_task

import (
	. "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_types"
	. "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/types"
)

// The functions of the interface tigerflow:task/task.
var (
	Describe func() Description
	Setup    func(arguments []Argument) Result[Unit, Failure]
	Run      func(input, output string) Result[Unit, RunError]
	Teardown func() Result[Unit, Failure]
)
