"""The benchmark's task in Slurm jobs, as TigerFlow runs it: `cargo xtask bench`."""

from tigerflow.tasks import SlurmTask


class Upper(SlurmTask):
    @staticmethod
    def run(context, input_file, output_file):
        with open(input_file, encoding="utf-8") as source:
            text = source.read()
        with open(output_file, "w", encoding="utf-8") as target:
            target.write(text.upper())


Upper.cli()
