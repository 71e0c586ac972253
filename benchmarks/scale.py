"""The cost of each call on cohorts of ten thousand to ten million attempts.

A larger cohort contains the smaller one. Every size has its own database, so that measurements can alternate between
sizes, and a busy minute affects all of them. The figures are written to docs/scale.csv, from which the chart is drawn.
"""

from __future__ import annotations

import csv
import random
import shutil
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

import pharmdb
from benchmarks import ground as grounds
from benchmarks import looking
from benchmarks.cohorts import EACH
from benchmarks.ground import DIALECTS, Ground
from benchmarks.timing import Baseline, Seconds, alternate, each, line, memory, spread
from pharmdb.database import targets, transactions
from pharmdb.learning import attempts as recording
from pharmdb.learning import queries
from pharmdb.learning.attempts import Tag

FIRST = 10_000
# The largest database has this many times the attempts of the other parts' large databases.
TIMES = 10
# A dataframe of more attempts would take more memory than a laptop has.
MOST_FRAME = 1_000_000
# Bytes of disk space per attempt of the largest cohort, with the write-ahead log, the smaller sizes and a margin.
ROOM = 700
# After the course, when everything is due.
AT = datetime(2026, 6, 1, tzinfo=UTC)
TAG = Tag("questions", "cardiology", "arrhythmias")


@dataclass(frozen=True)
class Point:
    """One measurement, in seconds per call; `cohort memory` is in MiB."""

    database: str
    work: str
    attempts: int
    median: float
    low: float
    high: float


def point(dialect: str, work: str, attempts: int, seconds: Seconds) -> Point:
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else 3 * [seconds[0]]
    return Point(dialect, work, attempts, middle, low, high)


def write(points: list[Point], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([field.name for field in fields(Point)])
        # Four significant digits, because more would suggest a false precision.
        table.writerows([f"{value:.4g}" if isinstance(value, float) else value for value in astuple(p)] for p in points)


def read(path: Path) -> list[Point]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Point(
                row["database"], row["work"], int(row["attempts"]), *(float(row[k]) for k in ("median", "low", "high"))
            )
            for row in csv.DictReader(file)
        ]


def sizes(attempts: int) -> list[int]:
    """Powers of ten from FIRST on, up to this many attempts; at least two sizes."""
    found = [max(100, min(FIRST, attempts // 10))]
    while found[-1] * 10 <= attempts:
        found.append(found[-1] * 10)
    return found


def learners(attempts: int) -> int:
    return max(12, round(attempts / EACH))


_BUILD = """
import time, pharmdb
begin = time.perf_counter()
pharmdb.cohort(sys.argv[1], learners=int(sys.argv[2]))
print(time.perf_counter() - begin)
"""


def build(url: str, attempts: int) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a separate process that creates the cohort."""
    pharmdb.migrate(url)
    peak, said = grounds.peak_mib(_BUILD, url, str(learners(attempts)))
    if not url.startswith("sqlite"):
        grounds.settle(url)
    return float(said.splitlines()[0]), peak


class Readers:
    """The queries for one learner, whose rows are the same at every size, and for many learners in turn."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.connection = stack.enter_context(transactions.reading(targets.target(url)))
        # The first learner with fifty attempts and fifty reviews, if there is one.
        (self.one,) = self._ask(
            "SELECT user_id FROM (SELECT user_id, count(*) AS n FROM spaced_repetition_items WHERE user_id <= 12 "
            "GROUP BY user_id) AS counted ORDER BY CASE WHEN n >= 50 THEN 0 ELSE 1 END, user_id LIMIT 1"
        )
        self.email = self._ask(f"SELECT email FROM users WHERE id = {self.one}")[0]
        key = self.connection.exec_driver_sql(
            f"SELECT module, course_block, tag FROM progress_by_tag WHERE user_id = {self.one} ORDER BY id LIMIT 1"
        ).one()
        self.tag = Tag(*key)
        # A thousand others with fifty attempts, spread over the whole cohort.
        owners = sorted(self._ask("SELECT user_id FROM attempts GROUP BY user_id HAVING count(*) >= 50"))
        self.many = random.Random(2026).sample(owners, min(1000, len(owners)))
        self.turn = 0

    def _ask(self, sql: str) -> Any:
        return self.connection.exec_driver_sql(sql).scalars().all()

    def user(self) -> object:
        return queries.user_by_email.one(self.connection, email=self.email)

    def progress(self) -> object:
        return queries.progress_by_key.one(self.connection, user_id=self.one, **self.tag._asdict())

    def history(self) -> object:
        return queries.attempt_history.rows(self.connection, user_id=self.one)

    def histories(self) -> object:
        self.turn += 1
        user_id = self.many[self.turn % len(self.many)]
        return queries.attempt_history.rows(self.connection, user_id=user_id)

    def due(self) -> object:
        return queries.due_reviews.rows(self.connection, user_id=self.one, at=AT)


READ = {
    "user by e-mail": Readers.user,
    "progress by key": Readers.progress,
    "history, newest 50": Readers.history,
    "history, other learners": Readers.histories,
    "50 due": Readers.due,
}


Urls = dict[int, str]
Found = Iterator[tuple[str, list[Seconds]]]


def reads(ground: Ground, urls: Urls) -> Found:
    """Each query's seconds for each size."""
    with ExitStack() as stack:
        readers = [Readers(url, stack) for url in urls.values()]
        for work, call in READ.items():
            yield work, each(2 * ground.rounds, ground.calls, *(partial(call, reader) for reader in readers))


def wholes(ground: Ground, urls: Urls) -> Found:
    """The calls that read every row; `count(*)` runs in the driver, on a connection that is already open."""

    def frame(url: str) -> object:
        with pharmdb.reading(pharmdb.target(url)) as connection:
            return pharmdb.attempts_frame(connection)

    with ExitStack() as stack:
        open_ = [stack.enter_context(transactions.reading(targets.target(url))) for url in urls.values()]
        yield "count(*)", alternate(ground.rounds, *(partial(count, connection) for connection in open_))
    for work, call in (("inspect", pharmdb.inspect), ("doctor", pharmdb.check), ("frame of all attempts", frame)):
        some = [url for size, url in urls.items() if size <= MOST_FRAME or call is not frame]
        yield work, alternate(ground.rounds, *(partial(call, url) for url in some))


def count(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar_one())


def writes(ground: Ground, urls: Urls) -> Found:
    """Writes for a temporary user, with a transaction for each call."""
    with ExitStack() as stack:
        writers = [Writer(url, stack) for url in urls.values()]
        for work, call in (("record an attempt", Writer.record), ("progress upsert", Writer.upsert)):
            yield work, each(ground.rounds, ground.calls, *(partial(call, writer) for writer in writers))
        # Each database has one user to delete.
        yield "delete a user", alternate(1, *(writer.delete for writer in writers))


class Writer:
    """One connection, and a temporary user."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        target = targets.target(url)
        self.transaction = stack.enter_context(transactions.keeping(target))
        self.count = stack.enter_context(recording.counting(target))
        add = "INSERT INTO users (email, password_hash) VALUES ('bench@example.test', '!') RETURNING id"
        with self.transaction() as connection:
            self.user = int(connection.exec_driver_sql(add).scalar_one())

    def record(self) -> None:
        with self.transaction() as connection:
            answer: Any = {"answers": {"choice": "A", "seconds": 20}, "score": 100, "feedback": {"correct": True}}
            recording.record_attempt(connection, self.user, "question", "q1", tags=[TAG], at=AT, **answer)

    def upsert(self) -> None:
        self.count(self.user, TAG, correct=True, at=AT)

    def delete(self) -> None:
        with self.transaction() as connection:
            recording.delete_user(connection, self.user)


def require_room(ground: Ground) -> None:
    """Exits before the first row is written if there is not enough disk space."""
    needed, free = ROOM * len(DIALECTS) * ground.attempts * TIMES, shutil.disk_usage(ground.folder).free
    if free < needed:
        raise SystemExit(
            f"scale: {needed / 1e9:.1f} GB are needed in {ground.folder}, and {free / 1e9:.1f} GB are free; "
            "set TMPDIR to a larger disk, or measure less: python -m benchmarks scale --attempts 100000"
        )


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table; the points are written to the folder, for the chart."""
    require_room(ground)
    largest, points = {}, list[Point]()
    every: list[str] = []
    for dialect in DIALECTS:
        urls = {attempts: ground.empty(dialect) for attempts in sizes(ground.attempts * TIMES)}
        every += urls.values()
        largest[dialect] = urls[max(urls)]
        peaks = []
        for attempts, url in urls.items():
            seconds, peak = build(url, attempts)
            points += point(dialect, "cohort", attempts, [seconds]), point(dialect, "cohort memory", attempts, [peak])
            peaks.append((attempts, peak))
            print(f"{dialect}: {attempts:,} attempts in {seconds:.1f} s, {peak:.0f} MiB", file=sys.stderr)
        for measured in (reads, wholes, writes):
            for work, found in measured(ground, urls):
                points += (point(dialect, work, size, s) for size, s in zip(urls, found, strict=False))
                print(f"{dialect}: {work}: {', '.join(map(spread, found))}", file=sys.stderr)
                if work in LINES:
                    yield line(
                        f"{LINES[work]}, {max(urls):,} attempts, {dialect}",
                        found[-1],
                        Baseline(f"the same with {min(urls):,}", found[0], 1.5),
                    )
        (few, least), (many, most) = peaks[-2:]
        work = f"peak memory of a cohort with {many:,} attempts, {dialect}"
        yield memory(work, most, f"the same with {few:,}", least, most=1.1)
        write(points, ground.folder / "scale.csv")
    yield from looking.main(ground.folder, largest)
    for url in every:
        ground.drop(url)


# The work whose largest size is compared with its smallest.
LINES = {
    "history, newest 50": "history, newest 50 of one learner",
    "history, other learners": "history, newest 50 of many learners in turn",
}
