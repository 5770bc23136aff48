"""`LocalTask`, `LocalAsyncTask` and `SlurmTask`, as TigerFlow has them.

Where a task runs is up to `tigerflow-host run`, so `LocalTask` and `SlurmTask` are the same
here. What the host wants to know of a task beyond TigerFlow, a class may say with the names
of `tigerflow_task.Task`: `version`, `needs`, `can_use`, `max_concurrency`, `options`.
"""

import tigerflow_task

from .utils import SetupContext

__all__ = ["LocalAsyncTask", "LocalTask", "SlurmTask"]


class _Class:
    @classmethod
    def cli(cls):
        """Does nothing: `tigerflow-host run` has the command line."""

    @classmethod
    def get_name(cls):
        return cls.__name__


class LocalTask(_Class):
    @staticmethod
    def setup(context):
        """Puts into the context what all runs share."""

    @staticmethod
    def run(context, input_file, output_file):
        """Works on one file."""
        raise NotImplementedError

    @staticmethod
    def teardown(context):
        """Gives back what `setup` made."""


class SlurmTask(LocalTask):
    pass


class LocalAsyncTask(_Class):
    @staticmethod
    async def setup(context):
        """Puts into the context what all runs share."""

    @staticmethod
    async def run(context, input_file, output_file):
        """Works on one file, beside others."""
        raise NotImplementedError

    @staticmethod
    async def teardown(context):
        """Gives back what `setup` made."""


def native(task):
    """The class of `tigerflow_task` that does what a class of TigerFlow does."""

    def begin(self):
        self.context = SetupContext(**vars(self.params))
        return task.setup(self.context)

    if issubclass(task, LocalAsyncTask):

        class Native(tigerflow_task.AsyncTask):
            async def setup(self):
                await begin(self)
                self.context.freeze()

            async def run(self, input, output):
                await task.run(self.context, input, output)

            async def teardown(self):
                await task.teardown(self.context)

    else:

        class Native(tigerflow_task.Task):
            def setup(self):
                begin(self)
                self.context.freeze()

            def run(self, input, output):
                task.run(self.context, input, output)

            def teardown(self):
                task.teardown(self.context)

    Native.__name__ = Native.__qualname__ = task.__name__
    Native.__doc__ = task.__doc__
    for name in ("Params", "name", "version", "summary", "needs", "can_use", "max_concurrency",
                 "options"):
        if hasattr(task, name):
            setattr(Native, name, getattr(task, name))
    return Native
