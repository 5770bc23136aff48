import unittest

from task import BadRow, CleanCsv, snake_case
from tigerflow_task import testing


def clean(text, **params):
    return testing.run(CleanCsv, text, name="a.csv", **params)


class CleanCsvTest(unittest.TestCase):
    def test_trims_cells_and_tidies_the_header(self):
        self.assertEqual(
            clean("First Name , unitPrice,,unit price\n Ada  Byron ,1,x,y\n"),
            "first_name,unit_price,column_3,unit_price_2\nAda Byron,1,x,y\n",
        )
        self.assertEqual(clean(" A b ,A b\n1,2\n", header="keep"), "A b,A b_2\n1,2\n")

    def test_drops_empty_and_repeated_rows(self):
        text = "a,b\n1,2\n , \nNA,n/a\n1, 2\n3,-\n"
        self.assertEqual(clean(text), "a,b\n1,2\n3,\n")
        self.assertEqual(clean(text, keep_duplicates=True), "a,b\n1,2\n1,2\n3,\n")
        self.assertEqual(clean("a\nNA\n", missing="none"), "a\nNA\n")

    def test_finds_the_delimiter(self):
        self.assertEqual(clean('a;b\n"1;2";3,5\n'), 'a,b\n1;2,"3,5"\n')
        self.assertEqual(clean("a\tb\n1\t2\n"), "a,b\n1,2\n")
        self.assertEqual(clean("a;b|c\n1;2|3\n", delimiter="pipe"), "a_b,c\n1;2,3\n")

    def test_rows_of_another_width(self):
        self.assertEqual(clean("a,b\n1\n1,2,,\n"), "a,b\n1,\n1,2\n")
        self.assertEqual(clean("a,b\n1\n1,2\n", ragged="drop"), "a,b\n1,2\n")
        with self.assertRaisesRegex(BadRow, "line 3 has 3 cells, and the header has 2"):
            clean("a,b\n1,2\n1,2,3\n")
        with self.assertRaises(BadRow):
            clean("a,b\n1\n", ragged="fail")

    def test_reads_what_spreadsheets_write(self):
        self.assertEqual(clean("\ufeffa,b\r\n1,2\r\n"), "a,b\n1,2\n")
        self.assertEqual(
            testing.run(CleanCsv, "name\nZoë\n".encode("cp1252")), "name\nZoë\n".encode()
        )
        with self.assertRaisesRegex(BadRow, "no header"):
            clean("")

    def test_names_in_snake_case(self):
        self.assertEqual(snake_case("Unit Price (€)"), "unit_price")
        self.assertEqual(snake_case("Café 2Go"), "cafe_2_go")


if __name__ == "__main__":
    unittest.main()
