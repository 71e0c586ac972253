"""Backup, restore and reset of the large databases, compared with raw copies and with copies verified by hand."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pharmdb
from benchmarks.ground import Ground, fill, path
from benchmarks.timing import Baseline, alternate, line
from pharmdb.backups import postgresql_dumps
from pharmdb.database import targets, transactions

# Fewer rounds than for faster work.
ROUNDS = 3

Work = Callable[[], object]


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    yield from _sqlite(ground)
    yield from _postgresql(ground)


def _sqlite(ground: Ground) -> Iterator[str]:
    url, again = ground.empty("SQLite"), ground.empty("SQLite")
    fill(url, ground.attempts)
    raw, replaced = ground.folder / "raw.db", ground.folder / "replaced.db"

    def copy(source: Path, target: Path) -> None:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as opened:
            original.backup(opened)

    def unverified(source: Path) -> None:
        # A new file, because SQLite would keep the pages of an old one in a journal.
        raw.unlink(missing_ok=True)
        copy(source, raw)

    def verified(source: Path) -> None:
        unverified(source)
        with closing(sqlite3.connect(raw)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                raise RuntimeError(f"{raw} is damaged")
        with raw.open("rb") as file:
            hashlib.file_digest(file, "sha256")

    def restored() -> None:
        verified(replaced)
        copy(raw, replaced)

    def anew() -> None:
        ground.drop(again)
        copy(path(url), path(again))

    copy(path(url), replaced)
    by_hand = "backup API, `PRAGMA integrity_check`, SHA-256"
    yield _backup(
        ground, "SQLite", url, by_hand, lambda: verified(path(url)), "backup API", lambda: unverified(path(url))
    )
    yield _restore("SQLite", url, f"{by_hand}; backup API", restored)
    yield _reset("SQLite", again, anew)
    for done in (url, again):
        ground.drop(done)


def _postgresql(ground: Ground) -> Iterator[str]:
    url, again = ground.empty("PostgreSQL"), ground.empty("PostgreSQL")
    fill(url, ground.attempts)
    target = targets.target(url)
    with transactions.reading(target) as connection:
        version = postgresql_dumps.server_version(connection)
        arguments, environment = postgresql_dumps.connect_arguments(connection, target)
    dump = str(ground.folder / "raw.dump")

    def run(program: str, *options: str) -> None:
        command = [postgresql_dumps.client(program, version), *options]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    def raw() -> None:
        run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={arguments}")

    def verified() -> None:
        raw()
        run("pg_restore", "--file=/dev/null", dump)

    def restored() -> None:
        verified()
        run("pg_restore", "--clean", "--single-transaction", f"--dbname={arguments}", dump)

    def anew() -> None:
        ground.drop(again)
        ground.create(targets.target(again).name, target.name)

    by_hand = "`pg_dump`, `pg_restore --file=/dev/null`"
    yield _backup(ground, "PostgreSQL", url, by_hand, verified, "`pg_dump`", raw)
    yield _restore("PostgreSQL", url, f"{by_hand}; `pg_restore`", restored)
    yield _reset("PostgreSQL", again, anew)
    for done in (url, again):
        ground.drop(done)


def _backup(ground: Ground, dialect: str, url: str, name: str, verified: Work, raw_name: str, raw: Work) -> str:
    ours, by_hand, unverified = alternate(ROUNDS, lambda: pharmdb.backup(url), verified, raw)
    baselines = (Baseline(name, by_hand, 1.1), Baseline(f"{raw_name}, unverified", unverified, 3.5))
    return line(f"backup of {ground.attempts:,} attempts, {dialect}, verified", ours, *baselines)


def _restore(dialect: str, url: str, name: str, restored: Work) -> str:
    ours, by_hand = alternate(ROUNDS, lambda: pharmdb.restore(url), restored)
    return line(f"restore of it, {dialect}, after a backup of what it replaces", ours, Baseline(name, by_hand, 1.5))


def _reset(dialect: str, url: str, anew: Work) -> str:
    """`anew` makes the large database again, which a reset destroys."""
    ours, backups = alternate(ROUNDS, lambda: pharmdb.reset(url), lambda: pharmdb.backup(url), before=anew)
    return line(
        f"reset of it, {dialect}, after a backup", ours, Baseline("pharmdb's backup of it", backups, 1, more=0.5)
    )
