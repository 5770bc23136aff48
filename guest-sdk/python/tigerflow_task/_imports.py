"""What a task's code imports: where it comes from, and whether it can work in a component."""

import ast
import os
import sys
from dataclasses import dataclass, field

#: What a component does not have, and what to do instead. `None`: it cannot be done.
_NO_SERVERS = "there are no sockets in a component; ask servers with `tigerflow_task.http`"
_NO_THREADS = "there are no threads in a component; the host runs many instances at once"
_NO_PROGRAMS = "a component cannot start programs"
_MACHINE_CODE = "it is machine code for this computer, which a component cannot run"

_STANDARD_MISSING = {
    "ssl": _NO_SERVERS, "ctypes": _MACHINE_CODE, "mmap": "read the file instead",
    "bz2": "only `zlib` and `gzip` are there", "lzma": "only `zlib` and `gzip` are there",
    "curses": None, "fcntl": None, "grp": None, "pwd": None, "pty": None, "readline": None,
    "resource": None, "syslog": "use `tigerflow_task.log`", "termios": None, "tty": None,
    "tkinter": None, "turtle": None, "msvcrt": None, "winreg": None, "winsound": None,
}
_STANDARD_USELESS = {
    "subprocess": _NO_PROGRAMS, "multiprocessing": _NO_PROGRAMS, "socket": _NO_SERVERS,
    "socketserver": _NO_SERVERS, "http.client": _NO_SERVERS, "urllib.request": _NO_SERVERS,
    "ftplib": _NO_SERVERS, "smtplib": _NO_SERVERS, "imaplib": _NO_SERVERS,
    "poplib": _NO_SERVERS, "xmlrpc.client": _NO_SERVERS, "threading": _NO_THREADS,
    "concurrent.futures": _NO_THREADS,
}
_KNOWN = {
    "numpy": "use lists, `array`, `math` and `statistics`",
    "scipy": None, "sklearn": None, "torch": None, "tensorflow": None, "transformers": None,
    "whisper": None, "faster_whisper": None, "onnxruntime": None, "cv2": None,
    "pandas": "use `csv` and `json`", "polars": "use `csv` and `json`", "pyarrow": None,
    "duckdb": "use `sqlite3`, which is there", "lxml": "use `xml.etree.ElementTree`",
    "PIL": None, "pydantic": "use `dataclasses`", "pydantic_core": "use `dataclasses`",
    "orjson": "use `json`", "ujson": "use `json`", "cryptography": None,
    "psycopg": None, "psycopg2": None,
}
_SERVERS = (
    "requests", "httpx", "urllib3", "httpcore", "boto3", "botocore", "openai", "anthropic",
    "paramiko", "redis", "pymongo", "websockets",
)
_STANDINS = {"typer": (), "aiofiles": (), "aiohttp": ()}
_OF_TIGERFLOW = ("tigerflow", "tigerflow.tasks", "tigerflow.utils")
_NEVER_STAGED = ("__pycache__", "tests", "test", "node_modules")


@dataclass
class Found:
    """What a component is made of, and what speaks against it."""

    local: dict = field(default_factory=dict)  # name -> file or directory of the project
    packages: dict = field(default_factory=dict)  # name -> file or directory elsewhere
    compiled: dict = field(default_factory=dict)  # package -> a file of machine code in it
    modules: list = field(default_factory=list)  # imported in functions: loaded at build time
    problems: list = field(default_factory=list)  # (place, message)
    warnings: list = field(default_factory=list)


@dataclass
class _Import:
    module: str  # dotted
    names: tuple  # what `from module import` takes
    level: int
    line: int
    guarded: bool  # in a `try` that is ready for an ImportError
    nested: bool  # in a function


def parse(path, shown):
    """The syntax tree of a file; `SyntaxError` where it is no Python."""
    with open(path, "rb") as file:
        return ast.parse(file.read(), filename=shown)


def find(main, root, package_directories):
    """Follows all imports of a task's file."""
    return _Finder(main, root, package_directories).found


class _Finder:
    def __init__(self, main, root, package_directories):
        self.root = root
        self.main = os.path.basename(main)[: -len(".py")]
        self.directories = package_directories
        self.found = Found()
        self.seen = set()
        self._file(main, os.path.basename(main))

    def _file(self, path, shown, package=None):
        """Looks at a file of the project."""
        for item in imports_of(parse(path, shown)):
            place = f"{shown}:{item.line}"
            if item.level:
                if package is None:
                    self.found.problems.append((place, (
                        "a relative import works in packages only: "
                        f"`import {item.module or ', '.join(item.names)}`")))
                continue
            self._module(item, place)

    def _module(self, item, place):
        top = item.module.split(".")[0]
        if item.nested:
            self.found.modules.append(item.module)
            self.found.modules += [f"{item.module}.{name}" for name in item.names if name != "*"]
        wholes = [item.module] + [f"{item.module}.{name}" for name in item.names]
        complain = self.found.warnings if item.guarded else self.found.problems

        if top in ("tigerflow_task", "__future__") or top == self.main:
            return
        if top == "tigerflow":
            if item.module not in _OF_TIGERFLOW:
                complain.append((place, f"`{item.module}` is not there for tasks, "
                                        "only `tigerflow.tasks` and `tigerflow.utils`"))
            return
        if top in _STANDINS:
            if item.module != top:
                complain.append((place, f"`{item.module}` is not there: of `{top}` there is "
                                        "only a stand-in, without submodules"))
            return
        local = self._in(self.root, top)
        if top in sys.stdlib_module_names:
            if local:
                self.found.warnings.append((place, (
                    f"`{top}` is Python's own module here, not {os.path.basename(local)} "
                    "of the same name: rename that file to import it")))
            if top in _STANDARD_MISSING:
                complain.append((place, _sentence(top, "is not there", _STANDARD_MISSING[top])))
            else:
                for whole in wholes:
                    if whole in _STANDARD_USELESS and not item.guarded:
                        self.found.warnings.append(
                            (place, f"`{whole}` cannot work: {_STANDARD_USELESS[whole]}"))
            return
        if local:
            self._local(top, local)
            return
        package = next(filter(None, (self._in(path, top) for path in self.directories)), None)
        if top in _KNOWN:
            complain.append((place, f"`{top}` cannot work: {_MACHINE_CODE}"
                             + (f"; {_KNOWN[top]}" if _KNOWN[top] else "")))
        elif top in _SERVERS:
            complain.append((place, f"`{top}` cannot work: {_NO_SERVERS}"))
        elif package:
            self._package(top, package, place)
        elif not item.guarded:
            self.found.problems.append((place, (
                f"there is no module `{top}`: neither beside the task, nor in `vendor/`, nor "
                f"installed. `pip install --target vendor {self._requirement(top)}` puts a "
                "package of pure Python there")))

    def _requirement(self, name):
        listed = os.path.join(self.root, "requirements.txt")
        return "-r requirements.txt" if os.path.exists(listed) else name.replace("_", "-")

    def _local(self, name, path):
        if name in self.found.local:
            return
        self.found.local[name] = path
        if os.path.isfile(path):
            self._file(path, os.path.basename(path))
            return
        for file in python_files(path):
            self._file(file, os.path.relpath(file, self.root), package=name)

    def _package(self, name, path, place):
        """Takes a package that was installed, and what it needs itself."""
        if name in self.found.packages:
            return
        if not path.endswith(".py") and os.path.isfile(path):
            self.found.problems.append((place, f"`{name}` cannot work: {_MACHINE_CODE}"))
            return
        self.found.packages[name] = path
        files = [path] if os.path.isfile(path) else list(python_files(path))
        if os.path.isdir(path):
            for directory, _, names in os.walk(path):
                for file in names:
                    if file.endswith((".so", ".pyd", ".dylib")):
                        self.found.compiled.setdefault(name, os.path.relpath(
                            os.path.join(directory, file), os.path.dirname(path)))
        for file in files:
            try:
                items = imports_of(parse(file, file))
            except SyntaxError:
                continue
            for item in items:
                top = item.module.split(".")[0]
                if item.level or not top or top in sys.stdlib_module_names or top in _STANDINS:
                    continue
                needed = next(filter(None, (self._in(d, top) for d in self.directories)), None)
                if needed and top not in _KNOWN and top not in _SERVERS:
                    self._package(top, needed, place)

    @staticmethod
    def _in(directory, name):
        """The file or the directory that a module is in a directory, if it is there."""
        path = os.path.join(directory, name)
        if os.path.isfile(f"{path}.py"):
            return f"{path}.py"
        if os.path.isdir(path) and any(python_files(path)):
            return path
        try:
            names = os.listdir(directory)
        except OSError:
            return None
        compiled = (".so", ".pyd")
        return next((os.path.join(directory, file) for file in names
                     if file.startswith(f"{name}.") and file.endswith(compiled)), None)


def imports_of(tree):
    """All imports in a syntax tree, but those for type checkers only."""
    items = []
    _walk(tree, items, False, False)
    return items


def _walk(node, items, guarded, nested):
    if isinstance(node, ast.Import):
        items += [_Import(alias.name, (), 0, node.lineno, guarded, nested) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names)
        items.append(_Import(node.module or "", names, node.level, node.lineno, guarded, nested))
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        for child in node.orelse:
            _walk(child, items, guarded, nested)
        return
    elif isinstance(node, ast.Try):
        ready = guarded or any(_catches_import_errors(handler) for handler in node.handlers)
        for child in node.body:
            _walk(child, items, ready, nested)
        for child in node.handlers + node.orelse + node.finalbody:
            _walk(child, items, guarded, nested)
        return
    nested = nested or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    for child in ast.iter_child_nodes(node):
        _walk(child, items, guarded, nested)


def _catches_import_errors(handler):
    if handler.type is None:
        return True
    caught = {name.id for name in ast.walk(handler.type) if isinstance(name, ast.Name)}
    return bool(caught & {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def python_files(directory):
    """The files of a package that belong into a component."""
    for path, directories, files in os.walk(directory):
        directories[:] = sorted(
            name for name in directories if name not in _NEVER_STAGED and name[0] != "."
        )
        for file in sorted(files):
            if file.endswith(".py"):
                yield os.path.join(path, file)


def _sentence(name, what, instead):
    return f"`{name}` {what} in a component" + (f": {instead}" if instead else "")
