"""A cohort with all that belongs to it, beside the raw driver's bulk insert of the same rows."""

from __future__ import annotations

import pickle
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

ATTEMPTS = 1_000_000
DAYS = 90
ROUNDS = 3
# So many attempts has a learner in 90 days.
_EACH = 98.5

_Part = tuple[str, tuple[str, ...], list[tuple[Any, ...]]]


def dump(path: Path, learners: int) -> int:
    """Writes the rows of a cohort to a file, batch by batch, with users' ids from 1 on; how many there are."""
    from pharmdb.cohort_rows import USER_COLUMNS, Batch
    from pharmdb.cohorts import BATCH

    total = 0
    with path.open("wb") as file:
        for first in range(1, learners + 1, BATCH):
            batch = Batch(first, min(first + BATCH - 1, learners), DAYS, 2026)
            users = [(number, *row) for number, row in zip(batch.numbers, batch.users(), strict=True)]
            parts: list[_Part] = [("users", ("id", *USER_COLUMNS), users)]
            parts += [(table, columns, list(rows)) for table, columns, _, rows in batch.belongings(_Same())]
            total += sum(len(rows) for _, _, rows in parts)
            for part in parts:
                pickle.dump(part, file)
    return total


class _Same(dict[int, int]):
    def __missing__(self, key: int) -> int:
        return key


def _parts(path: Path) -> Iterator[_Part]:
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


def raw(path: Path, url: str) -> float:
    """Seconds that the driver takes for the rows of the file, reading of the file not counted, with our durability."""
    took = 0.0
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            for table, columns, rows in _parts(path):
                marks = ", ".join("?" * len(columns))
                begin = time.perf_counter()
                connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
                took += time.perf_counter() - begin
            begin = time.perf_counter()
            connection.execute("COMMIT")
        return took + time.perf_counter() - begin
    with psycopg.connect(url.replace("+psycopg", ""), options="-c timezone=UTC") as postgresql:
        for table, columns, rows in _parts(path):
            begin = time.perf_counter()
            with postgresql.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            took += time.perf_counter() - begin
        begin = time.perf_counter()
        postgresql.commit()
        return took + time.perf_counter() - begin


def ours(url: str, learners: int) -> float:
    """Seconds of the whole verb; its pictures and its fingerprint are made only when they are looked at."""
    import pharmdb

    begin = time.perf_counter()
    pharmdb.cohort(url, learners=learners, days=DAYS)
    return time.perf_counter() - begin


def main(folder: Path, create: Callable[[str], str], attempts: int = ATTEMPTS, rounds: int = ROUNDS) -> list[str]:
    """The lines of the table; `create` makes a PostgreSQL database of a name and gives its URL."""
    import pharmdb

    learners = round(attempts / _EACH)
    file = folder / "cohort.rows"
    rows = dump(file, learners)
    lines = []
    for dialect, make in (("SQLite", lambda name: f"sqlite:///{folder}/{name}.db"), ("PostgreSQL", create)):
        seconds: tuple[list[float], list[float]] = ([], [])
        for number in range(rounds):
            for found, name in zip(seconds, ("cohort", "raw"), strict=True):
                url = make(f"{name}_{number}")
                pharmdb.migrate(url)
                found.append(ours(url, learners) if name == "cohort" else raw(file, url))
                if dialect == "SQLite":
                    for end in ("", "-wal", "-shm"):
                        (folder / f"{name}_{number}.db{end}").unlink(missing_ok=True)
        own, peer = (rows / statistics.median(found) for found in seconds)
        met = "met" if own >= 0.5 * peer else "**not met**"
        lines.append(
            f"| cohort of {attempts:,} attempts, {rows:,} rows, {dialect} | {own:,.0f} rows/s "
            f"| raw {'executemany' if dialect == 'SQLite' else 'COPY'} of the same rows | {peer:,.0f} rows/s "
            f"| {own / peer:.2f} | ≥ 0.5 | {met} |"
        )
    return lines
