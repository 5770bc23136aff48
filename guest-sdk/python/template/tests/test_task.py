import unittest

from task import Greeter
from tigerflow_task import testing


class GreeterTest(unittest.TestCase):
    def test_greets_in_upper_case(self):
        self.assertEqual(testing.run(Greeter, "world\n"), "Hello, WORLD\n")

    def test_takes_another_greeting(self):
        self.assertEqual(testing.run(Greeter, "world", greeting="Hi"), "Hi, WORLD")
