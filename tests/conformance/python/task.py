"""The conformance task in Python: see ../README.md."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from tigerflow_task import Aborted, Grant, Task, Transient, http, log, progress

setups = 0


class TooBad(Exception):
    """The task's own error."""


class Conformance(Task):
    name = "conformance-python"
    version = "1.2.3"
    summary = "Does what the first line of each input says"
    can_use = {
        Grant.read_only("/gate"): "waits for /gate/open",
        Grant.environment("SETTING"): "is shown",
    }
    options = {"timeout": "10m"}

    class Params:
        tag: Annotated[str, "A text that must be given"]
        title: Annotated[str, "A text"] = "untitled"
        count: Annotated[int, "A whole number"] = 3
        ratio: Annotated[float, "A number"] = 0.5
        loud: Annotated[bool, "A switch"] = False
        mode: Annotated[Literal["fast", "careful"], "One of two"] = "fast"
        note: Annotated[str | None, "A text that may be missing"] = None

    def setup(self):
        global setups
        setups += 1
        self.runs = 0
        self.transient = 0
        if self.params.tag == "fail":
            fail("setup was told to fail")

    def run(self, input, output):
        self.runs += 1
        with input.open("rb") as file:
            line = file.readline().rstrip(b"\n").decode()
            word, _, argument = line.partition(" ")
            if word == "copy":
                file.seek(0)
                copy(file, output)
                return
            body = file.read()
        action = getattr(self, f"do_{word}", None)
        if action is None:
            raise ValueError(f"there is no word `{word}`")
        made = action(argument, body, input, output)
        if made is not None:
            output.write_bytes(made if isinstance(made, bytes) else made.encode())

    def teardown(self):
        print(f"teardown after {self.runs} runs")

    def do_params(self, *_):
        p = self.params
        values = {
            "tag": p.tag, "title": p.title, "count": p.count, "ratio": p.ratio,
            "loud": str(p.loud).lower(), "mode": p.mode,
            "note": "(none)" if p.note is None else p.note,
        }
        return "".join(f"{name}={value}\n" for name, value in values.items())

    def do_context(self, *_):
        return f"setup {setups}, run {self.runs}, tag {self.params.tag}"

    def do_echo(self, _, body, *__):
        return body

    def do_names(self, _, __, input, output):
        return f"{input.name}\n{output.name}"

    def do_fail(self, text, *_):
        fail(text)

    def do_io(self, _, __, input, ___):
        return (input.parent / "there-is-none").read_bytes()

    def do_transient(self, delay, *_):
        self.transient += 1
        if self.transient == 1:
            raise Transient("come again", retry_after=int(delay) / 1000)
        return "run again"

    def do_abort(self, text, *_):
        raise Aborted(text)

    def do_nothing(self, *_):
        pass

    def do_empty(self, *_):
        return b""

    def do_panic(self, *_):
        raise RuntimeError("this is a mistake")

    def do_exit(self, *_):
        sys.exit(7)

    def do_stderr(self, text, *_):
        for number in range(1, 1001):
            print(f"line {number}", file=sys.stderr)
        fail(text)

    def do_stdout(self, *_):
        print("on stdout")

    def do_log(self, *_):
        log.trace("at trace")
        log.debug("at debug")
        log.info("at info")
        log.warn("at warn")
        log.error("at error")

    def do_progress(self, _, __, input, ___):
        progress(input, 0.25)
        while not Path("/gate/open").exists():
            time.sleep(0.01)

    def do_env(self, name, *_):
        return os.environ.get(name, "(none)")

    def do_read(self, path, *_):
        return Path(path).read_bytes()

    def do_write(self, path, body, *_):
        Path(path).write_bytes(body)

    def do_loop(self, *_):
        while True:
            pass

    def do_memory(self, *_):
        kept = []
        while True:
            kept.append(bytearray(b"x") * (1 << 20))

    def do_http(self, url, *_):
        return http.get(url).raise_for_status().content


def fail(text):
    try:
        raise ValueError("the cause of it")
    except ValueError as cause:
        raise TooBad(text) from cause


def copy(file, output):
    with output.open("wb") as copied:
        while block := file.read(1 << 20):
            copied.write(block)
