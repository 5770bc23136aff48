from tigerflow_task import Task

from words import count


class Words(Task):
    """Counts words"""

    def run(self, input, output):
        output.write_text(count(input.read_text()))
