"""The seed's CSV files, read once and checked as a whole: users into a list, progress into a private file on disk."""

from __future__ import annotations

import csv
import re
import sqlite3
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import getitem, itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from pharmdb.database import driver_errors
from pharmdb.errors import SeedError
from pharmdb.models import ROLES
from pharmdb.seeding import passwords

LARGEST_COUNT = 2**31 - 1
# So many faults of one file are told in full; the others are counted.
MOST_FAULTS = 1000

Problem = tuple[str, int, str, str, str]
Row = dict[str, Any]


# -- values -----------------------------------------------------------------------------------------


def _email(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value) or value.count("@") != 1 or not all(value.split("@")):
        raise ValueError("not an e-mail address")
    if value != value.lower():
        raise ValueError("an e-mail address is lower case")
    return value


def _text(value: str) -> str:
    stripped = value.strip()
    if not stripped:
        raise ValueError("empty")
    if value != stripped:
        raise ValueError("white space around it")
    return value


def _password(value: str) -> str:
    if len(value.encode()) > passwords.LONGEST:
        raise ValueError(f"longer than {passwords.LONGEST} bytes")
    return _text(value)


def _role(value: str) -> str:
    if value not in ROLES:
        raise ValueError(f"not a role: {' or '.join(ROLES)}")
    return value


def _language(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,5}", value):
        raise ValueError("not two to five letters")
    return value


def _count(value: str) -> int:
    if not re.fullmatch(r"-?[0-9]+", value):
        raise ValueError("not a whole number")
    digits = value.lstrip("-").lstrip("0") or "0"
    number = int(digits[:20])  # int() refuses thousands of digits in words of its own
    if value.startswith("-"):
        number = -number
    if number < 0:
        raise ValueError("negative")
    if number > LARGEST_COUNT:
        raise ValueError(f"above {LARGEST_COUNT}")
    return number


USERS, PROGRESS = "users.csv", "progress.csv"
# file -> its columns with their parsers
FILES: dict[str, dict[str, Callable[[str], Any]]] = {
    USERS: {"email": _email, "password": _password, "role": _role, "language": _language},
    PROGRESS: {
        "user_email": _email,
        "module": _text,
        "course_block": _text,
        "tag": _text,
        "correct_count": _count,
        "wrong_count": _count,
    },
}


# -- both files -------------------------------------------------------------------------------------


def read(directory: Path) -> tuple[list[Row], Progress]:
    """The users and the progress of a folder; memory does not grow with the progress rows.

    Raises SeedError with the faults by file, line, column, value and reason: of each file the first MOST_FAULTS, and
    how many more there are. Raises UnavailableError where the temporary folder has no room for the progress.
    """
    faults = _Faults()
    for path in sorted(directory.glob("*.csv")):
        if path.name not in FILES:
            faults.add(path.name, 0, "", path.name, f"not a seed file: {', '.join(FILES)}")
    users = _users(directory / USERS, faults)
    # Of users that could not be read, nothing is known.
    known = None if users is None else {row["email"] for row in users}
    progress = _progress(directory / PROGRESS, faults, known)
    if faults.count or users is None or progress is None:
        problems = faults.problems()
        raise SeedError(problems, directory=str(directory), more=faults.count - len(problems))
    return users, progress


def _users(path: Path, faults: _Faults) -> list[Row] | None:
    """None if the file could not be read to its end."""
    rows: list[Row] = []
    seen: dict[str, int] = {}
    try:
        for line, *values in _rows(path, faults):
            row = dict(zip(FILES[USERS], values, strict=True))
            rows.append(row)
            first = seen.setdefault(row["email"], line)
            if row["email"] is not None and first != line:
                faults.add(USERS, line, "email", row["email"], f"the key of line {first} again")
    except _UnreadableError:
        return None
    return rows


def _progress(path: Path, faults: _Faults, known: set[str] | None) -> Progress | None:
    """None if the file could not be read to its end."""
    progress, whole = Progress(), True

    def with_key() -> Iterator[tuple[Any, ...]]:
        for row in _rows(path, faults):
            if known is not None and row[1] not in known and row[1] is not None:
                faults.add(PROGRESS, row[0], "user_email", row[1], "no such user in users.csv", _UNKNOWN)
            if None not in row[1:5]:
                yield row

    with driver_errors.temporary_room():
        try:
            progress.fill(with_key())
        except _UnreadableError:
            faults.forget(PROGRESS, _UNKNOWN)
            whole = False
        for line, first, *key in progress.again():
            faults.add(PROGRESS, line, "tag", ", ".join(key), f"the key of line {first} again", _AGAIN)
    return progress if whole else None


# How faults of one line are ordered.
_VALUE, _AGAIN, _UNKNOWN = range(3)


class _Faults:
    """Of each file the first MOST_FAULTS by line, and how many there are in all."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], list[Problem]] = {}
        self._counts: Counter[tuple[str, int]] = Counter()
        self._closed: set[str] = set()

    @property
    def count(self) -> int:
        return self._counts.total()

    def add(self, file: str, line: int, column: str, value: str, reason: str, kind: int = _VALUE) -> None:
        """Of one kind they come in the order of lines."""
        if file in self._closed:
            return
        self._counts[file, kind] += 1
        kept = self._kept.setdefault((file, kind), [])
        if len(kept) < MOST_FAULTS:
            kept.append((file, line, column, value, reason))

    def forget(self, file: str, kind: int) -> None:
        self._counts.pop((file, kind), None)
        self._kept.pop((file, kind), None)

    def only(self, *problem: Any) -> None:
        """Whatever else is wrong with this file, or will be found, is no matter."""
        for kind in (_VALUE, _AGAIN, _UNKNOWN):
            self.forget(problem[0], kind)
        self.add(*problem)
        self._closed.add(problem[0])

    def problems(self) -> list[Problem]:
        """By file and line."""
        found: list[Problem] = []
        for file in sorted({file for file, _ in self._kept}):
            of_file = [p for kind in (_VALUE, _AGAIN, _UNKNOWN) for p in self._kept.get((file, kind), ())]
            found += sorted(of_file, key=itemgetter(1))[:MOST_FAULTS]
        return found


# -- one file ---------------------------------------------------------------------------------------


class _UnreadableError(Exception):
    """The file can't be read to its end; why stands among the faults."""


class _NotUTF8Error(Exception):
    """Holds the line and the bytes."""


def _rows(path: Path, faults: _Faults) -> Iterator[tuple[Any, ...]]:
    """Each row as the line where it starts and its values in the order of FILES, None for one with a fault.

    Raises _UnreadableError.
    """
    try:
        with path.open("rb") as file:
            lines = _lines(file)
            try:
                yield from _parsed(path.name, csv.reader(lines, strict=True), faults)
            except _UnreadableError:
                for _ in lines:
                    pass  # what is not UTF-8 is told rather
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
    """The file's text line by line, each with its end: \\n, \\r\\n or \\r. Raises _NotUTF8Error."""
    for number, line in enumerate(file, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _NotUTF8Error(number, error.object[error.start : error.end]) from None
        if "\r" in text and not (text.find("\r") == len(text) - 2 and text.endswith("\n")):
            yield from re.split(r"(?<=\r)(?!\n|\Z)", text)
        elif text:
            yield text


def _parsed(name: str, reader: Any, faults: _Faults) -> Iterator[tuple[Any, ...]]:
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
                    # Which of them is the password can't be known.
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


def _header(name: str, header: list[str] | None, faults: _Faults) -> list[str]:
    columns = FILES[name]
    if header is None:
        found = [("", "the file is empty")]
    elif not set(header) & set(columns):
        # Perhaps a row, with a password in it: not shown.
        found = [("", f"no header line: {','.join(columns)}")]
    else:
        found = [(c, "unknown column") for c in header if c not in columns]
        found += [(c, "missing column") for c in columns if c not in header]
        found += [(c, "column given twice") for c in dict.fromkeys(header) if header.count(c) > 1]
    for column, reason in found:
        faults.add(name, 1, column, column, reason)
    if header is None or found:
        raise _UnreadableError
    return header


class _Parsed(dict[str, Any]):
    """Text -> its value, parsed when it is asked for; the first thousand are kept, as most of them come again."""

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse

    def __missing__(self, text: str) -> Any:
        if "\0" in text:
            raise ValueError("holds a NUL character")
        value = self._parse(text)
        if len(self) < 1000:
            self[text] = value
        return value


def _one_by_one(
    name: str, line: int, values: Sequence[str], parsed: Iterable[_Parsed], faults: _Faults
) -> Iterator[Any]:
    for column, value, of_column in zip(FILES[name], values, parsed, strict=True):
        try:
            yield of_column[value]
        except ValueError as error:
            faults.add(name, line, column, "***" if column == "password" else value, str(error))
            yield None


# -- many rows --------------------------------------------------------------------------------------


class Progress:
    """The rows of progress.csv in the file's order, each as a tuple of its values in the order of FILES.

    They lie in an SQLite database of their own, which moves from memory to the temporary folder as it grows, and is
    gone with this object or with the process. So the file may change once it was read.
    """

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._rows.close)
        self._count = 0
        self._rows.execute(
            "CREATE TABLE progress (line INTEGER PRIMARY KEY, user_email, module, course_block, tag, correct, wrong)"
        )

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        yield from self._select(
            "SELECT user_email, module, course_block, tag, correct, wrong FROM progress ORDER BY line"
        )

    def fill(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Takes rows of a line and its values; those that came before an exception stay."""
        self._rows.execute("BEGIN")
        try:
            self._count = self._rows.executemany("INSERT INTO progress VALUES (?, ?, ?, ?, ?, ?, ?)", rows).rowcount
        finally:
            # Where the disk is full, SQLite has ended it.
            if self._rows.in_transaction:
                self._rows.execute("COMMIT")

    def again(self) -> Iterator[tuple[Any, ...]]:
        """(line, first line, key …) of each row whose key stands in a line before."""
        key = "user_email, module, course_block, tag"
        try:
            # Sorted once, in C, which is much faster than a key looked up for each row.
            self._rows.execute(f"CREATE UNIQUE INDEX keys ON progress ({key})")
        except sqlite3.IntegrityError:
            firsts = f"SELECT line, min(line) OVER (PARTITION BY {key}) AS first, {key} FROM progress"
            yield from self._select(f"SELECT * FROM ({firsts}) WHERE line > first ORDER BY line")

    def _select(self, sql: str) -> Iterator[tuple[Any, ...]]:
        # Not the cursor itself: a generator that is collected closes what it yields from, here perhaps too late.
        return iter(self._rows.execute(sql).fetchone, None)
