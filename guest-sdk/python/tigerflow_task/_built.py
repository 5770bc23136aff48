"""What happens inside of a component while it is built.

componentize-py runs the interpreter once, loads all modules, and keeps its memory: that is
what the component starts with. So all that a task may need is loaded here, and nothing can
be loaded later: there are no files of Python then.
"""

import encodings
import gc
import importlib
import importlib.util
import json
import linecache
import os
import pkgutil
import sys
import traceback

from . import _component, _errors, _report

_HERE = os.path.dirname(os.path.dirname(__file__))

# What the standard library loads only when it is used.
_LATER = (
    "_strptime", "ast", "contextlib", "copy", "fnmatch", "glob", "shutil", "stringprep",
    "tempfile", "textwrap", "tokenize", "unicodedata", "zlib",
)


def load(main, task, is_async, modules):
    """Loads a task, and gives what makes the object that answers the host."""
    report = {}
    try:
        _component.prepare()
        for name in _LATER + tuple(_encodings()):
            importlib.import_module(name)
        if is_async:
            from . import _loop

            _loop.install()
        sys.path.append(f"{_HERE}/tigerflow/_standins")
        module = _import(f"{_HERE}/main/{main}")
        for name in modules:
            try:
                importlib.import_module(name)
            except ImportError:
                pass  # The task finds out, too, and may be ready for it.
        answers = _export(getattr(module, task))
        _keep()
        return lambda: answers
    except BaseException as error:
        report = _problem(error)
        raise
    finally:
        with open(f"{_HERE}/report.json", "w") as file:
            json.dump(report, file)


def _import(path):
    name = os.path.basename(path).removesuffix(".py")
    if not name.isidentifier() or name in sys.modules or name in sys.stdlib_module_names:
        name = "__task__"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _export(task):
    if "tigerflow.tasks" in sys.modules:
        from tigerflow import tasks

        if issubclass(task, (tasks.LocalTask, tasks.LocalAsyncTask)):
            task = tasks.native(task)
    return _component.export(task)


def _keep():
    """Gets ready for life without files."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if path.startswith("/") and path[1:2].isdigit() and path.endswith(".py"):
            # Tracebacks show lines of code. Without a time nobody looks whether it changed.
            lines = linecache.getlines(path)
            linecache.cache[path] = (sum(map(len, lines)), None, lines, path)
    try:
        raise ValueError("loads what tracebacks need")
    except ValueError as error:
        _errors.trace_of(error)
    sys.meta_path.append(_Nowhere)
    _report.connect()
    gc.collect()
    gc.freeze()


class _Nowhere:
    """Asked for a module when all others do not know it."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is None and name in sys.stdlib_module_names:
            raise ModuleNotFoundError(
                f"the module `{name}` was not loaded when the component was built: "
                "import it at the top of the task's file",
                name=name,
            )
        return None


def _encodings():
    for module in pkgutil.iter_modules(encodings.__path__):
        if module.name not in ("bz2_codec", "mbcs", "oem", "_win_cp_codecs"):
            yield f"encodings.{module.name}"


def _problem(error):
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return {
        "kind": type(error).__name__,
        "message": _errors.message_of(error),
        "trace": _errors.trace_of(error),
        "missing": missing,
    }
