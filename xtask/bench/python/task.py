from tigerflow_task import Task


class Upper(Task):
    """Turns a text into upper case"""

    def run(self, input, output):
        output.write_text(input.read_text().upper())
