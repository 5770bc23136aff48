"""The benchmark's asynchronous task as TigerFlow runs it: `cargo xtask bench`."""

import asyncio

from tigerflow.tasks import LocalAsyncTask


class Wait(LocalAsyncTask):
    @staticmethod
    async def run(context, input_file, output_file):
        with open(input_file, encoding="utf-8") as source:
            text = source.read()
        await asyncio.sleep(0.05)
        with open(output_file, "w", encoding="utf-8") as target:
            target.write(text.upper())


Wait.cli()
