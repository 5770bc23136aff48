"""The conformance task in asynchronous Python: see ../README.md."""

from tigerflow_task import AsyncTask, http, sleep


class TooBad(Exception):
    """The task's own error."""


class Conformance(AsyncTask):
    name = "conformance-python-async"
    version = "1.2.3"
    summary = "Does what the first line of each input says"

    async def setup(self):
        self.runs = 0
        self.in_flight = 0
        self.most = 0

    async def run(self, input, output):
        self.runs += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            line, _, body = input.read_bytes().partition(b"\n")
            word, _, argument = line.decode().partition(" ")
            output.write_bytes(await self.answer(word, argument, body))
        finally:
            self.in_flight -= 1

    async def teardown(self):
        print(f"teardown after {self.runs} runs")

    async def answer(self, word, argument, body):
        match word:
            case "echo":
                return body
            case "fail":
                fail(argument)
            case "panic":
                raise RuntimeError("this is a mistake")
            case "http":
                return (await http.aio.get(argument)).raise_for_status().content
            case "wait":
                await sleep(int(argument) / 1000)
                return str(self.most).encode()
        raise ValueError(f"there is no word `{word}`")


def fail(text):
    try:
        raise ValueError("the cause of it")
    except ValueError as cause:
        raise TooBad(text) from cause
