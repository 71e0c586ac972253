"""Backup and restore of a million attempts beside the raw tools, and eight writers beside one raw writer."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

import pharmdb
from benchmarks import cohorts, peers, upgrading
from benchmarks.timing import Result, alternate
from pharmdb import copies, database

ATTEMPTS = 1_000_000
ROUNDS = 2
COHORT = 200_000
WRITERS = 8
UPSERTS = 200


def fill(url: str) -> None:
    """A known-good database with attempts beside it, made by the database itself."""
    pharmdb.reset(url, backup=False)
    postgresql = url.startswith("postgresql")
    time_ = "to_timestamp(1780000000 + n)" if postgresql else f"strftime('{_FORM}', 1780000000 + n, 'unixepoch')"
    document = """'{"choice": "b", "seconds": 12}'"""
    json = f"CAST({document} AS JSONB)" if postgresql else document
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {})"
    with database.writing(database.target(url)) as connection:
        connection.exec_driver_sql(
            f"{numbers.format(ATTEMPTS)} INSERT INTO attempts "
            "(user_id, entity_type, entity_id, answers, score, feedback, created_at) "
            f"SELECT 1 + n - n / 2 * 2, 'question', 'q' || (n - n / 400 * 400), {json}, n - n / 101 * 101, {json}, "
            f"{time_} FROM numbers".replace("%", "%%" if postgresql else "%")
        )


_FORM = "%Y-%m-%d %H:%M:%f000"


def sqlite_copies(folder: Path) -> list[Result]:
    """Against the backup API alone, which copies and verifies nothing."""
    url = f"sqlite:///{folder / 'large.db'}"
    fill(url)
    raw = folder / "raw.db"

    def api(source: Path, copy: Path) -> None:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(copy)) as target:
            original.backup(target)

    ours, peer = alternate(ROUNDS, lambda: pharmdb.backup(url), lambda: api(folder / "large.db", raw))
    back, peer_back = alternate(ROUNDS, lambda: pharmdb.restore(url), lambda: api(raw, folder / "restored.db"))
    return [
        Result("backup of 1 M attempts, SQLite, verified", ours, "backup API, unverified", peer, 1.3),
        Result("restore of it, after a backup", back, "backup API, unverified", peer_back, 1.3),
    ]


def postgresql_copies(folder: Path, url: str) -> list[Result]:
    """Against pg_dump and pg_restore alone."""
    fill(url)
    target = database.target(url)
    with database.reading(target) as connection:
        version = copies.server_version(connection)
        arguments, environment = copies.connect_arguments(connection, target)

    def run(program: str, *options: str) -> None:
        command = [copies.client(program, version), *options, f"--dbname={arguments}"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    dump = str(folder / "raw.dump")
    ours, peer = alternate(
        ROUNDS, lambda: pharmdb.backup(url), lambda: run("pg_dump", "--format=custom", f"--file={dump}")
    )
    back, peer_back = alternate(
        1, lambda: pharmdb.restore(url), lambda: run("pg_restore", "--clean", "--single-transaction", dump)
    )
    return [
        Result("backup of 1 M attempts, PostgreSQL, verified", ours, "`pg_dump`, unverified", peer, 1.3),
        Result("restore of it, after a backup", back * 2, "`pg_restore`, unverified", peer_back * 2, 1.3),
    ]


def _upserts(url: str, queue: Any) -> None:
    """One writer through pharmdb; sends the seconds of each upsert."""
    target = database.target(url)
    seconds = []
    with database.keeping(target) as transaction:
        for _ in range(UPSERTS):
            begin = time.perf_counter()
            with transaction() as connection:
                connection.exec_driver_sql(_UPSERT)
            seconds.append(time.perf_counter() - begin)
    queue.put(seconds)


_UPSERT = (
    "INSERT INTO progress_by_tag (user_id, module, course_block, tag) VALUES (1, 'cases', 'pulmonary', 'asthma') "
    "ON CONFLICT (user_id, module, course_block, tag) DO UPDATE SET correct_count = correct_count + 1"
)


def writers(folder: Path) -> str:
    """Upserts each second: eight processes through pharmdb, and one raw connection with the same durability."""
    url = f"sqlite:///{folder / 'writers.db'}"
    pharmdb.reset(url, backup=False)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_upserts, args=(url, queue)) for _ in range(WRITERS)]
    for process in processes:
        process.start()
    seconds = [second for _ in processes for second in queue.get()]
    for process in processes:
        process.join()
    # Each process measures its own work alone, not its start.
    ours = WRITERS * UPSERTS / (sum(seconds) / WRITERS)
    with closing(sqlite3.connect(folder / "writers.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        begin = time.perf_counter()
        for _ in range(WRITERS * UPSERTS):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_UPSERT)
            connection.execute("COMMIT")
        raw = WRITERS * UPSERTS / (time.perf_counter() - begin)
    p99 = statistics.quantiles(seconds, n=100)[98] * 1000
    met = "met" if ours >= 0.5 * raw else "**not met**"
    return (
        f"| eight writers at once, SQLite | {ours:.0f} upserts/s, p99 {p99:.0f} ms | one raw `sqlite3` writer "
        f"| {raw:.0f} upserts/s | {ours / raw:.2f} | ≥ 0.5 | {met} |"
    )


def _create(server: Any, name: str) -> str:
    """An empty database on the test server, and its URL."""
    with psycopg.connect(server.uri().replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return str(server.uri(name))


def main(folder: Path) -> list[str]:
    """The lines of the table."""
    os.environ["PHARMDB_BACKUPS"] = str(folder / "backups")
    sys.path.insert(0, str(database.ROOT / "tests"))
    from postgres import Server

    lines = [str(result) for result in sqlite_copies(folder)]
    server = Server()
    try:
        lines += [str(result) for result in postgresql_copies(folder, server.uri())]
        lines += peers.main(folder, server.uri())
        lines += upgrading.main(folder, lambda name: _create(server, name))
        lines += cohorts.main(folder, lambda name: _create(server, name), COHORT)
    finally:
        server.close()
    return [*lines, writers(folder)]
