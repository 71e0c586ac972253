"""A complete cohort, compared with the raw driver's bulk insert of the same rows."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pharmdb
from benchmarks import ground as grounds
from benchmarks.ground import DIALECTS, Ground
from benchmarks.timing import Baseline, line
from pharmdb.cohorts.batches import USER_COLUMNS, Batch
from pharmdb.cohorts.building import BATCH
from pharmdb.learning import catalogue

DAYS = 90
# The average number of attempts of a learner in 90 days.
EACH = 100.7

_Part = tuple[str, tuple[str, ...], list[tuple[Any, ...]]]


def dump(path: Path, learners: int) -> int:
    """Writes the rows of a cohort to a file, batch by batch, with user ids from 1 on; returns their number."""
    total, contents = 0, catalogue.read()
    with path.open("wb") as file:
        for first in range(1, learners + 1, BATCH):
            batch = Batch(first, min(first + BATCH - 1, learners), DAYS, 2026, contents)
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
    """Seconds that the driver takes to insert the file's rows (without reading it), with our durability settings."""
    took = 0.0
    with grounds.begun(url) as connection:
        for part in _parts(path):
            begin = time.perf_counter()
            grounds.insert(connection, *part)
            took += time.perf_counter() - begin
        begin = time.perf_counter()
        connection.commit()
        return took + time.perf_counter() - begin


def ours(url: str, learners: int) -> float:
    """Seconds of the whole command; charts and fingerprint are computed only on demand, so they are not included."""
    begin = time.perf_counter()
    pharmdb.cohort(url, learners=learners, days=DAYS)
    return time.perf_counter() - begin


def made(ground: Ground, dialect: str, attempts: int) -> str:
    """The URL of a new database with a cohort of about so many attempts."""
    url = ground.empty(dialect)
    pharmdb.migrate(url)
    pharmdb.cohort(url, learners=max(2, round(attempts / EACH)))
    if dialect == "PostgreSQL":
        grounds.settle(url)
    return url


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    learners = max(1, round(ground.attempts / EACH))
    file = ground.folder / "cohort.rows"
    rows = dump(file, learners)
    for dialect in DIALECTS:
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(max(1, ground.rounds - 2)):
            for found, work in zip(seconds, (partial(ours, learners=learners), partial(raw, file)), strict=True):
                url = ground.empty(dialect)
                pharmdb.migrate(url)
                found.append(work(url))
                ground.drop(url)
        yield line(
            f"cohort of {ground.attempts:,} attempts, {rows:,} rows, {dialect}",
            seconds[0],
            Baseline(f"{grounds.driver(dialect)} of the same rows", seconds[1], least=0.5),
            rows=rows,
        )
    file.unlink()
