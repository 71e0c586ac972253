"""Reads and checks the seed's CSV files in one pass: users into a list, progress into a temporary database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pharmdb import csv_reading
from pharmdb.csv_faults import AGAIN, UNKNOWN, Faults
from pharmdb.database import driver_errors, index_limits, storable
from pharmdb.errors import SeedError
from pharmdb.seeding.csv_values import FILES, PROGRESS, USERS, Row
from pharmdb.seeding.progress_rows import Progress

_NO_LIMITS = storable.Limits()


def read(directory: Path, limits: storable.Limits = _NO_LIMITS) -> tuple[list[Row], Progress]:
    """The users and the progress in a folder; memory use does not grow with the progress rows.

    A character that the encoding of a database with these limits lacks is a fault.

    Raises SeedError with the faults by file, line, column, value and reason: the first MOST_FAULTS of each file, and
    the number of further ones. Raises UnavailableError if the disk of the temporary folder is full.
    """
    faults = Faults()
    csv_reading.unexpected(directory, FILES, "seed", faults)
    users = _users(directory / USERS, faults, limits)
    # If the users could not be read, progress rows can't be checked against them.
    known = None if users is None else {row["email"] for row in users}
    progress = _progress(directory / PROGRESS, faults, limits, known)
    if faults.count or users is None or progress is None:
        problems = faults.problems()
        raise SeedError(problems, directory=str(directory), more=faults.count - len(problems))
    return users, progress


def _rows(path: Path, faults: Faults, limits: storable.Limits) -> Iterator[tuple[Any, ...]]:
    names = ("line", *FILES[path.name])
    for row in csv_reading.rows(path, FILES[path.name], faults):
        if limits.text:
            for name, value in zip(names, row, strict=True):
                # Of a password only the hash is stored.
                if name != "password" and isinstance(value, str) and (lacking := limits.lacking(value)):
                    faults.add(path.name, row[0], name, value, f"{limits.encoding} has no {lacking!r}")
        yield row


def _users(path: Path, faults: Faults, limits: storable.Limits) -> list[Row] | None:
    """None if the file could not be read to its end."""
    rows: list[Row] = []
    seen: dict[str, int] = {}
    try:
        for line, *values in _rows(path, faults, limits):
            row = dict(zip(FILES[USERS], values, strict=True))
            rows.append(row)
            first = seen.setdefault(row["email"], line)
            if row["email"] is not None and first != line:
                faults.add(USERS, line, "email", row["email"], f"duplicate key, first in line {first}")
    except csv_reading.UnreadableError:
        return None
    return rows


def _progress(path: Path, faults: Faults, limits: storable.Limits, known: set[str] | None) -> Progress | None:
    """None if the file could not be read to its end."""
    progress, whole = Progress(), True

    def with_key() -> Iterator[tuple[Any, ...]]:
        for row in _rows(path, faults, limits):
            if known is not None and row[1] not in known and row[1] is not None:
                faults.add(PROGRESS, row[0], "user_email", row[1], "no such user in users.csv", UNKNOWN)
            if None in row[1:5]:
                continue
            if size := index_limits.bytes_above(row[2:5]):
                reason = f"module, course_block and tag have {size} bytes; PostgreSQL indexes {index_limits.MOST_BYTES}"
                faults.add(PROGRESS, row[0], "tag", f"{row[4]:.60}", reason)
            yield row

    with driver_errors.temporary_room():
        try:
            progress.fill(with_key())
        except csv_reading.UnreadableError:
            faults.forget(PROGRESS, UNKNOWN)
            whole = False
        for line, first, *key in progress.duplicates():
            faults.add(PROGRESS, line, "tag", ", ".join(key), f"duplicate key, first in line {first}", AGAIN)
    return progress if whole else None
