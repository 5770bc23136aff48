"""What a component of a task exports: the host's calls, for the task's own methods."""

import os
import sys

from componentize_py_types import Err
from tigerflow_wit import exports
from tigerflow_wit.imports import tigerflow_task_types as wit

from . import log
from ._errors import Aborted, message_of, milliseconds, trace_of
from ._files import path_of
from ._params import values_of
from ._task import AsyncTask, describe

_KINDS = {
    "text": wit.ParameterKind_Text(),
    "integer": wit.ParameterKind_Integer(),
    "number": wit.ParameterKind_Number(),
    "boolean": wit.ParameterKind_Boolean(),
}
_VALUES = {
    str: wit.Value_Text, bool: wit.Value_Boolean, int: wit.Value_Integer, float: wit.Value_Number,
}


def prepare():
    """Sets up the interpreter, before the task's own code is loaded."""
    # Unbuffered output, which the build asks for, would be a call of the host for each write.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=False, errors="backslashreplace")
    log.install()


def export(task):
    """The object that answers the host."""
    description = _description(describe(task))
    return (_Async if issubclass(task, AsyncTask) else _Plain)(task, description)


class _Exports:
    def __init__(self, task, description):
        self._description = description
        self._class = task
        self._task = None

    def describe(self):
        return self._description

    def _make(self, arguments):
        self._task = self._class()
        values = {argument.name: argument.value.value for argument in arguments}
        self._task.params = values_of(self._class.Params, values)


class _Plain(_Exports, getattr(exports, "Task", object)):
    def setup(self, arguments):
        with _Answer(_failure):
            self._make(arguments)
            self._task.setup()

    def run(self, input, output):
        with _Answer(_run_error):
            self._task.run(path_of(input), path_of(output))

    def teardown(self):
        with _Answer(_failure):
            self._task.teardown()


class _Async(_Exports, getattr(exports, "AsyncTask", object)):
    async def setup(self, arguments):
        with _Answer(_failure, shared=True):
            self._make(arguments)
            await self._task.setup()

    async def run(self, input, output):
        with _Answer(_run_error, shared=True):
            await self._task.run(path_of(input), path_of(output))

    async def teardown(self):
        with _Answer(_failure, shared=True):
            await self._task.teardown()


class _Answer:
    """Makes of an exception what the host calls an error, and holds no output back."""

    __slots__ = ("error", "shared")

    def __init__(self, error, shared=False):
        self.error = error
        self.shared = shared  # whether other calls are in flight in this instance

    def __enter__(self):
        pass

    def __exit__(self, kind, error, trace):
        try:
            if isinstance(error, SystemExit):
                _exit(error.code)
            if isinstance(error, MemoryError) and not self.shared:
                _out_of_memory(error)
            if error is not None:
                raise Err(self.error(error)) from None
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def _failure(error):
    return wit.Failure(type(error).__name__, message_of(error), trace_of(error))


def _run_error(error):
    if isinstance(error, Aborted):
        return wit.RunError_Aborted(str(error))
    if getattr(error, "transient", False) is True:
        delay = milliseconds(getattr(error, "retry_after", None))
        return wit.RunError_Transient(wit.TransientFailure(_failure(error), delay))
    return wit.RunError_Failed(_failure(error))


def _out_of_memory(error):
    """Ends the instance, which would keep all its memory; the host says which limit it was."""
    trace = trace_of(error)
    print(trace, file=sys.stderr)
    sys.stdout.flush()
    os.abort()


def _exit(code):
    """Ends the program, as `sys.exit` says."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _description(description):
    return wit.Description(
        description.name,
        description.version,
        description.summary,
        [
            wit.Parameter(
                parameter.name,
                parameter.help,
                _KINDS.get(parameter.kind) or wit.ParameterKind_Choice(parameter.choices),
                None if parameter.default is None
                else _VALUES[type(parameter.default)](parameter.default),
                parameter.required,
            )
            for parameter in description.parameters
        ],
        [
            wit.Grant(_capability(grant), reason, required)
            for grant, reason, required in description.grants
        ],
        description.max_concurrency,
        list(description.options.items()),
    )


def _capability(grant):
    match grant.kind:
        case "environment":
            return wit.Capability_Environment(grant.what)
        case "host":
            return wit.Capability_Host(grant.what)
    access = wit.DirectoryAccess(grant.what, grant.kind == "read-write")
    return wit.Capability_Directory(access)
