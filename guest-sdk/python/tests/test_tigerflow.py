"""TigerFlow's own tasks."""

import importlib.util
import os
import pathlib
import sys
import unittest
from typing import Annotated

from tigerflow.tasks import LocalTask, SlurmTask
from tigerflow_task import testing
from tigerflow_task._task import describe

import tigerflow

STANDINS = pathlib.Path(tigerflow.__file__).parent / "_standins"
TASKS = pathlib.Path(__file__).parents[3] / "tests" / "tigerflow"


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TigerFlow(unittest.TestCase):
    def test_params_are_options_and_the_context_is_frozen(self):
        typer = load("typer", STANDINS / "typer.py")

        class Echo(SlurmTask):
            class Params:
                prefix: Annotated[str, typer.Option(help="Text before")] = "> "
                upper_case: Annotated[bool, typer.Option("--upper", help="Louder")] = False

            @staticmethod
            def setup(context):
                context.suffix = "!"

            @staticmethod
            def run(context, input_file, output_file):
                text = input_file.read_text()
                text = text.upper() if context.upper_case else text
                output_file.write_text(context.prefix + text + context.suffix)
                if text == "change":
                    context.suffix = "?"

        self.assertEqual(testing.run(Echo, "a", upper_case=True), "> A!")
        with self.assertRaisesRegex(AttributeError, "frozen SetupContext: tried to set 'suffix'"):
            testing.run(Echo, "change")
        from tigerflow.tasks import native

        said = describe(native(Echo))
        self.assertEqual(said.name, "echo")
        self.assertEqual([(each.name, each.help) for each in said.parameters],
                         [("prefix", "Text before"), ("upper", "Louder")])

    @unittest.skipUnless(TASKS.is_dir(), "outside of the repository")
    def test_the_tasks_of_its_page_run_unchanged(self):
        hello = load("hello", TASKS / "hello.py").HelloWorld
        self.assertTrue(issubclass(hello, LocalTask))
        self.assertEqual(testing.run(hello, "world"), "Hello, WORLD")

        for name in ("aiofiles", "aiohttp"):
            sys.modules[name] = load(name, STANDINS / f"{name}.py")
        self.addCleanup(lambda: [sys.modules.pop(name) for name in ("aiofiles", "aiohttp")])
        os.environ["VOYAGE_API_KEY"] = "key"
        embed = load("embed", TASKS / "embed.py").Embed

        def api(request):
            self.assertEqual(request.headers["authorization"], "Bearer key")
            self.assertIn(b'"input":"text"', request.body)
            return '{"data": []}' if request.url.endswith("/embeddings") else (404, b"")

        with testing.answer_http(api):
            self.assertEqual(testing.run(embed, " text\n"), '{"data": []}')
        with testing.answer_http(lambda request: (429, {"retry-after": "3"}, b"")):
            with self.assertRaises(sys.modules["aiohttp"].ClientResponseError) as caught:
                testing.run(embed, "text")
        error = caught.exception
        self.assertEqual(str(error), "429, message='Too Many Requests', "
                                     "url='https://api.voyageai.com/v1/embeddings'")
        self.assertEqual((error.transient, error.retry_after), (True, 3))


if __name__ == "__main__":
    unittest.main()
