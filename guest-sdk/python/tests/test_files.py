"""The paths that `run` gets are `pathlib`'s in all they do."""

import os
import pathlib
import tempfile
import unittest
from unittest import mock

from tigerflow_task import _files


class Files(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.name = os.path.join(directory.name, "a.txt")
        self.ours, self.pathlibs = _files.path_of(self.name), pathlib.Path(self.name)

    def both(self, call):
        """What a call gives, or how it fails: the same for both paths."""
        ours, pathlibs = outcome(call, self.ours), outcome(call, self.pathlibs)
        self.assertEqual(ours, pathlibs)
        return ours

    def test_is_a_path_as_any_other(self):
        self.assertIsInstance(self.ours, pathlib.Path)
        self.assertEqual(self.ours, self.pathlibs)
        self.assertEqual(hash(self.ours), hash(self.pathlibs))
        for call in (str, repr, os.fspath, lambda path: path.parts):
            self.both(call)
        self.both(lambda path: path.with_suffix(".json"))
        self.both(lambda path: path.parent / "b.txt")

    def test_reads_what_pathlib_reads(self):
        large = b"x" * _files._SMALL
        for contents in (b"", b"a\n", "häß".encode(), b"a\r\nb\rc\n\r", b"\xff", b"\xef\xbb\xbfa",
                         large[1:], large, large + b"\n"):
            self.pathlibs.write_bytes(contents)
            with self.subTest(contents=contents[:10], length=len(contents)):
                self.assertEqual(self.both(lambda path: path.read_bytes()), contents)
                self.both(lambda path: path.read_text())
                self.both(lambda path: path.read_text("utf-8"))
                self.both(lambda path: path.read_text(encoding="latin-1"))
                self.both(lambda path: path.read_text(encoding="ascii", errors="replace"))

    def test_reads_on_after_a_short_read(self):
        self.pathlibs.write_bytes(b"abc")
        pread = os.pread
        short = lambda file, length, offset: pread(file, min(length, 2), offset)
        with mock.patch("os.pread", short):
            self.assertEqual(self.ours.read_bytes(), b"abc")

    def test_writes_what_pathlib_writes(self):
        large = "x" * _files._SMALL
        for text in ("", "a\nb\r\n", "häß", "\udc80", large, large + "\n", 1, None):
            with self.subTest(text=str(text)[:10].encode("utf-8", "replace")):
                self.both(lambda path: wrote(path, path.write_text(text)))
                self.both(lambda path: wrote(path, path.write_text(text, "utf-8")))
                self.both(lambda path: wrote(path, path.write_text(text, encoding="utf-16")))
        for data in (b"", b"\xff", bytearray(b"a"), memoryview(b"a"), large.encode() + b"a", "a"):
            with self.subTest(data=data[:10]):
                self.both(lambda path: wrote(path, path.write_bytes(data)))

    def test_writes_anew_after_a_short_write(self):
        pwrite = os.pwrite
        with mock.patch("os.pwrite", lambda file, data, offset: pwrite(file, data[:2], offset)):
            self.ours.write_bytes(b"abc")
        self.assertEqual(self.ours.read_bytes(), b"abc")

    def test_fails_as_pathlib_fails(self):
        self.both(lambda path: path.read_text())
        self.both(lambda path: path.read_bytes())
        self.both(lambda path: path.parent.read_bytes())
        self.both(lambda path: path.parent.write_text("a"))
        self.both(lambda path: path.joinpath("b").write_bytes(b"a"))


def outcome(call, path):
    try:
        return call(path)
    except Exception as error:
        return type(error), str(error), error.__context__


def wrote(path, length):
    written = path.read_bytes()
    path.unlink()
    return length, written


if __name__ == "__main__":
    unittest.main()
