"""Eight processes that write at once, beside one raw writer with the same settings."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pharmdb
from benchmarks import ground as grounds
from benchmarks.ground import Ground
from pharmdb import database

WRITERS = 8
_UPSERT = (
    "INSERT INTO progress_by_tag (user_id, module, course_block, tag) VALUES (1, 'cases', 'pulmonary', 'asthma') "
    "ON CONFLICT (user_id, module, course_block, tag) DO UPDATE SET correct_count = correct_count + 1"
)


def _upserts(url: str, count: int, queue: Any) -> None:
    """One writer through pharmdb; sends the seconds of each upsert."""
    target = database.target(url)
    seconds = []
    with database.keeping(target) as transaction:
        for _ in range(count):
            begin = time.perf_counter()
            with transaction() as connection:
                connection.exec_driver_sql(_UPSERT)
            seconds.append(time.perf_counter() - begin)
    queue.put(seconds)


def main(ground: Ground) -> Iterator[str]:
    """Upserts a second, in one line of the table."""
    url = ground.empty("SQLite")
    pharmdb.reset(url, backup=False)
    count = max(5, ground.calls * 2 // 3)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_upserts, args=(url, count, queue)) for _ in range(WRITERS)]
    for process in processes:
        process.start()
    seconds = [second for _ in processes for second in queue.get()]
    for process in processes:
        process.join()
    # Each process measures its own work alone, not its start.
    ours = WRITERS * count / (sum(seconds) / WRITERS)
    with closing(grounds.sqlite(url)) as connection:
        begin = time.perf_counter()
        for _ in range(WRITERS * count):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_UPSERT)
            connection.execute("COMMIT")
        raw = WRITERS * count / (time.perf_counter() - begin)
    p99 = statistics.quantiles(seconds, n=100)[98] * 1000
    met = "met" if ours >= 0.5 * raw else "**not met**"
    yield (
        f"| eight writers at once, SQLite | {ours:,.0f} upserts/s, p99 {p99:.0f} ms | one raw `sqlite3` writer "
        f"| {raw:,.0f} upserts/s | {ours / raw:.2f} | ≥ 0.5 | {met} |"
    )
