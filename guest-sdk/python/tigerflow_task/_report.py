"""What a task tells its host while it works; natively, what a test sees of it."""

_host = None  # Natively, and while a component is built, there is none.

TRACE, DEBUG, INFO, WARN, ERROR = range(5)
_NAMES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")


def connect():
    """From now on the host is there."""
    global _host
    from tigerflow_wit.imports import report

    _host = report


def log(level, message):
    if _host is None:
        import sys

        print(f"{_NAMES[level]}: {message}", file=sys.stderr)
    else:
        _host.log(_host.Level(level), message)


def progress(input, fraction):
    """Says how far the work on one input is, from 0.0 to 1.0.

    `input` is the path that `run` received. It is cheap: the host keeps the latest value.
    """
    if _host is not None:
        _host.progress(str(input), float(fraction))
