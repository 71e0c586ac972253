"""One snapshot for reading, one transaction for writing: every access to a database goes through this module."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from sqlalchemy import (
    Connection,
    exc,
)

from pharmdb import settings
from pharmdb.database import dialect, driver_errors, engines, locks, postgresql_engines, targets
from pharmdb.database.targets import Target
from pharmdb.errors import LostConnectionError, PharmdbError


@contextmanager
def reading(target: Target) -> Iterator[Connection]:
    """One snapshot on a read-only connection.

    Raises UnavailableError if the database does not exist or does not respond.
    """
    with watching(target) as connection:
        target.dialect.wait_for_schema(connection)
        yield connection


@contextmanager
def watching(target: Target) -> Iterator[Connection]:
    """Like `reading`, but without waiting for a schema change: for looking at locks, not at the content of tables."""
    with _transaction(target, write=False) as connection:
        yield connection


@contextmanager
def copying(target: Target) -> Iterator[Connection]:
    """Like `reading`, for a copy of the whole database: no schema change runs meanwhile.

    Raises BackupError behind a connection pooler.
    """
    with (
        driver_errors.explaining(target),
        engines.engine_of(target, write=False).connect() as connection,
    ):
        postgresql_engines.refuse_pooler(connection, target)
        with connection.begin():
            locks.exclude_schema_changes(connection)
        connection.begin()
        target.dialect.wait_for_schema(connection)
        yield connection


@contextmanager
def writing(target: Target) -> Iterator[Connection]:
    """One write transaction: committed at the end, rolled back on any error. The database must exist.

    On SQLite it is a BEGIN IMMEDIATE: a deferred transaction that reads first can fail to get the write lock later.
    """
    with _transaction(target, write=True) as connection:
        yield connection


@contextmanager
def keeping(target: Target, *, autocommit: bool = False) -> Iterator[Callable[[], AbstractContextManager[Connection]]]:
    """Any number of write transactions, one after the other, over one kept connection.

    Yields a function like `writing`: `with keeping(target) as transaction: with transaction() as connection: …`.
    With `autocommit` no transaction is begun: each statement is its own transaction and takes one round trip to the
    server instead of three. Behind a connection pooler and on a Citus cluster there are transactions all the same, for
    their settings.
    """
    engine = engines.engine_of(target, write=True)
    if autocommit:
        with driver_errors.explaining(target), engine.connect() as first:
            autocommit = postgresql_engines.keeps_settings(first)
    if autocommit:
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    with driver_errors.explaining(target), engine.connect() as kept:
        file = _file(target)

        @contextmanager
        def transaction() -> Iterator[Connection]:
            nonlocal kept, file
            now = _file(target)
            with driver_errors.explaining(target, there=now is not None):
                # If the path now refers to another file, writes to the old one would be lost.
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
    """One write transaction that may change the schema; creates the SQLite file if it is missing.

    Only one runs at a time. On SQLite foreign keys are off, because dropping or rebuilding a table would delete the
    child rows; they are checked before the commit.

    Raises PharmdbError if a row's owner is missing at the end; everything is then rolled back.
    """
    if target.in_own_folder:
        settings.make_private(target.path.parent)
    with _transaction(target, write=True, schema=True) as connection:
        locks.take_advisory_lock(connection)
        locks.exclude_copies(connection)
        yield connection
        check_foreign_keys(connection)
    if target.is_sqlite:
        # An existing file is switched to WAL only after success: a rejected one stays unchanged byte by byte. If
        # somebody is reading it now, the next schema change tries again.
        with suppress(sqlite3.OperationalError):
            engines.turn_to_wal(target.path)


def check_foreign_keys(connection: Connection) -> None:
    """Raises PharmdbError if a row's owner is missing. PostgreSQL needs no such check: it always enforces its keys."""
    broken = dialect.of(connection).broken_keys(connection)
    if broken:
        rows = ", ".join(f"{table} row {rowid}" for table, rowid in broken[:5])
        raise PharmdbError(
            expected="an existing user for every row's user_id",
            found=f"{len(broken)} row(s) without their user: {rows}",
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
    """Whether the connection is closed, by us or by the server."""
    # A closed or invalidated connection has no driver connection to ask.
    gone = connection.closed or connection.invalidated
    return gone or getattr(connection.connection.driver_connection, "closed", False)


# What a coordinator reports of a COMMIT on a node that ended meanwhile: Citus gives its own errors no better code.
_BY_NODE = ("08000", "08003", "08006", "57P01", "57P02", "XX000")


@contextmanager
def _answered(target: Target, connection: Connection) -> Iterator[None]:
    """Wraps a COMMIT: if the connection is lost before the server responds, the outcome is unknown."""
    try:
        yield
    except exc.DBAPIError as error:
        # A server that ends the session itself reports an SQLSTATE, and has rolled back. The coordinator of a cluster
        # reports one, too, if a node did not confirm its part, which may be all of the transaction.
        code = getattr(error.orig, "sqlstate", None)
        by_node = code in _BY_NODE and not is_lost(connection)
        if not by_node and (code or not is_lost(connection)):
            raise
        raise LostConnectionError(
            expected=f"{target} to confirm a COMMIT",
            found=str(error.orig).splitlines()[0],
            unchanged="unknown: the transaction was committed completely or not at all",
            command=targets.command(target, "pharmdb inspect"),
            note="once the server responds, use it to check whether the changes are there before you repeat them",
        ) from error
