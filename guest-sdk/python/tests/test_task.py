"""What a task says of itself, and its parameters."""

import enum
import unittest
from pathlib import Path
from typing import Annotated, Literal, Optional

from tigerflow_task import AsyncTask, Grant, Task, sleep, testing
from tigerflow_task._errors import TaskError
from tigerflow_task._task import describe, kebab


class Speed(enum.Enum):
    FAST = "fast"
    CAREFUL = "careful"


class CountWords(Task):
    """Counts words.
    Also in two lines.

    And has more to say.
    """

    needs = {Grant.read_write("/db"): "keeps the counts"}
    can_use = {Grant.host("api.example.org"): "asks it"}
    max_concurrency = 1
    options = {"timeout": "5m", "rate_limit": "3/s"}

    class Params:
        words: str
        top: Annotated[int, "How many"] = 10
        ratio: float = 1
        loud: bool
        mode: Literal["a", "b"] = "b"
        speed: Speed = Speed.FAST
        where: Optional[Path] = None

    def run(self, input, output):
        output.write_text(repr(vars(self.params)))


class Describe(unittest.TestCase):
    def test_fills_what_the_class_leaves_open(self):
        said = describe(CountWords)
        self.assertEqual(said.name, "count-words")
        self.assertEqual(said.version, "0.1.0")
        self.assertEqual(said.summary, "Counts words. Also in two lines")
        self.assertEqual(said.max_concurrency, 1)
        self.assertEqual(said.options, {"timeout": "5m", "rate-limit": "3/s"})
        self.assertEqual([(grant.what, required) for grant, _, required in said.grants],
                         [("/db", True), ("api.example.org", False)])

    def test_knows_parameters_of_all_kinds(self):
        said = {each.name: each for each in describe(CountWords).parameters}
        self.assertEqual([(each.name, each.kind, each.default, each.required)
                          for each in said.values()], [
            ("words", "text", None, True),
            ("top", "integer", 10, False),
            ("ratio", "number", 1.0, False),
            ("loud", "boolean", False, False),
            ("mode", "choice", "b", False),
            ("speed", "choice", "fast", False),
            ("where", "text", None, False),
        ])
        self.assertEqual(said["top"].help, "How many")
        self.assertEqual(said["speed"].choices, ["fast", "careful"])

    def test_a_task_gets_values_of_its_own_types(self):
        wrote = testing.run(CountWords, "", words="x", speed=Speed.CAREFUL, where="/db/x")
        self.assertIn("'speed': <Speed.CAREFUL: 'careful'>", wrote)
        self.assertIn("PosixPath('/db/x')", wrote)
        with self.assertRaisesRegex(TypeError, "`words` must be given"):
            testing.run(CountWords, "")
        with self.assertRaisesRegex(TypeError, "no parameter `wrods`"):
            testing.run(CountWords, "", words="x", wrods="y")

    def test_refuses_what_cannot_work(self):
        def task(**members):
            return type("Bad", (Task,), {"run": lambda self, input, output: None, **members})

        async def run(self, input, output):
            pass

        for bad, message in [
            (type("Bad", (Task,), {}), "has no `run"),
            (task(run=run), "derive the class from AsyncTask"),
            (task(run=lambda self, input: None), "takes other parameters"),
            (task(name="Bad Name"), "kebab-case"),
            (task(Params=type("P", (), {"__annotations__": {"x": list}})), "of a type that"),
            (task(Params=type("P", (), {"__annotations__": {"x": int}, "x": "1"})), "is '1'"),
            (type("Bad", (AsyncTask,), {"run": lambda self, input, output: None}), "is not `async`"),
        ]:
            with self.subTest(message), self.assertRaisesRegex(TaskError, message):
                describe(bad)

    def test_names_in_kebab_case(self):
        for name, expected in [("CleanCsv", "clean-csv"), ("HTTPFetch", "http-fetch"),
                               ("A", "a"), ("Embed2", "embed2"), ("count_words", "count-words")]:
            self.assertEqual(kebab(name), expected)


class Calls(unittest.TestCase):
    def test_an_asynchronous_task_runs_natively(self):
        class Slow(AsyncTask):
            async def setup(self):
                self.count = 0

            async def run(self, input, output):
                await sleep(0)
                self.count += 1
                output.write_bytes(input.read_bytes() * 2)

        self.assertEqual(testing.run(Slow, b"ab"), b"abab")

    def test_one_object_has_all_runs(self):
        class Count(Task):
            def setup(self):
                self.count = 0

            def run(self, input, output):
                self.count += 1

        with testing.start(Count) as started:
            started.run("a", "b")
            started.run("a", "b")
            self.assertEqual(started.task.count, 2)


if __name__ == "__main__":
    unittest.main()
