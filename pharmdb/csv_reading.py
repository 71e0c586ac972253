"""Reads CSV files row by row and checks them; every mistake is collected with its file, line and column."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import getitem, itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from pharmdb import csv_marks
from pharmdb.csv_faults import Faults

# The columns of a file, with the parser of each, which raises ValueError with the reason.
Columns = Mapping[str, Callable[[str], Any]]


def text(value: str) -> str:
    """The parser of a text that must not be empty. Raises ValueError."""
    stripped = value.strip()
    if not stripped:
        raise ValueError("empty")
    if value != stripped:
        raise ValueError("leading or trailing white space")
    return value


def unexpected(directory: Path, expected: Iterable[str], what: str, faults: Faults) -> None:
    """Adds a fault for each CSV file in the folder that is not an expected one."""
    for path in sorted(directory.glob("*.csv")):
        if path.name not in expected:
            faults.add(path.name, 0, "", path.name, f"not a {what} file: {', '.join(expected)}")


class UnreadableError(Exception):
    """The file can't be read to its end; the reason is among the faults."""


class _NotUTF8Error(Exception):
    """Holds the line and the bytes."""


def rows(path: Path, columns: Columns, faults: Faults) -> Iterator[tuple[Any, ...]]:
    """Each row as its first line number and its values in the order of `columns`; None for a faulty value.

    The file is read as a stream. A value of a column named password is never shown.

    Raises UnreadableError.
    """
    try:
        with path.open("rb") as file:
            lines = _lines(file)
            try:
                yield from _parsed(path.name, csv.reader(lines, strict=True), columns, faults)
            except UnreadableError:
                for _ in lines:
                    pass  # reads on, because bytes that are not UTF-8 are the better explanation
                raise
    except _NotUTF8Error as error:
        line, wrong = error.args
        faults.only(path.name, line, "", repr(wrong), "not UTF-8")
        raise UnreadableError from None
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
        faults.only(path.name, 0, "", str(path), reason)
        raise UnreadableError from None


def _lines(file: BinaryIO) -> Iterator[str]:
    """The lines of the file with their line endings: \\n, \\r\\n or \\r. Raises _NotUTF8Error."""
    for number, line in enumerate(file, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _NotUTF8Error(number, error.object[error.start : error.end]) from None
        if "\r" in text and not (text.find("\r") == len(text) - 2 and text.endswith("\n")):
            yield from re.split(r"(?<=\r)(?!\n|\Z)", text)
        elif text:
            yield text


def _parsed(name: str, reader: Any, columns: Columns, faults: Faults) -> Iterator[tuple[Any, ...]]:
    try:
        header = _header(name, next(reader, None), columns, faults)
        parsed = [_Parsed(parse) for parse in columns.values()]
        pick = itemgetter(*map(header.index, columns))
        end = reader.line_num
        empty = csv_marks.EmptyRows(name, faults)
        for cells in reader:
            line, end = end + 1, reader.line_num
            if empty.is_one(cells, line):
                continue
            if len(cells) != len(header):
                if cells:
                    # Any of the values may be the password.
                    shown = "***" if "password" in columns else ",".join(cells)
                    faults.add(name, line, "", shown, f"{len(cells)} values for {len(header)} columns")
                continue
            values = pick(cells)
            try:
                row = (line, *map(getitem, parsed, values))
            except ValueError:
                row = (line, *_one_by_one(name, line, dict(zip(columns, values, strict=True)), parsed, faults))
            yield row
        empty.tell()
    except csv.Error as error:
        faults.add(name, reader.line_num, "", "", f"not CSV: {error}")
        raise UnreadableError from None


def _header(name: str, header: list[str] | None, columns: Columns, faults: Faults) -> list[str]:
    if header is None:
        found = [("", "the file is empty")]
    elif reason := csv_marks.of_header(header, columns):
        found = [("", reason)]
    elif not set(header) & set(columns):
        # It may be a row with a password, so it is not shown.
        found = [("", f"no header line: {','.join(columns)}")]
    else:
        found = [(c, "unknown column") for c in header if c not in columns]
        found += [(c, "missing column") for c in columns if c not in header]
        found += [(c, "duplicate column") for c in dict.fromkeys(header) if header.count(c) > 1]
    for column, reason in found:
        faults.add(name, 1, column, column, reason)
    if header is None or found:
        raise UnreadableError
    return header


class _Parsed(dict[str, Any]):
    """A cache from text to parsed value; it keeps the first thousand, because most values recur."""

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse

    def __missing__(self, text: str) -> Any:
        if "\0" in text:
            raise ValueError("contains a NUL character")
        if text.strip() and (reason := csv_marks.unseen(text)):
            raise ValueError(reason)
        value = self._parse(text)
        if len(self) < 1000:
            self[text] = value
        return value


def _one_by_one(
    name: str, line: int, values: Mapping[str, str], parsed: Iterable[_Parsed], faults: Faults
) -> Iterator[Any]:
    for (column, value), of_column in zip(values.items(), parsed, strict=True):
        try:
            yield of_column[value]
        except ValueError as error:
            faults.add(name, line, column, "***" if column == "password" else value, str(error))
            yield None
