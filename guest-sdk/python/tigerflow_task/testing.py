"""What native tests of a task need.

    from tigerflow_task import testing

    assert testing.run(Hello, "world", greeting="Hi") == "Hi, WORLD"
"""

import asyncio
import contextlib
import inspect
import tempfile
from pathlib import Path

from . import http
from ._params import parameters_of, values_of
from ._task import AsyncTask, Task, describe

__all__ = ["answer_http", "describe", "run", "start"]


def run(task, content, *, name="input", **params):
    """Runs a task on one file of this content: `setup`, `run` and `teardown`.

    Gives what it wrote, as text where the content is text and as bytes where it is bytes;
    `None` where it wrote nothing. Its exceptions come out as they are.
    """
    text = isinstance(content, str)
    with tempfile.TemporaryDirectory() as directory, start(task, **params) as started:
        input, output = Path(directory, "input", name), Path(directory, "output", name)
        input.parent.mkdir()
        output.parent.mkdir()
        input.write_bytes(content.encode() if text else content)
        started.run(input, output)
        if not output.exists():
            return None
        return output.read_bytes().decode() if text else output.read_bytes()


@contextlib.contextmanager
def start(task, **params):
    """A task that is set up, with a `run(input, output)` that waits; torn down in the end.

    A parameter that is not given has its default. `task` is the object itself.
    """
    if not issubclass(task, (Task, AsyncTask)):
        from tigerflow.tasks import native

        task = native(task)
    describe(task)
    started = _Started(task, _values(task, params))
    try:
        started.wait(started.task.setup())
        yield started
        started.wait(started.task.teardown())
    finally:
        started.loop.close()


class _Started:
    def __init__(self, task, params):
        self.task = task()
        self.task.params = params
        self.loop = asyncio.new_event_loop()

    def run(self, input, output):
        self.wait(self.task.run(Path(input), Path(output)))

    def wait(self, result):
        if inspect.isawaitable(result):
            self.loop.run_until_complete(result)


def _values(task, params):
    arguments = {}
    for parameter in parameters_of(task.Params):
        value = params.pop(parameter.attribute, parameter.default)
        if value is None and parameter.required:
            raise TypeError(f"the parameter `{parameter.attribute}` must be given")
        value = getattr(value, "value", value)  # of an Enum
        if parameter.choices and value is not None and value not in parameter.choices:
            raise ValueError(f"`{parameter.attribute}` is {value!r}, not of {parameter.choices}")
        arguments[parameter.name] = value
    if params:
        raise TypeError(f"{task.__name__} has no parameter `{next(iter(params))}`")
    return values_of(task.Params, arguments)


@contextlib.contextmanager
def answer_http(servers):
    """Says what all servers answer within a `with`.

    `servers` gets a request, which has `method`, `url`, `headers` (names in lower case) and
    `body`. It gives a body (the status is 200), `(status, body)` or `(status, headers,
    body)`, or raises what the task is to get.
    """

    def answer(request):
        given = servers(request)
        given = given if isinstance(given, tuple) else (200, given)
        status, headers, body = given if len(given) == 3 else (given[0], {}, given[1])
        return status, headers, body.encode() if isinstance(body, str) else body

    before, http._native.servers = http._native.servers, answer
    try:
        yield
    finally:
        http._native.servers = before
