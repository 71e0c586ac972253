"""Eight processes at once: no error, nothing lost, nothing doubled; and who holds a lock is named."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from support import killing, raw
from support.backups import backed_up
from support.databases import Databases
from support.processes import pool, warm
from support.seeds import KNOWN_GOOD

import pharmdb
from pharmdb.backups import manifests, restoring
from pharmdb.database import locks
from pharmdb.errors import LockedError
from pharmdb.schema import drift

PROCESSES = 8
INCREMENTS = 200 if killing.THOROUGH else 50


_barriers: list[Barrier] = []


def _begin(barrier: Barrier) -> None:
    _barriers.append(barrier)


def _together(verb: str, url: str, folder: str, options: dict[str, Any]) -> Any:
    os.environ["PHARMDB_BACKUPS"] = folder
    _barriers[0].wait(60)
    report = getattr(pharmdb, verb)(url, **options)
    if verb == "seed":
        return report.counts
    return len(report.steps) if verb == "migrate" else report.fingerprint


def _increment(url: str, times: int) -> int:
    target = pharmdb.target(url)
    _barriers[0].wait(60)
    for _ in range(times):
        with pharmdb.writing(target) as connection:
            if not target.is_sqlite:
                # In one order for everybody: PostgreSQL ends one of two transactions that wait for each other.
                connection.execute(sa.text("SELECT id FROM progress_by_tag ORDER BY id FOR UPDATE"))
            connection.execute(sa.text("UPDATE progress_by_tag SET correct_count = correct_count + 1"))
    return times


@pytest.fixture(scope="module")
def crowd() -> Iterator[ProcessPoolExecutor]:
    with pool(PROCESSES, _begin, warm().Barrier(PROCESSES)) as processes:
        yield processes


def at_once(crowd: ProcessPoolExecutor, calls: Sequence[tuple[str, str, dict[str, Any]]]) -> list[Any]:
    assert len(calls) == PROCESSES
    waiting = [crowd.submit(_together, verb, url, str(manifests.folder()), options) for verb, url, options in calls]
    return [future.result(120) for future in waiting]


def mark(url: str) -> str:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        assert drift.differences(connection) == []
        return pharmdb.fingerprint(connection, seed=True)


def test_eight_seeds_of_an_empty_database(crowd: ProcessPoolExecutor, migrated: str) -> None:
    counts = at_once(crowd, [("seed", migrated, {})] * PROCESSES)
    assert mark(migrated) == KNOWN_GOOD
    # Each row was created by one of them.
    with raw.session(migrated) as session:
        rows = {t: session.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in raw.TABLES}
    created: Counter[str] = Counter()
    for report in counts:
        created.update({table: n for table, n, _, _ in report})
    assert {t: created[t] for t in rows} == rows
    assert sum(created.values()) > 0


def test_eight_migrations_of_a_fresh_database(crowd: ProcessPoolExecutor, empty: str) -> None:
    steps = at_once(crowd, [("migrate", empty, {})] * PROCESSES)
    assert sorted(steps)[:-1] == [0] * (PROCESSES - 1)
    assert max(steps) > 0
    with pharmdb.reading(pharmdb.target(empty)) as connection:
        assert drift.differences(connection) == []


def test_seeds_against_resets(crowd: ProcessPoolExecutor, seeded: str) -> None:
    at_once(crowd, [("reset", seeded, {})] * 2 + [("seed", seeded, {})] * 6)
    assert mark(seeded) == KNOWN_GOOD
    taken = manifests.of(pharmdb.target(seeded))
    assert len(taken) == 2
    for entry in taken:
        restoring.verify(entry)


def test_every_increment_is_counted_and_a_reader_never_fails(crowd: ProcessPoolExecutor, seeded: str) -> None:
    target = pharmdb.target(seeded)
    statement = sa.text("SELECT min(correct_count), max(correct_count), count(*) FROM progress_by_tag")

    def read() -> tuple[int, int, int]:
        with pharmdb.reading(target) as connection:
            least, most, rows = connection.execute(statement).one()
        return least, most, rows

    with raw.session(seeded) as session:
        session.execute("UPDATE progress_by_tag SET correct_count = 0")
    rows = read()[2]
    assert rows > 0
    done = threading.Event()
    seen: list[tuple[int, int, int]] = []
    failed: list[BaseException] = []

    def watch() -> None:
        while not done.is_set():
            try:
                seen.append(read())
            except BaseException as error:  # noqa: BLE001 - shown below
                failed.append(error)
                return

    reader = threading.Thread(target=watch)
    reader.start()
    try:
        futures = [crowd.submit(_increment, seeded, INCREMENTS) for _ in range(PROCESSES)]
        assert [f.result(240) for f in futures] == [INCREMENTS] * PROCESSES
    finally:
        done.set()
        reader.join(60)
    assert failed == []
    total = PROCESSES * INCREMENTS
    assert read() == (total, total, rows)
    # Each look saw one moment, and they went forward; some fell into the middle.
    assert all(least == most and n == rows for least, most, n in seen)
    assert seen == sorted(seen)
    assert any(0 < least < total for least, _, _ in seen)


# -- who holds it -----------------------------------------------------------------------------------

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("verb", ["seed", "reset", "migrate", "restore"])
def test_on_sqlite_the_holder_is_named_by_process_and_command(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    url = databases.seeded("sqlite")
    pharmdb.backup(url)
    before = raw.everything(url)
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.3")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(raw.path(url))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(LockedError) as error:
                getattr(pharmdb, verb)(url)
        finally:
            holder.kill()
    assert f"pid {holder.pid} " in error.value.found
    assert Path(sys.executable).name in error.value.found
    assert "since 20" in error.value.found
    assert error.value.command or error.value.note
    assert raw.everything(url) == before


@pytest.mark.parametrize("verb", ["seed", "reset", "migrate", "restore"])
def test_on_postgresql_the_holder_is_named_by_session(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    url = databases.seeded("postgresql")
    pharmdb.backup(url)
    before = raw.everything(url)
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.3")
    with psycopg.connect(raw.libpq(url), application_name="the holder") as holder:
        holder.execute(f"SELECT pg_advisory_xact_lock({locks.ADVISORY_LOCK})")
        with pytest.raises(LockedError) as error:
            getattr(pharmdb, verb)(url)
        assert f"pid {holder.info.backend_pid} " in error.value.found
    assert "postgres, the holder" in error.value.found
    assert "pg_advisory_xact_lock" in error.value.found
    assert "since 20" in error.value.found
    assert raw.everything(url) == before


def test_on_postgresql_a_reader_that_stops_a_reset_is_named(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.seeded("postgresql")
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.3")
    before = raw.everything(url)
    with psycopg.connect(raw.libpq(url), application_name="a forgotten reader") as holder:
        holder.execute("SELECT count(*) FROM users")
        with pytest.raises(LockedError, match="a forgotten reader: idle in transaction"):
            pharmdb.reset(url, backup=False)
    assert raw.everything(url) == before


# -- a stale -wal and -shm --------------------------------------------------------------------------

WRITER = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("INSERT INTO users (email, password_hash, role, created_at) VALUES "
                   "('kept@example.test', 'x', 'USER', '2026-01-02T03:04:05.006+00:00')")
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE progress_by_tag SET correct_count = 77777")
connection.execute("CREATE TABLE big AS WITH RECURSIVE n (i) AS "
                   "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i, hex(randomblob(50)) AS h FROM n")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("first", ["reader", "writer"])
def test_what_a_killed_writer_left_is_recovered_by_the_next(databases: Databases, first: str) -> None:
    url = databases.seeded("sqlite")
    path = raw.path(url)
    killed = subprocess.run([sys.executable, "-c", WRITER, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    # The harm is there: a log with what was committed, and more that was not.
    assert Path(f"{path}-wal").stat().st_size > 500_000
    assert Path(f"{path}-shm").exists()
    if first == "reader":
        with pharmdb.reading(pharmdb.target(url)) as connection:
            names = connection.exec_driver_sql("SELECT email FROM users").scalars().all()
    else:
        pharmdb.seed(url)
        with closing(sqlite3.connect(path)) as session:
            names = [name for (name,) in session.execute("SELECT email FROM users")]
    assert "kept@example.test" in names
    with raw.session(url) as session:
        assert "big" not in raw.tables(session)
        assert session.execute("SELECT count(*) FROM progress_by_tag WHERE correct_count = 77777").fetchone() == (0,)
        assert session.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert backed_up(url).tables["users"] == len(names)
