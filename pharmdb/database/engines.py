"""SQLAlchemy engines for reading, writing and schema changes, with their pragmas and timeouts."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    Connection,
    Engine,
    NullPool,
    create_engine,
    event,
)
from sqlalchemy.engine import URL

from pharmdb import settings
from pharmdb.database import postgresql_engines, sqlite_codes, sqlite_reading
from pharmdb.database.targets import Target


def engine_of(target: Target, *, write: bool, schema: bool = False) -> Engine:
    if target.is_sqlite:
        return _sqlite_engine(target.path, write=write, schema=schema)
    return _postgresql_engine(target.url, settings.lock_timeout(), write=write)


# An engine holds no connection, but caches the statements that it has compiled.
@lru_cache(maxsize=64)
def _sqlite_engine(path: Path, *, write: bool, schema: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        if not write:
            connection = sqlite_reading.connect(path, settings.lock_timeout())
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA query_only = ON")
            return connection
        if schema and not path.exists():
            # SQLite would let everybody read it. If this fails, SQLite says why.
            with suppress(OSError):
                os.close(settings.open_private(path, 0))
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={'rwc' if schema else 'rw'}",
            uri=True,
            isolation_level=None,
            timeout=settings.lock_timeout(),
        )
        # isolation_level=None: we send BEGIN and COMMIT ourselves, so that DDL is part of the transaction.
        connection.execute(f"PRAGMA foreign_keys = {'OFF' if schema else 'ON'}")
        if not path.stat().st_size:
            _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        # 64 MiB instead of 2: inserts that are scattered over an index would read and write its pages repeatedly.
        connection.execute("PRAGMA cache_size = -65536")
        # Otherwise dropping a large table overwrites each of its pages with zeros.
        connection.execute("PRAGMA secure_delete = FAST")
        return connection

    # hide_parameters: error messages never contain row values, which may be password hashes.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def turn_to_wal(path: Path) -> None:
    """Switches the file to WAL mode. Raises sqlite3.OperationalError if another connection is using the file."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=0)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _use_wal(connection: sqlite3.Connection) -> None:
    """In WAL mode readers never wait. The switch ignores the busy timeout, so it is retried here."""
    deadline = time.monotonic() + settings.lock_timeout()
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if not sqlite_codes.is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@lru_cache(maxsize=64)
def _postgresql_engine(url: URL, seconds: float, *, write: bool) -> Engine:
    return postgresql_engines.make(url, seconds, write=write)
