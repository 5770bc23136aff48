"""The benchmark's large component: a task in Python carries its interpreter."""

from componentize_py_types import Err
from wit_world.exports import Task as TaskInterface
from wit_world.imports.types import Description, Failure, RunError_Failed


class Task(TaskInterface):
    def describe(self) -> Description:
        return Description(
            name="upper-python",
            version="0.1.0",
            summary="Turns a text into upper case",
            parameters=[],
            grants=[],
            max_concurrency=None,
            option_defaults=[],
        )

    def setup(self, arguments) -> None:
        pass

    def run(self, input: str, output: str) -> None:
        try:
            with open(input, encoding="utf-8") as source:
                text = source.read()
            with open(output, "w", encoding="utf-8") as target:
                target.write(text.upper())
        except OSError as error:
            failure = Failure(kind=type(error).__name__, message=str(error), trace="")
            raise Err(RunError_Failed(failure)) from error

    def teardown(self) -> None:
        pass
