"""Builds a component of a task: `python3 -m tigerflow_task.build PATH -o TASK.wasm`.

PATH is a file with a task, or a directory with a `task.py`, or with a `pyproject.toml` that
names another file:

    [tool.tigerflow]
    task = "src/clean.py"
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile

from . import _classes, _imports

_SDK = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_COMPONENTIZE_PY = "0.25.1"  # `_loop` and `_component` know it from the inside.
_GUEST_PYTHON = "3.14"
_SKIPPED = shutil.ignore_patterns(
    *_imports._NEVER_STAGED, ".*", "*.pyc", "*.so", "*.pyd", "*.dylib", "*.wasm"
)


class BuildError(Exception):
    """Why there is no component."""


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python3 -m tigerflow_task.build",
        description="Makes a component of a task for tigerflow-host.",
    )
    parser.add_argument("path", help="a file with a task, or a directory with a `task.py`")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the component")
    parser.add_argument("--componentize-py", metavar="PROGRAM", help="where componentize-py is")
    parser.add_argument("--wit", metavar="DIR", help="the WIT worlds [the SDK's own]")
    options = parser.parse_args(arguments)
    try:
        build(options.path, options.output, options.componentize_py, options.wit)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(path, output, componentize_py=None, wit=None):
    """Makes the component `output` of the task at `path`."""
    main = _main_file(path)
    root = os.path.dirname(os.path.abspath(main))
    try:
        task, is_async = _classes.task_of(main, root)
        found = _imports.find(main, root, _package_directories(root))
    except SyntaxError as error:
        raise BuildError(_shown(error))
    except _classes.NoTask as error:
        raise BuildError(str(error))
    except ValueError as error:
        raise BuildError(f"{os.path.basename(main)} is no Python: {error}")
    for place, warning in found.warnings:
        print(f"warning: {place}: {warning}", file=sys.stderr)
    if found.problems:
        raise BuildError("\n       ".join(f"{place}: {text}" for place, text in found.problems))
    program = _componentize_py(componentize_py)
    try:
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    except OSError as error:
        raise BuildError(f"could not make the directory of {output}: {error}")
    with tempfile.TemporaryDirectory(prefix="tigerflow-build-") as stage:
        _stage(stage, main, task, is_async, found)
        _componentize(program, stage, wit or os.path.join(_SDK, "wit"), main, is_async, found)
        # Beside its place first, so that it is there as a whole or not at all.
        shutil.move(os.path.join(stage, "task.wasm"), output + ".part")
        os.replace(output + ".part", output)


def _main_file(path):
    if os.path.isfile(path):
        if not path.endswith(".py"):
            raise BuildError(f"{path} is no file of Python: its name does not end with `.py`")
        return path
    if not os.path.isdir(path):
        raise BuildError(f"there is no {path}")
    project = os.path.join(path, "pyproject.toml")
    if os.path.isfile(project):
        named = _named_in(project)
        if named:
            main = os.path.join(path, named)
            if not os.path.isfile(main):
                raise BuildError(f"{project} names {named} as the task, which is not there")
            return main
    main = os.path.join(path, "task.py")
    if not os.path.isfile(main):
        raise BuildError(
            f"{path} has no `task.py`, and no `pyproject.toml` that names another file: "
            '`[tool.tigerflow]`, `task = "FILE.py"`'
        )
    return main


def _named_in(project):
    try:
        import tomllib
    except ImportError:  # Python 3.10
        with open(project, encoding="utf-8") as file:
            if "[tool.tigerflow]" in file.read():
                raise BuildError(f"to read {project}, Python 3.11 or newer is needed")
        return None
    with open(project, "rb") as file:
        try:
            return tomllib.load(file).get("tool", {}).get("tigerflow", {}).get("task")
        except tomllib.TOMLDecodeError as error:
            raise BuildError(f"{project}: {error}")


def _package_directories(root):
    """Where packages may be: `vendor/`, then the environment in use."""
    directories = [os.path.join(root, "vendor")]
    for environment in (os.environ.get("VIRTUAL_ENV"), os.path.join(root, ".venv")):
        library = os.path.join(environment or "", "lib")
        if environment and os.path.isdir(library):
            directories += [
                os.path.join(library, version, "site-packages")
                for version in sorted(os.listdir(library))
            ]
    directories += [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return [path for path in directories if os.path.isdir(path)]


def _componentize_py(program):
    """Where componentize-py is."""
    wanted = program or os.environ.get("COMPONENTIZE_PY") or "componentize-py"
    beside = os.path.join(sysconfig.get_path("scripts"), wanted)
    found = shutil.which(wanted) or shutil.which(beside)
    install = f"`pip install componentize-py=={_COMPONENTIZE_PY}`"
    if not found:
        raise BuildError(f"`{wanted}` is not there, which makes components of Python: {install}")
    answer = subprocess.run([found, "--version"], capture_output=True, text=True)
    version = answer.stdout.split()[-1] if answer.returncode == 0 and answer.stdout else "?"
    if version != _COMPONENTIZE_PY:
        raise BuildError(f"{found} is of version {version}, and this SDK needs {install}")
    return found


def _stage(stage, main, task, is_async, found):
    """Gathers what the component is made of, and nothing else."""
    sdk = os.path.join(stage, "sdk")
    for name in ("tigerflow_task", "tigerflow"):
        shutil.copytree(os.path.join(_SDK, name), os.path.join(sdk, name), ignore=_SKIPPED)
    os.mkdir(os.path.join(sdk, "main"))
    shutil.copyfile(main, os.path.join(sdk, "main", os.path.basename(main)))
    with open(os.path.join(sdk, "tigerflow_entry.py"), "w", encoding="utf-8") as file:
        file.write(
            "from tigerflow_task import _built\n"
            f"{'AsyncTask' if is_async else 'Task'} = _built.load(\n"
            f"    {os.path.basename(main)!r}, {task!r}, {is_async!r}, {found.modules!r}\n)\n"
        )
    for place, modules in (("project", found.local), ("packages", found.packages)):
        os.mkdir(os.path.join(stage, place))
        for path in modules.values():
            target = os.path.join(stage, place, os.path.basename(path))
            if os.path.isdir(path):
                shutil.copytree(path, target, ignore=_SKIPPED)
            else:
                shutil.copyfile(path, target)
    # componentize-py would add the packages of the environment in use, all of them.
    os.makedirs(os.path.join(stage, "environment", "lib", "site-packages"))


def _componentize(program, stage, wit, main, is_async, found):
    command = [program, "-d", os.path.abspath(wit), "-w", "concurrent" if is_async else "plain"]
    command += ["--world-module", "tigerflow_wit", "componentize"]
    for place in ("sdk", "project", "packages"):
        command += ["-p", os.path.join(stage, place)]
    command += ["-o", os.path.join(stage, "task.wasm"), "tigerflow_entry"]
    environment = dict(os.environ, VIRTUAL_ENV=os.path.join(stage, "environment"))
    answer = subprocess.run(
        command, cwd=stage, env=environment, capture_output=True, text=True, errors="replace"
    )
    report = {}
    if os.path.exists(os.path.join(stage, "sdk", "report.json")):
        with open(os.path.join(stage, "sdk", "report.json"), encoding="utf-8") as file:
            report = json.load(file)
    if report:
        raise BuildError(_load_problem(report, main, found))
    if answer.returncode != 0:
        said = (answer.stderr + answer.stdout).split("Stack backtrace:")[0].strip()
        raise BuildError(f"componentize-py failed:\n{said}")


def _load_problem(report, main, found):
    """Why a task could not be loaded, for who wrote it."""
    if report["kind"] == "TaskError":
        return f"{os.path.basename(main)}: {report['message']}"
    trace = report["trace"]
    why = "the task could not be loaded (code outside of functions runs at build time)"
    missing = report["missing"] or ""
    package = missing.split(".")[0].lstrip("_")
    for name, file in found.compiled.items():
        if missing.startswith(name) or package == name:
            why = (
                f"the package `{name}` does not work without its part {file}, "
                f"which is machine code for this computer"
            )
    return f"{why}:\n{trace}"


def _shown(error):
    """A syntax error with its place and its line."""
    text = f"{error.filename}:{error.lineno}: {error.msg}"
    if error.text:
        text += f"\n    {error.text.rstrip()}"
        if error.offset:
            text += f"\n    {' ' * (error.offset - 1)}^"
    here = "%d.%d" % sys.version_info[:2]
    if here != _GUEST_PYTHON:
        text += f"\n(Python {here} reads it here; in the component it is {_GUEST_PYTHON})"
    return text


if __name__ == "__main__":
    sys.exit(main())
