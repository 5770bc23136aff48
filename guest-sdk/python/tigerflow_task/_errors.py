"""How a task fails, and what the reader of its `.err` file learns."""

import os
import re
import traceback
from datetime import timedelta

_SDK = os.path.dirname(os.path.abspath(__file__))
# What is of no use to who wrote the task: this package, what it carries, and the runtime.
_OURS = (
    _SDK + os.sep, os.path.join(os.path.dirname(_SDK), "tigerflow") + os.sep,
    "/0/tigerflow_entry.py", "/bundled/", "/world/", "<frozen importlib", "/python/importlib/",
)


class Transient(Exception):
    """Worth another try: a busy server, a lost connection.

    `retry_after`: seconds (or a `timedelta`) to wait before, where the task knows it. An
    exception of any other class is worth another try, too, if it has an attribute
    `transient` that is true.
    """

    transient = True

    def __init__(self, message, retry_after=None):
        super().__init__(message)
        self.retry_after = retry_after


class Aborted(Exception):
    """Deliberate and not an error: the task has nothing to do for this file."""


class TaskError(TypeError):
    """A mistake in how a task is written."""


def milliseconds(delay):
    """What `retry_after` says, for the host."""
    if delay is None:
        return None
    if isinstance(delay, timedelta):
        delay = delay.total_seconds()
    return max(0, round(delay * 1000))


def message_of(error):
    """What went wrong, never empty."""
    try:
        message = str(error)
    except Exception:  # An error that cannot even say what it is.
        message = ""
    if message:
        return message
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if not frame.filename.startswith(_OURS):
            place = f"{shown(frame.filename)}, line {frame.lineno}"
            return f"{place}: {frame.line}" if frame.line else f"in {place}"
    return type(error).__name__


def trace_of(error):
    """Python's own traceback, without frames that are not the task's."""
    try:
        report = traceback.TracebackException.from_exception(error)
        _tidy(report, set())
        return "".join(report.format()).rstrip("\n")
    except Exception:
        return ""


def _tidy(report, seen):
    if report is None or id(report) in seen:
        return
    seen.add(id(report))
    for frame in list(report.stack):
        if frame.filename.startswith(_OURS):
            report.stack.remove(frame)
        else:
            _ = frame.line  # Looked up by the name that the file had at build time.
            frame.filename = shown(frame.filename)
    _tidy(report.__cause__, seen)
    _tidy(report.__context__, seen)
    for inner in getattr(report, "exceptions", None) or ():
        _tidy(inner, seen)


def shown(path):
    """A file as its author knows it. In a component `/0/` stands for the project."""
    return re.sub(r"^/\d+/(main/)?", "", path)
