"""What one user costs, by number of users: on one server, on clusters, and with `users` split over the workers.

The points are kept in benchmarks/users.csv, against which the simulation is checked.
"""

from __future__ import annotations

import csv
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection

from benchmarks import ground as grounds
from benchmarks.ground import Ground
from benchmarks.timing import Baseline, Seconds, each, line, spread
from pharmdb import settings
from pharmdb.database import targets, transactions
from pharmdb.learning import attempts as recording
from pharmdb.learning import queries
from pharmdb.learning.attempts import Tag

KEPT = settings.SOURCE / "benchmarks" / "users.csv"
COMMAND = "python -m benchmarks cluster"
# Users in the databases; a larger database holds the users of the smaller one.
SIZES = (10_000, 100_000, 1_000_000)
CLIENTS = 8
AT = datetime(2026, 6, 1, tzinfo=UTC)
TAG = Tag("questions", "cardiology", "arrhythmias")
# As long as a bcrypt hash.
HASH = "$2b$10$" + "x" * 53

SIGN_UP, LOOK_UP, PROGRESS, RECORD = "a new user", "user by e-mail", "progress by key", "record an attempt"
MANY = f"a new user, {CLIENTS} clients"
SPLIT_SIGN_UP, SPLIT_LOOK_UP = "a new user, split", "user by e-mail, split"
HEAP, EMAILS, IDS = "size of the table users", "size of the e-mails' index", "size of the ids' index"
HEIGHT = "levels of the e-mails' index"


@dataclass(frozen=True)
class Point:
    """A median with quartiles, in seconds, bytes or levels; `workers` is 0 for a server that is not a cluster."""

    work: str
    workers: int
    users: int
    median: float
    low: float
    high: float


def point(work: str, workers: int, users: int, values: Seconds) -> Point:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return Point(work, workers, users, middle, low, high)


def write(points: list[Point], path: Path, url: str) -> None:
    """The first line says when, by which command and on which servers the points were measured."""
    with psycopg.connect(grounds.dsn(url)) as connection:
        version = connection.info.parameter_status("server_version")
        waits = connection.execute("SHOW fsync").fetchone()
    with path.open("w", newline="", encoding="utf-8") as file:
        about = f"{datetime.now(UTC):%Y-%m-%d}, {COMMAND}, PostgreSQL {version}, fsync {waits and waits[0]}"
        file.write(f"# {about}, all nodes on one machine with {os.cpu_count()} cores\n")
        table = csv.writer(file, lineterminator="\n")
        table.writerow([field.name for field in fields(Point)])
        for p in points:
            table.writerow([p.work, p.workers, p.users, *(f"{value:.4g}" for value in (p.median, p.low, p.high))])


def read(path: Path = KEPT) -> tuple[str, list[Point]]:
    """When and how they were measured, and the points."""
    with path.open(newline="", encoding="utf-8") as file:
        about = file.readline().lstrip("# ").rstrip()
        return about, [
            Point(
                *(row["work"], int(row["workers"]), int(row["users"])),
                *(float(row[name]) for name in ("median", "low", "high")),
            )
            for row in csv.DictReader(file)
        ]


class Client:
    """One connection to one of the databases; it signs users up and reads those who are there."""

    _new = count()

    def __init__(self, url: str, users: int, stack: ExitStack) -> None:
        self.url, self.users, self.turn = url, users, 0
        target = targets.target(url)
        self.transaction = stack.enter_context(transactions.keeping(target))
        self.connection: Connection = stack.enter_context(transactions.reading(target))
        self.raw = stack.enter_context(psycopg.connect(grounds.dsn(url)))

    def someone(self) -> int:
        """Another user each time, all over the table."""
        self.turn += 1
        return 1 + self.turn * 7919 % self.users

    def sign_up(self) -> None:
        add = "INSERT INTO users (email, password_hash) VALUES (%(email)s, %(hash)s) RETURNING id"
        with self.transaction() as connection:
            connection.exec_driver_sql(add, {"email": f"new{next(self._new)}@example.test", "hash": HASH}).scalar_one()

    def look_up(self) -> object:
        return queries.user_by_email.one(self.connection, email=email(self.someone()))

    def progress(self) -> object:
        return queries.progress_by_key.one(self.connection, user_id=self.someone(), **TAG._asdict())

    def record(self) -> None:
        with self.transaction() as connection:
            answer: Any = {"answers": {"choice": "A"}, "score": 100, "feedback": {"correct": True}}
            recording.record_attempt(connection, self.someone(), "question", "q1", tags=[TAG], at=AT, **answer)

    def split_sign_up(self) -> None:
        """A row where the e-mail belongs, and one where the user does: mostly on two workers."""
        number = 1_000_000_000 + next(self._new)
        with self.raw.transaction():
            self.raw.execute("INSERT INTO split_emails VALUES (%s, %s)", (f"new{number}@example.test", number))
            self.raw.execute("INSERT INTO split_users VALUES (%s, %s, %s)", (number, email(number), HASH))

    def split_look_up(self) -> object:
        (id_,) = self._one("SELECT id FROM split_emails WHERE email = %s", email(self.someone()))
        found = self._one("SELECT * FROM split_users WHERE id = %s", id_)
        self.raw.commit()
        return found

    def _one(self, statement: str, value: object) -> Any:
        found = self.raw.execute(statement.encode(), (value,)).fetchone()
        if found is None:
            raise RuntimeError(f"nothing found for {value}")
        return found


def email(number: int) -> str:
    return f"user{number:09}@example.test"


WORKS: dict[str, Callable[[Client], object]] = {
    SIGN_UP: Client.sign_up,
    LOOK_UP: Client.look_up,
    PROGRESS: Client.progress,
    RECORD: Client.record,
}
SPLIT: dict[str, Callable[[Client], object]] = {
    SPLIT_SIGN_UP: Client.split_sign_up,
    SPLIT_LOOK_UP: Client.split_look_up,
}


def points(ground: Ground, urls: Mapping[int, str]) -> Iterator[Point]:
    """Each work at each size; the databases, by number of workers, take turns."""
    filled = 0
    for size in (max(100, size * ground.attempts // 1_000_000) for size in SIZES):
        for workers, url in urls.items():
            print(f"{size:,} users on {workers} workers", file=sys.stderr)
            _fill(url, filled, size, split=workers > 0)
        filled = size
        with ExitStack() as stack:
            clients = {workers: Client(url, size, stack) for workers, url in urls.items()}
            for works, some in ((WORKS, list(urls)), (SPLIT, [workers for workers in urls if workers])):
                for work, call in works.items():
                    calls = (partial(call, clients[workers]) for workers in some)
                    found = each(ground.rounds, ground.calls, *calls) if some else []
                    print(f"{size:,} users: {work}: {', '.join(map(spread, found))}", file=sys.stderr)
                    yield from (point(work, *of) for of in zip(some, [size] * len(some), found, strict=True))
        for workers, url in urls.items():
            yield point(MANY, workers, size, [_at_once(ground, url, size) for _ in range(min(3, ground.rounds))])
        for work, value in _sizes(urls[0]).items():
            yield point(work, 0, size, [value])


def _fill(url: str, first: int, last: int, *, split: bool) -> None:
    """Users up to the number `last`, with a row of progress each."""
    numbers = f"generate_series({first + 1}, {last}) AS n"
    address = "'user' || lpad(n::text, 9, '0') || '@example.test'"
    with psycopg.connect(grounds.dsn(url), autocommit=True) as connection:
        if not first:
            # The known-good two have the first ids.
            connection.execute("DELETE FROM users")
            if split:
                connection.execute(_SPLIT.encode())
        for statement in (
            f"INSERT INTO users (id, email, password_hash) SELECT n, {address}, '{HASH}' FROM {numbers}",
            "INSERT INTO progress_by_tag (user_id, module, course_block, tag) "
            f"SELECT n, '{TAG.module}', '{TAG.course_block}', '{TAG.tag}' FROM {numbers}",
            *(
                f"INSERT INTO split_emails SELECT {address}, n FROM {numbers}",
                f"INSERT INTO split_users (id, email, password_hash) SELECT n, {address}, '{HASH}' FROM {numbers}",
            )[: 2 * split],
        ):
            connection.execute(statement.encode())
        # New users get ids beyond those of every size.
        connection.execute("SELECT setval(pg_get_serial_sequence('users', 'id'), 1000000000 + max(id)) FROM users")
    # Pages that wait to be written would be written in the midst of a measurement.
    grounds.settle(url)


_SPLIT = """
    CREATE TABLE split_emails (email text PRIMARY KEY, id bigint NOT NULL);
    CREATE TABLE split_users (id bigint PRIMARY KEY, email text NOT NULL, password_hash text NOT NULL,
        role text NOT NULL DEFAULT 'USER', created_at timestamptz(3) NOT NULL DEFAULT now());
    SELECT create_distributed_table('split_emails', 'email', colocate_with => 'none');
    SELECT create_distributed_table('split_users', 'id')
"""


def _at_once(ground: Ground, url: str, users: int) -> float:
    """Seconds for each sign-up while several clients sign users up."""
    ready = threading.Barrier(CLIENTS + 1)

    def run() -> None:
        with ExitStack() as stack:
            client = Client(url, users, stack)
            client.sign_up()
            ready.wait()
            for _ in range(ground.calls):
                client.sign_up()

    with ThreadPoolExecutor(CLIENTS) as pool:
        tasks = [pool.submit(run) for _ in range(CLIENTS)]
        ready.wait()
        begin = time.perf_counter()
        for task in tasks:
            task.result()
        return (time.perf_counter() - begin) / (CLIENTS * ground.calls)


def _sizes(url: str) -> dict[str, float]:
    """Bytes of the table and its indexes without the new users, and the levels of the index of the e-mails."""
    with psycopg.connect(grounds.dsn(url), autocommit=True) as connection:
        connection.execute("DELETE FROM users WHERE email NOT LIKE 'user%'")
        connection.execute("VACUUM (FULL, ANALYZE) users")
        sizes = connection.execute(
            "SELECT pg_relation_size('users'), pg_relation_size('uq_users_email'), pg_relation_size('pk_users')"
        ).fetchone()
        plan: Any = connection.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT role FROM users WHERE email = '{email(1)}'"
        ).fetchone()
    node = plan[0][0]["Plan"]
    while "Plans" in node:
        (node,) = node["Plans"]
    # One page of each level, and one of the table.
    levels = node["Shared Hit Blocks"] + node["Shared Read Blocks"] - 1
    return dict(zip((HEAP, EMAILS, IDS), map(float, sizes or ()), strict=True)) | {HEIGHT: float(levels)}


def lines(points: list[Point]) -> Iterator[str]:
    """A line for each work on each cluster, with the most users."""
    most = max(p.users for p in points)
    found = {(p.work, p.workers): p for p in points if p.users == most}
    for (work, workers), p in found.items():
        base = found.get((work.removesuffix(", split"), 0))
        if workers and base:
            name = f"{work}, {most:,} users, {workers} worker{'s' if workers > 1 else ''}"
            yield line(name, _spread(p), Baseline("the same server, not distributed", _spread(base)))


def _spread(p: Point) -> Seconds:
    """Values with this median and these quartiles."""
    return [p.low, p.low, p.median, p.high, p.high] if p.low != p.high else [p.median]
