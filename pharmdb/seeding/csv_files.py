"""Reads and checks the seed's CSV files in one pass: users into a list, progress into a temporary database."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import getitem, itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from pharmdb.database import driver_errors
from pharmdb.errors import SeedError
from pharmdb.seeding.csv_faults import AGAIN, UNKNOWN, Faults
from pharmdb.seeding.csv_values import FILES, PROGRESS, USERS, Row
from pharmdb.seeding.progress_rows import Progress


def read(directory: Path) -> tuple[list[Row], Progress]:
    """The users and the progress in a folder; memory use does not grow with the progress rows.

    Raises SeedError with the faults by file, line, column, value and reason: the first MOST_FAULTS of each file, and
    the number of further ones. Raises UnavailableError if the disk of the temporary folder is full.
    """
    faults = Faults()
    for path in sorted(directory.glob("*.csv")):
        if path.name not in FILES:
            faults.add(path.name, 0, "", path.name, f"not a seed file: {', '.join(FILES)}")
    users = _users(directory / USERS, faults)
    # If the users could not be read, progress rows can't be checked against them.
    known = None if users is None else {row["email"] for row in users}
    progress = _progress(directory / PROGRESS, faults, known)
    if faults.count or users is None or progress is None:
        problems = faults.problems()
        raise SeedError(problems, directory=str(directory), more=faults.count - len(problems))
    return users, progress


def _users(path: Path, faults: Faults) -> list[Row] | None:
    """None if the file could not be read to its end."""
    rows: list[Row] = []
    seen: dict[str, int] = {}
    try:
        for line, *values in _rows(path, faults):
            row = dict(zip(FILES[USERS], values, strict=True))
            rows.append(row)
            first = seen.setdefault(row["email"], line)
            if row["email"] is not None and first != line:
                faults.add(USERS, line, "email", row["email"], f"duplicate key, first in line {first}")
    except _UnreadableError:
        return None
    return rows


def _progress(path: Path, faults: Faults, known: set[str] | None) -> Progress | None:
    """None if the file could not be read to its end."""
    progress, whole = Progress(), True

    def with_key() -> Iterator[tuple[Any, ...]]:
        for row in _rows(path, faults):
            if known is not None and row[1] not in known and row[1] is not None:
                faults.add(PROGRESS, row[0], "user_email", row[1], "no such user in users.csv", UNKNOWN)
            if None not in row[1:5]:
                yield row

    with driver_errors.temporary_room():
        try:
            progress.fill(with_key())
        except _UnreadableError:
            faults.forget(PROGRESS, UNKNOWN)
            whole = False
        for line, first, *key in progress.duplicates():
            faults.add(PROGRESS, line, "tag", ", ".join(key), f"duplicate key, first in line {first}", AGAIN)
    return progress if whole else None


class _UnreadableError(Exception):
    """The file can't be read to its end; the reason is among the faults."""


class _NotUTF8Error(Exception):
    """Holds the line and the bytes."""


def _rows(path: Path, faults: Faults) -> Iterator[tuple[Any, ...]]:
    """Each row as its first line number and its values in the order of FILES; None for a faulty value.

    Raises _UnreadableError.
    """
    try:
        with path.open("rb") as file:
            lines = _lines(file)
            try:
                yield from _parsed(path.name, csv.reader(lines, strict=True), faults)
            except _UnreadableError:
                for _ in lines:
                    pass  # reads on, because bytes that are not UTF-8 are the better explanation
                raise
    except _NotUTF8Error as error:
        line, wrong = error.args
        faults.only(path.name, line, "", repr(wrong), "not UTF-8")
        raise _UnreadableError from None
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
        faults.only(path.name, 0, "", str(path), reason)
        raise _UnreadableError from None


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


def _parsed(name: str, reader: Any, faults: Faults) -> Iterator[tuple[Any, ...]]:
    columns = FILES[name]
    try:
        header = _header(name, next(reader, None), faults)
        parsed = [_Parsed(parse) for parse in columns.values()]
        pick = itemgetter(*map(header.index, columns))
        end = reader.line_num
        for cells in reader:
            line, end = end + 1, reader.line_num
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
                row = (line, *_one_by_one(name, line, values, parsed, faults))
            yield row
    except csv.Error as error:
        faults.add(name, reader.line_num, "", "", f"not CSV: {error}")
        raise _UnreadableError from None


def _header(name: str, header: list[str] | None, faults: Faults) -> list[str]:
    columns = FILES[name]
    if header is None:
        found = [("", "the file is empty")]
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
        raise _UnreadableError
    return header


class _Parsed(dict[str, Any]):
    """A cache from text to parsed value; it keeps the first thousand, because most values recur."""

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse

    def __missing__(self, text: str) -> Any:
        if "\0" in text:
            raise ValueError("contains a NUL character")
        value = self._parse(text)
        if len(self) < 1000:
            self[text] = value
        return value


def _one_by_one(
    name: str, line: int, values: Sequence[str], parsed: Iterable[_Parsed], faults: Faults
) -> Iterator[Any]:
    for column, value, of_column in zip(FILES[name], values, parsed, strict=True):
        try:
            yield of_column[value]
        except ValueError as error:
            faults.add(name, line, column, "***" if column == "password" else value, str(error))
            yield None
