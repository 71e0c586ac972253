"""The workers of the test cluster: killed and started again where their data is on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

import pharmdb
from pharmdb.database import transactions
from pharmdb.doctor.results import OK, Finding
from pharmdb.errors import PharmdbError
from pharmdb.learning.attempts import Tag, counting
from support.databases import dsn

TAG = Tag("questions", "cardiology", "hypertension")


class Worker(NamedTuple):
    """A worker, and a learner whose rows it has."""

    host: str
    port: int
    user: int

    def connect(self, url: str) -> psycopg.Connection[Any]:
        return psycopg.connect(dsn(url), host=self.host, port=self.port, autocommit=True)


def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn(url), autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def workers(url: str) -> list[Worker]:
    """Those that have shards of a distributed database with learners."""
    return [Worker(*row) for row in ask(url, _WORKERS)]


_WORKERS = """
    SELECT DISTINCT ON (nodename, nodeport) nodename, nodeport, users.id
      FROM users JOIN pg_dist_placement
        ON shardid = get_shard_id_for_distribution_column('attempts', users.id) JOIN pg_dist_node USING (groupid)
     WHERE users.id > 2 ORDER BY 1, 2, 3
"""


def findings(url: str) -> dict[str, Finding]:
    """What isn't ok, by its check, and the balance."""
    found = pharmdb.check(url).findings
    return {f.check: f for f in found if f.state != OK or f.check == "balance"}


def types(finding: Finding) -> None:
    """Carries out the remedy as it is printed."""
    assert finding.remedy
    done = subprocess.run(finding.remedy, shell=True, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def reading(act: Callable[..., object]) -> Callable[[str], object]:
    def read(url: str) -> object:
        with pharmdb.reading(pharmdb.target(url)) as connection:
            return act(connection)

    return read


def changing(act: Callable[..., object]) -> Callable[[str], object]:
    def write(url: str) -> object:
        with pharmdb.writing(pharmdb.target(url)) as connection:
            return act(connection)

    return write


def recording(user: int) -> Callable[[str], object]:
    def record(connection: Any) -> object:
        at = datetime.now(UTC)
        return pharmdb.record_attempt(connection, user, "question", "q", answers={}, score=50, tags=[TAG], at=at)

    return changing(record)


def counting_for(user: int) -> Callable[[str], None]:
    def act(url: str) -> None:
        with counting(pharmdb.target(url)) as count:
            count(user, TAG, correct=True, at=datetime.now(UTC))

    return act


@contextmanager
def killed(url: str, worker: Worker) -> Iterator[None]:
    """Without a worker, whose processes are all killed at once; starts it again at the end.

    Skips the test if the worker's data is not on this machine.
    """
    with worker.connect(url) as connection:
        (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        (programs,) = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone() or ("",)
    pid_file = Path(folder) / "postmaster.pid"
    if os.geteuid() or not pid_file.exists():
        pytest.skip("the workers are not on this machine, or not to be killed by this user")
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
    _until(lambda: not _answers(url, worker))
    try:
        yield
    finally:
        owner = pid_file.parent.stat()
        # As long as a process of the old server is left, a new one refuses to start.
        start = [f"{programs}/pg_ctl", "-D", folder, "-w", "-s", "-l", f"{folder}/restarted.log", "start"]
        # As its owner would: libpq looks for certificates in the home folder.
        owned: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "cwd": folder, "env": {"HOME": folder}}
        _until(lambda: not subprocess.run(start, **owned, check=False, capture_output=True).returncode)
        _until(lambda: _answers(url, worker))


def _answers(url: str, worker: Worker) -> bool:
    with suppress(psycopg.OperationalError), worker.connect(url):
        return True
    return False


def _until(is_so: Any) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Writing:
    """What a writer was told: the keys of recorded attempts, and the errors of others."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.errors: list[PharmdbError] = []
        self.ended = threading.Event()


@contextmanager
def writing(url: str) -> Iterator[Writing]:
    """Records an attempt of one learner after the other until the end of the block."""
    told = Writing()
    users = [user for (user,) in ask(url, "SELECT id FROM users WHERE id > 2 ORDER BY id")]

    def write() -> None:
        with transactions.keeping(pharmdb.target(url)) as transaction:
            number = 0
            while not told.ended.is_set():
                number += 1
                user, key = users[number % len(users)], f"written-{number}"
                try:
                    with transaction() as connection:
                        pharmdb.record_attempt(
                            *(connection, user, "question", "q"),
                            answers={"key": key},
                            score=50,
                            tags=[TAG],
                            at=datetime.now(UTC),
                        )
                except PharmdbError as error:
                    told.errors.append(error)
                else:
                    told.acknowledged.append(key)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield told
    finally:
        told.ended.set()
        thread.join()
    there = {key for (key,) in ask(url, "SELECT answers->>'key' FROM attempts WHERE answers->>'key' LIKE 'written-%'")}
    assert set(told.acknowledged) <= there, "an acknowledged attempt is lost"
    assert len(told.acknowledged) > 20
