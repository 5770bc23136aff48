"""In the place of aiofiles, whose threads a component does not have: `aiofiles.open`.

Files are read and written at once, which takes microseconds.
"""

import builtins

__all__ = ["open"]


class open:
    """`async with aiofiles.open(…) as file:`, or `file = await aiofiles.open(…)`."""

    def __init__(self, file, mode="r", *arguments, **options):
        self._open = lambda: _File(builtins.open(file, mode, *arguments, **options))

    def __await__(self):
        return self._opened().__await__()

    async def _opened(self):
        return self._open()

    async def __aenter__(self):
        self._file = self._open()
        return self._file

    async def __aexit__(self, *_):
        await self._file.close()


class _File:
    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        value = getattr(self._file, name)
        if not callable(value) or name in ("fileno", "isatty"):
            return value

        async def call(*arguments, **options):
            return value(*arguments, **options)

        return call

    def __aiter__(self):
        return self

    async def __anext__(self):
        line = self._file.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self._file.close()
