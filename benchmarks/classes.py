"""The report on a class, with all tables, of a large cohort and of one ten times as large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pharmdb
from benchmarks import cohorts
from benchmarks import ground as grounds
from benchmarks.ground import DIALECTS, Ground, peak_mib
from benchmarks.timing import Baseline, alternate, line, memory

TIMES = 10
# Fewer rounds than for faster work.
ROUNDS = 3
# What is promised: attempts a second, in the large database and in the very large one.
_RATE = {1: 200_000, TIMES: 166_667}

_REPORT = """
import pharmdb
pharmdb.class_report(sys.argv[1])
"""
_QUERY = "SELECT user_id, entity_type, entity_id, answers, score, created_at FROM attempts"


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    for dialect in DIALECTS:
        urls = {times: cohorts.made(ground, dialect, times * ground.attempts) for times in (1, TIMES)}
        for times, url in urls.items():
            attempts = times * ground.attempts
            ours, raw = alternate(
                min(ROUNDS, ground.rounds),
                lambda url=url: pharmdb.class_report(url),  # type: ignore[misc]
                lambda url=url: _rows(url),  # type: ignore[misc]
            )
            yield line(
                f"report on a class with {attempts:,} attempts, {dialect}",
                ours,
                Baseline("its columns, row by row, by the driver", raw),
                Baseline("allowed", [attempts / _RATE[times]], 1.0),
            )
        small, large = (peak_mib(_REPORT, url)[0] for url in urls.values())
        yield memory(
            f"peak memory of that report, {dialect}", large, f"the same with {ground.attempts:,}", small, most=1.4
        )
        for url in urls.values():
            ground.drop(url)


def _rows(url: str) -> None:
    """Reads what the report is made of, as the driver gives it, and computes nothing."""
    if url.startswith("sqlite"):
        with closing(grounds.sqlite(url)) as file:
            for _ in file.execute(_QUERY):
                pass
        return
    with (
        closing(grounds.postgresql(url, autocommit=False)) as server,
        server.cursor("rows") as cursor,
    ):
        cursor.itersize = 10_000
        for _ in cursor.execute(_QUERY):
            pass
