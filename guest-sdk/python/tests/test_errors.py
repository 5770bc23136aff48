"""What becomes of exceptions."""

import datetime
import os
import unittest

from tigerflow_task import Transient
from tigerflow_task._errors import message_of, milliseconds, shown, trace_of


def caught(function):
    try:
        function()
    except BaseException as error:
        return error


def wrapped():
    try:
        {}["key"]
    except KeyError as cause:
        raise ValueError("outer") from cause


class Errors(unittest.TestCase):
    def test_a_trace_has_causes_and_lines_of_code(self):
        trace = trace_of(caught(wrapped))
        self.assertIn("KeyError: 'key'", trace)
        self.assertIn("direct cause", trace)
        self.assertIn('raise ValueError("outer") from cause', trace)
        self.assertTrue(trace.endswith("ValueError: outer"))

    def test_frames_of_the_sdk_are_left_out(self):
        from tigerflow_task import http

        trace = trace_of(caught(lambda: http.get("ftp://x")))
        self.assertNotIn(os.path.join("tigerflow_task", "http.py"), trace)
        self.assertIn("test_errors.py", trace)

    def test_a_message_is_never_empty(self):
        def fails():
            assert 1 > 2

        self.assertEqual(message_of(ValueError("x")), "x")
        self.assertRegex(message_of(caught(fails)), r"test_errors.py, line \d+: assert 1 > 2")

        class Mute(Exception):
            def __str__(self):
                raise RuntimeError

        self.assertEqual(message_of(Mute()), "Mute")

    def test_delays_are_milliseconds(self):
        self.assertIsNone(milliseconds(Transient("x").retry_after))
        self.assertEqual(milliseconds(1.5), 1500)
        self.assertEqual(milliseconds(datetime.timedelta(minutes=1)), 60_000)
        self.assertEqual(milliseconds(-1), 0)

    def test_files_are_shown_as_their_author_knows_them(self):
        self.assertEqual(shown("/0/main/my task.py"), "my task.py")
        self.assertEqual(shown("/1/pkg/data.py"), "pkg/data.py")
        self.assertEqual(shown("/python/json/decoder.py"), "/python/json/decoder.py")


if __name__ == "__main__":
    unittest.main()
