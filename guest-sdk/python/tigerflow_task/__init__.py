"""Write a task for tigerflow-host in Python.

A task turns one input file into one output file. It is a class; the host makes an object
of it, which `setup` prepares, `run` uses for every file, and `teardown` takes apart:

    from tigerflow_task import Task

    class Hello(Task):
        '''Greets each text.'''

        class Params:
            greeting: str = "Hello"

        def run(self, input, output):
            output.write_text(f"{self.params.greeting}, {input.read_text().upper()}")

`tigerflow-host build` makes a component of it.
"""

import sys

if sys.version_info < (3, 10):
    sys.exit("tigerflow_task needs Python 3.10 or newer, and this is " + sys.version.split()[0])

from asyncio import sleep

from . import http, log
from ._errors import Aborted, Transient
from ._report import progress
from ._task import AsyncTask, Grant, Task

__all__ = ["Aborted", "AsyncTask", "Grant", "Task", "Transient", "http", "log", "progress", "sleep"]
