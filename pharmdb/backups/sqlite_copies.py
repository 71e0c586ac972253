"""Copies of an SQLite database: copy a snapshot, load a copy."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pharmdb import progress, settings
from pharmdb.database import sqlite_codes, sqlite_reading, targets
from pharmdb.errors import LockedError

# Pages per step of a copy; an interrupt takes effect between two steps.
STEP = 4096


@contextmanager
def open_sqlite(path: Path, mode: str = "ro") -> Iterator[sqlite3.Connection]:
    """A raw connection that returns text as bytes; several threads may use it, one at a time."""
    if mode == "ro":
        connection = sqlite_reading.connect(path, settings.lock_timeout(), of_one_thread=False)
    else:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=settings.lock_timeout(),
            check_same_thread=False,
        )
    connection.text_factory = bytes
    with closing(connection):
        yield connection


@contextmanager
def snapshot_sqlite(source: Path, copy: Path) -> Iterator[sqlite3.Connection]:
    """A connection that keeps one snapshot of the source, and has the copy attached as `copy`."""
    with open_sqlite(source) as connection:
        connection.execute("ATTACH ? AS copy", (f"file:{quote(str(copy))}?mode=ro",))
        connection.execute("BEGIN")
        # The snapshot begins with the first read.
        connection.execute("SELECT count(*) FROM main.sqlite_master").fetchone()
        yield connection


def copy_sqlite(snapshot: sqlite3.Connection, copy: Path) -> None:
    """Copies a snapshot with SQLite's online backup API, while others may write. The copy may not be on disk yet."""
    with open_sqlite(copy, "rwc") as target, progress.counting("back up", unit=" pages") as advance:
        patience, before = _deadline(), 0

        def look(status: int, remaining: int, total: int) -> None:
            nonlocal before
            patience(status, remaining, total)
            advance(total - remaining - before)
            before = total - remaining

        # Whoever keeps the copy flushes it once, instead of SQLite nine times.
        target.execute("PRAGMA synchronous = OFF")
        snapshot.backup(target, pages=STEP, progress=look)
        # The copy is a single file, without a -wal file that could get lost.
        target.execute("PRAGMA journal_mode = DELETE")


def _deadline() -> Any:
    """The backup API waits for a lock forever; this callback raises after the lock timeout."""
    limit = time.monotonic() + settings.lock_timeout()

    def wait(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > limit:
            raise sqlite_codes.busy()

    return wait


def load_sqlite(
    copy: Path,
    target: Path,
    seen: int | None,
    monitor: sqlite3.Connection | None,
    opened: Callable[[], None] = lambda: None,
) -> bool:
    """Overwrites the target with the copy in one transaction; other connections see the old or the new content.

    `seen` is the data_version of the target, read on `monitor`. If somebody has written since, the target stays
    unchanged and the result is False. `opened` is called once the copy is open, before anything is written.
    """

    class WrittenSinceError(Exception):
        pass

    patience = _deadline()
    checked, before = False, 0

    def look(status: int, remaining: int, total: int) -> None:
        nonlocal checked, before
        patience(status, remaining, total)
        advance(total - remaining - before)
        before = total - remaining
        # The target is locked from the first page on, so it can't change after this check.
        if total and not checked and monitor is not None:
            checked = True
            if data_version(monitor) != seen:
                raise WrittenSinceError

    with (
        open_sqlite(copy) as source,
        open_sqlite(target, "rwc") as destination,
        progress.counting("restore", unit=" pages") as advance,
    ):
        source.execute("BEGIN")
        destination.execute("PRAGMA busy_timeout = 100")
        try:
            # If the first step were the last, the check would come too late.
            pages = source.execute("PRAGMA page_count").fetchone()[0]
            opened()
            source.backup(destination, pages=max(1, min(STEP, pages // 2)), progress=look, sleep=0.05)
        except WrittenSinceError:
            return False
    return True


def page_size(path: Path) -> int:
    """The size of a page in bytes."""
    with open_sqlite(path) as connection:
        size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    return size


def resize_sqlite(source: Path, copy: Path, size: int) -> None:
    """Copies a database into an empty file with another page size; unlike VACUUM, this keeps the rowids."""
    with open_sqlite(source) as connection:
        connection.execute(f"PRAGMA page_size = {size}")
        connection.execute("VACUUM INTO ?", (str(copy),))


def data_version(connection: sqlite3.Connection) -> int:
    """Changes whenever another connection commits."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def locked_error(target: targets.Target) -> LockedError:
    return LockedError(
        expected=f"{target} to stay unchanged between its backup and the restore",
        found="other processes kept writing to it",
        note="stop the processes that write to it, then run the same command again",
    )
