"""One snapshot to read, one transaction to write: every access to a database goes through here."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from sqlalchemy import (
    Connection,
    exc,
)

from pharmdb.database import dialect, driver_errors, engines, locks, targets
from pharmdb.database.targets import Target
from pharmdb.errors import LostConnectionError, PharmdbError


@contextmanager
def reading(target: Target) -> Iterator[Connection]:
    """One snapshot on a connection that can't write.

    Raises UnavailableError if there is no such database, or none that answers.
    """
    with watching(target) as connection:
        target.dialect.wait_for_schema(connection)
        yield connection


@contextmanager
def watching(target: Target) -> Iterator[Connection]:
    """As `reading`, but without waiting for a schema change: to see who holds a lock, not what is in a table."""
    with _transaction(target, write=False) as connection:
        yield connection


@contextmanager
def writing(target: Target) -> Iterator[Connection]:
    """One write transaction: committed at the end, rolled back on any error. The database must exist.

    On SQLite it begins IMMEDIATE: a transaction that reads first and then writes can't be locked out.
    """
    with _transaction(target, write=True) as connection:
        yield connection


@contextmanager
def keeping(target: Target, *, autocommit: bool = False) -> Iterator[Callable[[], AbstractContextManager[Connection]]]:
    """As many write transactions as the caller begins, one after the other, over one connection.

    Gives what `writing` is for one: `with keeping(target) as transaction: with transaction() as connection: …`.
    With `autocommit` nothing is begun: a single statement of plain's is a transaction of its own, and takes one
    journey to a server in place of three.
    """
    engine = engines.engine_of(target, write=True)
    if autocommit:
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    with driver_errors.explaining(target), engine.connect() as kept:
        file = _file(target)

        @contextmanager
        def transaction() -> Iterator[Connection]:
            nonlocal kept, file
            now = _file(target)
            with driver_errors.explaining(target, there=now is not None):
                # Where another file has its name now, what is written to the old one would be lost.
                if file != now or is_lost(kept):
                    if not kept.closed:
                        kept.invalidate()
                    kept, file = engine.connect(), now
                if autocommit:
                    with _answered(target, kept):
                        yield kept
                    return
                kept.begin()
                try:
                    yield kept
                    with _answered(target, kept):
                        kept.commit()
                except BaseException:
                    if not is_lost(kept):
                        kept.rollback()
                    raise

        try:
            yield transaction
        finally:
            kept.close()


def _file(target: Target) -> tuple[int, int] | None:
    if not target.is_sqlite:
        return None
    try:
        found = target.path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def changing_schema(target: Target) -> Iterator[Connection]:
    """One write transaction that may change the schema; makes the SQLite file if there is none.

    Only one runs at a time. On SQLite foreign keys are off, because dropping or rebuilding a table would delete its
    children, and are checked before the commit.

    Raises PharmdbError if a row's owner is missing at the end; everything is then rolled back.
    """
    if target.in_own_folder:
        target.path.parent.mkdir(parents=True, exist_ok=True)
    with _transaction(target, write=True, schema=True) as connection:
        locks.take_advisory_lock(connection)
        yield connection
        check_foreign_keys(connection)
    if target.is_sqlite:
        # An older file is turned to WAL once it is ours: one that was refused keeps its every byte. Where somebody
        # reads just now, the next change of the schema tries again.
        with suppress(sqlite3.OperationalError):
            engines.turn_to_wal(target.path)


def check_foreign_keys(connection: Connection) -> None:
    """Raises PharmdbError if a row's owner is missing. PostgreSQL needs no such check: it never lets one in."""
    broken = dialect.of(connection).broken_keys(connection)
    if broken:
        rows = ", ".join(f"{table} row {rowid}" for table, rowid in broken[:5])
        raise PharmdbError(
            expected="every row's user_id names a user",
            found=f"{len(broken)} row(s) without one: {rows}",
            unchanged="everything was rolled back",
            note="delete these rows or restore their users, then run the same command again",
        )


@contextmanager
def _transaction(target: Target, *, write: bool, schema: bool = False) -> Iterator[Connection]:
    with (
        driver_errors.explaining(target),
        engines.engine_of(target, write=write, schema=schema).connect() as connection,
    ):
        connection.begin()
        yield connection
        if write:
            with _answered(target, connection):
                connection.commit()


def is_lost(connection: Connection) -> bool:
    # Of one that is closed or invalidated there is no driver's connection to ask.
    gone = connection.closed or connection.invalidated
    return gone or getattr(connection.connection.driver_connection, "closed", False)


@contextmanager
def _answered(target: Target, connection: Connection) -> Iterator[None]:
    """For a COMMIT: where the server is lost before it has answered, nobody knows whether it was carried out."""
    try:
        yield
    except exc.DBAPIError as error:
        # A server that ends the session itself says so, and has rolled back.
        if getattr(error.orig, "sqlstate", None) or not is_lost(connection):
            raise
        raise LostConnectionError(
            expected=f"{target} to answer to a COMMIT",
            found=str(error.orig).splitlines()[0],
            unchanged="not known: what was under way is written as a whole, or nothing of it",
            command=targets.command(target, "pharmdb inspect"),
            note="look with it whether it is there, once the server answers, before you do it again",
        ) from error
