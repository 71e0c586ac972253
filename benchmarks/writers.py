"""Eight processes that write at the same time, compared with one raw writer with the same settings."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing

import pharmdb
from benchmarks import ground as grounds
from benchmarks.ground import Ground
from benchmarks.timing import Baseline, line
from pharmdb.database import targets, transactions

WRITERS = 8
_UPSERT = (
    "INSERT INTO progress_by_tag (user_id, module, course_block, tag) VALUES (1, 'cases', 'pulmonary', 'asthma') "
    "ON CONFLICT (user_id, module, course_block, tag) DO UPDATE SET correct_count = correct_count + 1"
)


def _upserts(url: str, count: int) -> list[float]:
    """One writer through pharmdb; returns the seconds of each upsert."""
    target = targets.target(url)
    seconds = []
    with transactions.keeping(target) as transaction:
        for _ in range(count):
            begin = time.perf_counter()
            with transaction() as connection:
                connection.exec_driver_sql(_UPSERT)
            seconds.append(time.perf_counter() - begin)
    return seconds


def main(ground: Ground) -> Iterator[str]:
    """Upserts per second, in one line of the table; eight writers and one alternate."""
    url = ground.empty("SQLite")
    pharmdb.reset(url, backup=False)
    count = max(5, ground.calls * 2 // 3)
    eight, one, waits = [], [], list[float]()
    for _ in range(max(1, ground.rounds - 2)):
        seconds = _eight(url, count)
        waits += seconds
        # Each process measures only its work, not its start.
        eight.append(sum(seconds) / WRITERS)
        one.append(_one(url, WRITERS * count))
    p99 = statistics.quantiles(waits, n=100)[98] * 1000
    baseline = Baseline("one raw `sqlite3` writer", one, least=0.5)
    yield line(f"upserts of eight writers at once, SQLite; p99 {p99:,.0f} ms", eight, baseline, rows=WRITERS * count)


def _eight(url: str, count: int) -> list[float]:
    """Seconds of every upsert of all writers."""
    # Unlike a queue, it raises an error if a process ends without an answer.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WRITERS, mp_context=context, max_tasks_per_child=1) as pool:
        futures = [pool.submit(_upserts, url, count) for _ in range(WRITERS)]
        return [second for future in futures for second in future.result()]


def _one(url: str, count: int) -> float:
    """Seconds of the same number of upserts by one writer."""
    with closing(grounds.sqlite(url)) as connection:
        begin = time.perf_counter()
        for _ in range(count):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_UPSERT)
            connection.execute("COMMIT")
        return time.perf_counter() - begin
