"""Which class of a file is the task, as far as its text says."""

import ast
import os

from ._imports import parse

#: The bases of tasks, and whether they are asynchronous.
_BASES = {
    "tigerflow_task.Task": False,
    "tigerflow_task.AsyncTask": True,
    "tigerflow.tasks.LocalTask": False,
    "tigerflow.tasks.SlurmTask": False,
    "tigerflow.tasks.LocalAsyncTask": True,
}


class NoTask(Exception):
    """There is not exactly one task."""


def task_of(main, root):
    """The name of the one task in a file, and whether it is asynchronous."""
    shown = os.path.basename(main)
    tasks, used = _tasks(main, root, shown, set())
    own = [(name, line, is_async) for name, (line, is_async) in tasks.items() if name not in used]
    if not own:
        raise NoTask(
            f"{shown}: no class in it derives from Task or AsyncTask (of tigerflow_task), or from "
            "LocalTask, LocalAsyncTask or SlurmTask (of tigerflow.tasks)"
        )
    if len(own) > 1:
        several = ", ".join(f"{name} in line {line}" for name, line, _ in own)
        raise NoTask(
            f"{shown}: there are several tasks ({several}), and a component is one: put each "
            "into a file of its own"
        )
    return own[0][0], own[0][2]


def _tasks(path, root, shown, seen):
    """The classes of a file that are tasks, and those of them that others derive from."""
    names = {}  # what a name at the top of the file means: a dotted name
    tasks, used = {}, set()
    for node in _statements(parse(path, shown).body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.ClassDef):
            for base in node.bases:
                dotted = _dotted(base)
                if dotted in tasks:
                    used.add(dotted)
                    tasks[node.name] = (node.lineno, tasks[dotted][1])
                    continue
                first, _, rest = dotted.partition(".")
                whole = names.get(first, first) + (f".{rest}" if rest else "")
                is_async = _BASES.get(whole)
                if is_async is None:
                    is_async = _elsewhere(whole, root, seen)
                if is_async is not None:
                    tasks[node.name] = (node.lineno, is_async)
    return tasks, used


def _elsewhere(dotted, root, seen):
    """Whether a class of another file of the project is a task, and of which kind."""
    module, _, name = dotted.rpartition(".")
    for path in (module.replace(".", "/") + ".py", module.replace(".", "/") + "/__init__.py"):
        path = os.path.join(root, path)
        if module and path not in seen and os.path.isfile(path):
            tasks, _ = _tasks(path, root, os.path.relpath(path, root), seen | {path})
            return tasks.get(name, (None, None))[1]
    return None


def _statements(body):
    """The statements at the top of a file, also within `if` and `try`."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody"):
            if isinstance(node, (ast.If, ast.Try)):
                yield from _statements(getattr(node, name, []))


def _dotted(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Subscript):
        return _dotted(node.value)
    return ""
