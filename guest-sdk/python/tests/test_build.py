"""What the build finds out before componentize-py runs."""

import os
import tempfile
import textwrap
import unittest

from tigerflow_task import _classes, _imports, build

RUN = "    def run(self, input, output): pass\n"


class Build(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = directory.name

    def write(self, name, text=""):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(textwrap.dedent(text))
        return path

    def task_of(self, text):
        return _classes.task_of(self.write("task.py", text), self.root)

    def found(self, text, packages=()):
        path = self.write("task.py", text)
        return _imports.find(path, self.root, [os.path.join(self.root, each) for each in packages])

    def test_finds_the_task_by_its_base(self):
        for text, expected in [
            ("from tigerflow_task import Task\nclass A(Task): pass", ("A", False)),
            ("import tigerflow_task as t\nclass A(t.AsyncTask): pass", ("A", True)),
            ("from tigerflow.tasks import LocalAsyncTask as L\nclass A(L): pass", ("A", True)),
            ("from tigerflow_task import Task\nclass A(Task): pass\nclass B(A): pass", ("B", False)),
            ("from base import Base\nclass A(Base): pass", ("A", True)),
        ]:
            self.write("base.py", "from tigerflow_task import AsyncTask\nclass Base(AsyncTask): pass")
            with self.subTest(text):
                self.assertEqual(self.task_of(text), expected)

    def test_says_where_there_is_no_one_task(self):
        with self.assertRaisesRegex(_classes.NoTask, "task.py: no class in it derives"):
            self.task_of("class A: pass")
        with self.assertRaisesRegex(_classes.NoTask, r"A in line 2, B in line 3"):
            self.task_of("from tigerflow_task import Task\nclass A(Task): pass\nclass B(Task): pass")

    def test_follows_imports(self):
        self.write("pkg/__init__.py")
        self.write("pkg/data.py", "import other")
        self.write("other.py")
        self.write("vendor/lib/__init__.py", "from . import x\nimport dep")
        self.write("vendor/dep.py")
        found = self.found("""
            import json, tigerflow_task
            import pkg.data
            def later():
                import lib.part
        """, ["vendor"])
        self.assertEqual(found.problems, [])
        self.assertEqual(sorted(found.local), ["other", "pkg"])
        self.assertEqual(sorted(found.packages), ["dep", "lib"])
        self.assertEqual(found.modules, ["lib.part"])

    def test_names_what_cannot_work_and_where(self):
        self.write("vendor/fast.cpython-311-x86_64-linux-gnu.so")
        found = self.found("""\
            import numpy
            import requests, ssl
            import fast
            import missing_one
            from . import x
            import aiohttp.web
            import threading
            try:
                import pandas
            except ImportError:
                pandas = None
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                import torch
        """, ["vendor"])
        said = "\n".join(f"{place}: {text}" for place, text in found.problems)
        for words in ("task.py:1: `numpy` cannot work", "task.py:2: `requests`", "task.py:2: `ssl`",
                      "task.py:3: `fast` cannot work: it is machine code",
                      "pip install --target vendor missing-one", "task.py:5: a relative import",
                      "`aiohttp.web` is not there"):
            self.assertIn(words, said)
        self.assertEqual(len(found.problems), 7)
        self.assertEqual([place for place, _ in found.warnings], ["task.py:7", "task.py:9"])

    def test_finds_the_file_of_a_project(self):
        with self.assertRaisesRegex(build.BuildError, "has no `task.py`"):
            build._main_file(self.root)
        path = self.write("task.py")
        self.assertEqual(build._main_file(self.root), path)
        with self.assertRaisesRegex(build.BuildError, "is no file of Python"):
            build._main_file(self.write("task.txt"))
        with self.assertRaisesRegex(build.BuildError, "there is no"):
            build._main_file(os.path.join(self.root, "none"))

    def test_shows_a_syntax_error_with_its_line(self):
        path = self.write("task.py", "class A(:\n    pass\n")
        with self.assertRaisesRegex(build.BuildError, r"task.py:1: .*\n    class A\(:\n"):
            build.build(path, os.path.join(self.root, "out.wasm"))

    def test_says_how_to_install_componentize_py(self):
        path = self.write("task.py", "from tigerflow_task import Task\nclass A(Task):\n" + RUN)
        with self.assertRaisesRegex(build.BuildError, "pip install componentize-py=="):
            build.build(path, os.path.join(self.root, "o.wasm"), componentize_py="/no/such/program")


if __name__ == "__main__":
    unittest.main()
