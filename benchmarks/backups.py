"""Backup and restore of the large databases, compared with the raw tools, which verify nothing."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pharmdb
from benchmarks.ground import Ground, fill, path
from benchmarks.timing import Baseline, alternate, line
from pharmdb.backups import postgresql_dumps
from pharmdb.database import targets, transactions

# Fewer rounds than for faster work.
ROUNDS = 2


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    yield from _sqlite(ground)
    yield from _postgresql(ground)


def _sqlite(ground: Ground) -> Iterator[str]:
    """Compared with SQLite's backup API."""
    url = ground.empty("SQLite")
    fill(url, ground.attempts)
    raw = ground.folder / "raw.db"

    def api(source: Path, copy: Path) -> None:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(copy)) as target:
            original.backup(target)

    ours, baseline = alternate(ROUNDS, lambda: pharmdb.backup(url), lambda: api(path(url), raw))
    yield line(
        f"backup of {ground.attempts:,} attempts, SQLite, verified",
        ours,
        Baseline("backup API, unverified", baseline, 1.3),
    )
    ours, baseline = alternate(ROUNDS, lambda: pharmdb.restore(url), lambda: api(raw, ground.folder / "restored.db"))
    yield line("restore of it, after a backup", ours, Baseline("backup API, unverified", baseline, 1.3))
    ground.drop(url)


def _postgresql(ground: Ground) -> Iterator[str]:
    """Compared with pg_dump and pg_restore."""
    url = ground.empty("PostgreSQL")
    fill(url, ground.attempts)
    target = targets.target(url)
    with transactions.reading(target) as connection:
        version = postgresql_dumps.server_version(connection)
        arguments, environment = postgresql_dumps.connect_arguments(connection, target)

    def run(program: str, *options: str) -> None:
        command = [postgresql_dumps.client(program, version), *options, f"--dbname={arguments}"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    dump = str(ground.folder / "raw.dump")
    ours, baseline = alternate(
        ROUNDS, lambda: pharmdb.backup(url), lambda: run("pg_dump", "--format=custom", f"--file={dump}")
    )
    yield line(
        f"backup of {ground.attempts:,} attempts, PostgreSQL, verified", ours, Baseline("`pg_dump`", baseline, 1.3)
    )
    ours, baseline = alternate(
        1, lambda: pharmdb.restore(url), lambda: run("pg_restore", "--clean", "--single-transaction", dump)
    )
    yield line("restore of it, after a backup", ours, Baseline("`pg_restore`", baseline, 1.3))
    ground.drop(url)
