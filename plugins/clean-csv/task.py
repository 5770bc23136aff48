"""Cleans CSV files; see README.md."""

import csv
import re
import unicodedata
from collections import Counter
from typing import Annotated, Literal

from tigerflow_task import Task, log, progress

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}

# How many rows come between two reports of the progress.
REPORT_ROWS = 10_000


class BadRow(Exception):
    """A row that does not fit under the header."""


class CleanCsv(Task):
    """Cleans a CSV file: trims cells, tidies the header, drops empty and repeated rows."""

    version = "0.1.0"

    class Params:
        delimiter: Annotated[
            Literal["auto", "comma", "semicolon", "tab", "pipe"], "What stands between two cells"
        ] = "auto"
        header: Annotated[
            Literal["snake", "keep"], "Names of columns in snake_case, or as they are"
        ] = "snake"
        missing: Annotated[
            str, "Cells that mean nothing, with commas between; they become empty"
        ] = "NA,N/A,NULL,-"
        keep_duplicates: Annotated[bool, "Leave rows that were there before"] = False
        ragged: Annotated[
            Literal["pad", "drop", "fail"], "What to do with rows that are too short or too long"
        ] = "pad"

    def setup(self):
        self.missing = {word.strip().casefold() for word in self.params.missing.split(",")}

    def run(self, input, output):
        counts = Counter()
        with open_text(input) as source, output.open("w", encoding="utf-8", newline="") as target:
            rows = csv.reader(source, delimiter=self.delimiter(source), strict=True)
            writer = csv.writer(target, lineterminator="\n")
            header = next(rows, None)
            if header is None:
                raise BadRow("the file is empty: it has no header")
            writer.writerow(self.columns(header))
            writer.writerows(self.cleaned(rows, len(header), counts, input))
        dropped = ", ".join(f"{count} {why}" for why, count in counts.items() if why != "kept")
        log.info("%d rows kept%s", counts["kept"], f"; {dropped}" if dropped else "")

    def delimiter(self, source):
        """What the header has most of, where the user does not say."""
        if self.params.delimiter != "auto":
            return DELIMITERS[self.params.delimiter]
        line = source.readline()
        source.seek(0)
        return max(DELIMITERS.values(), key=line.count)

    def columns(self, header):
        """The names of the columns, each of which is there once."""
        names = [snake_case(name) if self.params.header == "snake" else name.strip()
                 for name in header]
        taken, columns = set(), []
        for place, name in enumerate(names, 1):
            name = unique = name or f"column_{place}"
            number = 2
            while unique in taken:
                unique, number = f"{name}_{number}", number + 1
            taken.add(unique)
            columns.append(unique)
        return columns

    def cleaned(self, rows, width, counts, input):
        """The rows that stay."""
        seen = set()
        size = input.stat().st_size
        read = 0
        for number, row in enumerate(rows, 1):
            read += sum(map(len, row)) + len(row)
            if number % REPORT_ROWS == 0:
                progress(input, min(read / size, 1.0))
            row = [self.cell(text) for text in row]
            if not any(row):
                counts["empty"] += 1
                continue
            if len(row) != width:
                row = self.fitted(row, width, rows.line_num)
                if row is None:
                    counts["ragged"] += 1
                    continue
            if not self.params.keep_duplicates:
                key = tuple(row)
                if key in seen:
                    counts["repeated"] += 1
                    continue
                seen.add(key)
            counts["kept"] += 1
            yield row

    def cell(self, text):
        """A cell without space around it, and in one space within."""
        text = " ".join(text.split())
        return "" if text.casefold() in self.missing else text

    def fitted(self, row, width, line):
        """A row as wide as the header; `None` to drop it."""
        if self.params.ragged == "drop":
            return None
        if self.params.ragged == "pad" and not any(row[width:]):
            return (row + [""] * width)[:width]
        raise BadRow(f"line {line} has {len(row)} cells, and the header has {width}")


def open_text(path):
    """A file in UTF-8, with or without a byte order mark, or in Windows' encoding."""
    try:
        with path.open(encoding="utf-8") as file:
            while file.read(1 << 20):
                pass
        encoding = "utf-8-sig"
    except UnicodeDecodeError:
        log.warn("it is not UTF-8: read as Windows-1252")
        encoding = "cp1252"
    return path.open(encoding=encoding, errors="replace", newline="")


def snake_case(name):
    """`Unit Price (€)` as `unit_price`."""
    name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
