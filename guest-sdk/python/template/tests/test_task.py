import unittest

from task import {{NamePascal}}
from tigerflow_task import testing


class {{NamePascal}}Test(unittest.TestCase):
    def test_greets_in_upper_case(self):
        self.assertEqual(testing.run({{NamePascal}}, "world\n"), "Hello, WORLD\n")

    def test_takes_another_greeting(self):
        self.assertEqual(testing.run({{NamePascal}}, "world", greeting="Hi"), "Hi, WORLD")
