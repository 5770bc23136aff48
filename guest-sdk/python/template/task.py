from typing import Annotated

from tigerflow_task import Task


class Greeter(Task):
    """Greets each text, and turns it into upper case."""

    name = "{{name}}"

    class Params:
        greeting: Annotated[str, "Words to put before the text"] = "Hello"

    def run(self, input, output):
        text = input.read_text()
        output.write_text(f"{self.params.greeting}, {text.upper()}")
