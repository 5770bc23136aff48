"""Lines in the host's log, with the name of the file that is at work.

    from tigerflow_task import log
    log.info("%d rows", count)

Messages and their arguments are as in the module `logging`, whose lines come here, too:
`logging.getLogger("x").warning("…")`. `debug` shows with `-v`, `trace` with `-vv`.
"""

import logging

from . import _report
from ._errors import trace_of

__all__ = ["debug", "error", "info", "trace", "warn"]


def trace(message, *arguments):
    """Shown with `-vv`."""
    _log(_report.TRACE, message, arguments)


def debug(message, *arguments):
    """Shown with `-v`."""
    _log(_report.DEBUG, message, arguments)


def info(message, *arguments):
    """Shown by default."""
    _log(_report.INFO, message, arguments)


def warn(message, *arguments):
    """Something is off, and the task goes on."""
    _log(_report.WARN, message, arguments)


def error(message, *arguments):
    """Something failed."""
    _log(_report.ERROR, message, arguments)


def _log(level, message, arguments):
    _report.log(level, str(message) % arguments if arguments else str(message))


class _Handler(logging.Handler):
    """Takes what goes to the module `logging` to the host."""

    def emit(self, record):
        level = min(record.levelno // 10, _report.ERROR)
        try:
            _report.log(level, self.format(record))
        except Exception:
            self.handleError(record)


class _Formatter(logging.Formatter):
    def formatException(self, info):
        return trace_of(info[1])


def install():
    """Makes the host's log the one of the module `logging`."""
    root = logging.getLogger()
    handler = _Handler()
    handler.setFormatter(_Formatter())
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.raiseExceptions = False
