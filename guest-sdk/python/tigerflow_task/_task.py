"""What a task is and needs."""

import inspect
import re
from dataclasses import dataclass

from ._errors import TaskError
from ._params import parameters_of


class _Base:
    """What both kinds of tasks share. All of it is optional."""

    #: The task's name in kebab-case; by default it is the name of the class: `CleanCsv` is
    #: `clean-csv`.
    name = None
    #: The task's own semantic version.
    version = "0.1.0"
    #: One sentence on what `run` makes of a file; by default the first paragraph of the
    #: class's docstring.
    summary = None
    #: Capabilities that the task is useless without, with the reason for the user who
    #: decides: `{Grant.read_write("/db"): "keeps the database there"}`.
    needs = {}
    #: Capabilities that the task uses where the user gives them.
    can_use = {}
    #: How many files may be in flight at once over all instances: 1 for the only writer of
    #: a database. The command line never raises it.
    max_concurrency = None
    #: The task's own defaults for options of `tigerflow-host run`: `{"timeout": "5m"}`.
    options = {}

    class Params:
        """The task's parameters: `top: Annotated[int, "help"] = 10` is the option `--top`."""

    #: The values of the parameters, from before `setup` on.
    params: Params


class Task(_Base):
    """A task that runs one file at a time in each instance.

    The host makes as many instances as files are in flight. The object itself is what
    `run` calls share: what `setup` puts into `self`.
    """

    def setup(self):
        """Prepares the object. An error here stops the whole run."""

    def run(self, input, output):
        """Works on one file. Both are a `pathlib.Path`: one to read, one to write.

        Where nothing is written, the host makes an empty placeholder. An error ends this
        file only, and becomes its `.err` file.
        """
        raise NotImplementedError

    def teardown(self):
        """Gives back what `setup` made: closes, commits, flushes."""


class AsyncTask(_Base):
    """A task that mostly waits: one instance has many `run` calls in flight, on one object.

    Other calls go on at each `await`, and only there. Whatever blocks (`time.sleep`, a long
    computation) holds up all of them.
    """

    async def setup(self):
        """As in `Task`."""

    async def run(self, input, output):
        """As in `Task`; up to `--concurrency-limit` calls are in flight at once."""
        raise NotImplementedError

    async def teardown(self):
        """As in `Task`; it comes when no `run` is in flight."""


@dataclass(frozen=True)
class Grant:
    """A capability beyond the input and the output, which only the user can give."""

    kind: str
    what: str

    @classmethod
    def read_only(cls, guest_path):
        """A directory to read, which the task sees at this absolute path."""
        return cls("read-only", guest_path)

    @classmethod
    def read_write(cls, guest_path):
        """A directory to read and write, which the task sees at this absolute path."""
        return cls("read-write", guest_path)

    @classmethod
    def environment(cls, variable):
        """An environment variable of this name."""
        return cls("environment", variable)

    @classmethod
    def host(cls, name):
        """A network host: `api.example.org`, `api.example.org:8443` or `*.example.org`."""
        return cls("host", name)


@dataclass
class Description:
    """What the host asks a task first."""

    name: str
    version: str
    summary: str
    parameters: list
    grants: list  # (Grant, reason, required)
    max_concurrency: "int | None"
    options: dict


def describe(task):
    """What a class of a task says of itself; `TaskError` where it is none."""
    check(task)
    summary = task.summary
    if summary is None:
        summary = " ".join((task.__dict__.get("__doc__") or "").strip().split("\n\n")[0].split()).removesuffix(".")
    name = task.name or kebab(task.__name__)
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise TaskError(
            f"the name of a task is in kebab-case, as `clean-csv`, and `{name}` is not: "
            f'give {task.__name__} another one with `name = "…"`'
        )
    grants = [
        (grant, reason, required)
        for given, required in ((task.needs, True), (task.can_use, False))
        for grant, reason in given.items()
    ]
    return Description(
        name=name,
        version=task.version,
        summary=summary,
        parameters=parameters_of(task.Params),
        grants=grants,
        max_concurrency=task.max_concurrency,
        options={name.replace("_", "-"): str(value) for name, value in task.options.items()},
    )


def check(task):
    """That a class keeps to what `Task` or `AsyncTask` ask for."""
    base = AsyncTask if issubclass(task, AsyncTask) else Task
    if task.run is base.run:
        raise TaskError(f"{task.__name__} has no `run(self, input, output)`")
    for name in ("setup", "run", "teardown"):
        function = inspect.unwrap(getattr(task, name))
        is_async = inspect.iscoroutinefunction(function)
        if base is Task and is_async:
            raise TaskError(
                f"{task.__name__}.{name} is `async`: derive the class from AsyncTask, not Task"
            )
        if base is AsyncTask and not is_async:
            raise TaskError(
                f"{task.__name__}.{name} is not `async`: write `async def {name}`, "
                "or derive the class from Task"
            )
        count = 3 if name == "run" else 1
        try:
            inspect.signature(getattr(task, name)).bind(*range(count))
        except TypeError:
            takes = "self, input, output" if name == "run" else "self"
            raise TaskError(f"{task.__name__}.{name} takes other parameters than ({takes})")


def kebab(name):
    """`CleanCsv` as `clean-csv`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return re.sub(r"[-_]+", "-", name).strip("-").lower()
