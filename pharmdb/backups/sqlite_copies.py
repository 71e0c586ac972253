"""Copies of an SQLite database: taken from a snapshot, checked, compared, loaded back."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pharmdb import progress, settings
from pharmdb.database import sqlite_codes, targets
from pharmdb.errors import LockedError

# Pages that are copied at once; between two such steps an interrupt is heard.
STEP = 4096


@contextmanager
def open_sqlite(path: Path, mode: str = "ro") -> Iterator[sqlite3.Connection]:
    """A raw connection that sees text as bytes; another thread may use it, one at a time."""
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
        # The snapshot begins with the first look.
        connection.execute("SELECT count(*) FROM main.sqlite_master").fetchone()
        yield connection


def copy_sqlite(snapshot: sqlite3.Connection, copy: Path) -> None:
    """Copies a snapshot by the online backup API while others write."""
    with open_sqlite(copy, "rwc") as target, progress.counting("back up", unit=" pages") as advance:
        patience, before = _deadline(), 0

        def look(status: int, remaining: int, total: int) -> None:
            nonlocal before
            patience(status, remaining, total)
            advance(total - remaining - before)
            before = total - remaining

        snapshot.backup(target, pages=STEP, progress=look)
        # The copy is one file: no -wal beside it that could be lost.
        target.execute("PRAGMA journal_mode = DELETE")


def _deadline() -> Any:
    """The backup API waits for a lock without end; this ends it."""
    limit = time.monotonic() + settings.lock_timeout()

    def wait(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > limit:
            raise sqlite_codes.busy()

    return wait


def check_sqlite(path: Path) -> list[str]:
    """What `PRAGMA integrity_check` finds; empty for a sound file. Raises sqlite3.Error where it can't be read.

    A row that breaks a rule of its table is no damage: the doctor tells of it, and a copy keeps it as it is.
    """
    try:
        with open_sqlite(path) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            lines = [row[0].decode() for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        # A locked file, or one without permission, is not a damaged one.
        if sqlite_codes.primary(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        return [str(error)]
    return [line for line in lines if line != "ok" and not _is_broken_rule(line)][:5]


def _is_broken_rule(line: str) -> bool:
    """Whether a line of the check is about a NULL in a column that takes none.

    The pragma answers in lines of text alone, and only checks can be left out of it.
    """
    return line.startswith("NULL value in ")


def compare_sqlite(snapshot: sqlite3.Connection) -> list[str]:
    """Where schema or rows of the attached copy differ from the snapshot; empty for a true copy."""
    entries = "SELECT type, name, tbl_name, sql FROM {}.sqlite_master"
    one_way, other = (
        entries.format(x) + " EXCEPT " + entries.format(y) for x, y in (("main", "copy"), ("copy", "main"))
    )
    found = ["a copy that differs: another schema"] if [*snapshot.execute(one_way), *snapshot.execute(other)] else []
    for name, has_rowid in _tables(snapshot) if not found else ():
        table = _quoted(name)
        columns = [row[1].decode() for row in snapshot.execute(f"PRAGMA main.table_info({table})")]
        key = [next(c for c in ("_rowid_", "rowid", "oid") if c not in columns)] if has_rowid else columns
        same = " AND ".join(f"a.{_quoted(column)} IS b.{_quoted(column)}" for column in columns)
        joined = " AND ".join(f"a.{_quoted(column)} IS b.{_quoted(column)}" for column in key)
        different = snapshot.execute(
            f"SELECT EXISTS (SELECT 1 FROM main.{table} AS a LEFT JOIN copy.{table} AS b ON {joined} "
            f"WHERE NOT ({same})) OR (SELECT count(*) FROM main.{table}) <> (SELECT count(*) FROM copy.{table})"
        ).fetchone()
        if different[0]:
            found.append(f"a copy that differs: other rows in {name}")
    return found


def count_sqlite(snapshot: sqlite3.Connection) -> dict[str, int]:
    """The rows of each table."""
    return {
        name: snapshot.execute(f"SELECT count(*) FROM main.{_quoted(name)}").fetchone()[0]
        for name, _ in _tables(snapshot)
        if not name.startswith("sqlite_")
    }


def _tables(snapshot: sqlite3.Connection) -> list[tuple[str, bool]]:
    """Name of each table that stores rows, and whether they have a rowid."""
    rows = snapshot.execute("SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
    kept = ("sqlite_schema", "sqlite_temp_schema")
    return [(n.decode(), not wr) for n, kind, wr in rows if kind in (b"table", b"shadow") and n.decode() not in kept]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def load_sqlite(copy: Path, target: Path, seen: int | None, monitor: sqlite3.Connection | None) -> bool:
    """Overwrites the target with the copy in one transaction; other connections see the old or the new one.

    `monitor` saw the target at data_version `seen`. Where somebody has written since, nothing is done: False.
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
        # From the first page on the target is locked, so this look is the last word.
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
            # One page a step: the first step must not be the last, or the look would come too late.
            source.backup(destination, pages=1, progress=look, sleep=0.05)
        except WrittenSinceError:
            return False
    return True


def data_version(connection: sqlite3.Connection) -> int:
    """Changes whenever another connection commits."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def locked_error(target: targets.Target) -> LockedError:
    return LockedError(
        expected=f"{target} to hold still between its backup and the restore",
        found="other processes kept writing to it",
        note="stop what writes to it, then run the same command again",
    )
