"""The paths that `run` gets: `pathlib`'s, with a short way to read and write a small file."""

import os
import pathlib

#: What is read or written in one call of the host. Of a larger file the calls are the lesser part.
_SMALL = 64 << 10

#: The encodings of text here. `None` is that of the locale, which in a component is UTF-8.
_UTF_8 = (None, "utf-8", "UTF-8", "utf8")


def path_of(name):
    """A path that the host gives."""
    path = PosixPath(name)
    # Just as `pathlib` would write it, after taking it apart: that takes longer than opening it.
    path._str = name
    return path


class PosixPath(pathlib.PosixPath):
    """Reads and writes a small file without `open`, whose layers take twice as long as the file.

    Whatever goes wrong or is out of the ordinary is left to `pathlib`, which begins anew. So all
    else, and every error, is as ever; so is the name, which `repr` shows.
    """

    __slots__ = ()

    def read_bytes(self):
        contents = _read(self)
        return super().read_bytes() if contents is None else contents

    def read_text(self, encoding=None, *how, **named):
        contents = _read(self) if encoding in _UTF_8 and not how and not named else None
        if contents is None:
            return super().read_text(encoding, *how, **named)
        text = contents.decode()
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text

    def write_bytes(self, data):
        if type(data) is bytes and _write(self, data):
            return len(data)
        return super().write_bytes(data)

    def write_text(self, data, encoding=None, *how, **named):
        if type(data) is str and encoding in _UTF_8 and not how and not named:
            try:
                contents = data.encode()
            except UnicodeEncodeError:
                contents = None
            if contents is not None and _write(self, contents):
                return len(data)
        return super().write_text(data, encoding, *how, **named)


def _read(path):
    """What a file holds; `None` where it is not small, or cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            contents = os.pread(file, _SMALL, 0)
            # A short read may not be the last one.
            ended = len(contents) < _SMALL and not os.pread(file, 1, len(contents))
        finally:
            os.close(file)
    except OSError:
        return None
    return contents if ended else None


def _write(path, contents):
    """Whether it could write these few bytes to a new file."""
    if len(contents) > _SMALL:
        return False
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            return os.pwrite(file, contents, 0) == len(contents)
        finally:
            os.close(file)
    except OSError:
        return False
