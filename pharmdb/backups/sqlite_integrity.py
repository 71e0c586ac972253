"""The integrity of an SQLite file and the equality of a copy with its source, checked on all cores at once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

from pharmdb.backups.sqlite_copies import open_sqlite
from pharmdb.database import sqlite_codes

T = TypeVar("T")

# A smaller file is checked in milliseconds: several connections would take longer.
SMALL = 8 * 2**20
# With fewer rows, about, a table's indexes are checked at once; with more in parts, so that all cores end together.
MANY = 50_000
PARTS = 4
# One more than there are cores, because flushing a file is waiting for the disk.
WORKERS = min(4, os.cpu_count() or 1) + 1
# Steps of a statement, a few milliseconds, after which it looks whether it is to end.
_STEPS = 100_000


class SideBySide:
    """Work in threads, because SQLite and hashlib release the GIL; an error or an interrupt ends all of it at once."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS)
        self._ended = False
        self._checks: list[Future[list[str]]] = []

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._ended = kind is not None
        self._pool.shutdown(cancel_futures=True)

    def begin(self, work: Callable[[], T]) -> Future[T]:
        return self._pool.submit(work)

    def check(self, work: Callable[[], list[str]]) -> None:
        """Begins work that returns findings."""
        self._checks.append(self._pool.submit(_damage_found, work))

    def findings(self) -> list[str]:
        """The findings of all checks, once they have ended; raises the first other error."""
        return [line for check in self._checks for line in check.result()]

    def watch(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Ends the connection's statements, too; returns the connection."""
        connection.set_progress_handler(lambda: self._ended, _STEPS)
        return connection

    @contextmanager
    def opened(self, path: Path) -> Iterator[sqlite3.Connection]:
        """A watched connection for reading."""
        with open_sqlite(path) as connection:
            yield self.watch(connection)


def _damage_found(work: Callable[[], list[str]]) -> list[str]:
    try:
        return work()
    except UnicodeDecodeError as error:
        # SQLite's own message quotes the damaged text.
        return [f"text that is not UTF-8: {error.object!r}"]
    except sqlite3.DatabaseError as error:
        # A locked file, or one without permission, is not a damaged one.
        if sqlite_codes.primary(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        return [str(error)]


def check_sqlite(path: Path) -> list[str]:
    """What `PRAGMA integrity_check` finds, the first five; empty for a sound file.

    A row that violates a constraint is not damage: the doctor reports it, and a copy keeps it unchanged. Raises
    sqlite3.Error if the file can't be read.
    """
    with SideBySide() as side:
        begin_checks(side, path)
        return side.findings()[:5]


def begin_checks(side: SideBySide, path: Path) -> None:
    """Begins checks that together find what `PRAGMA integrity_check` finds, and whose findings `side` collects.

    Of a large file, one check is of all its pages and rows: `PRAGMA quick_check`, which leaves out the indexes only.
    The indexes of a table are checked by `PRAGMA integrity_check(table)`, or in parts if the table is a large one.
    """
    whole, large = [Pragma("integrity_check")], list[Index]()
    # What can't be read to plan parts is checked as a whole, which tells what is wrong with it.
    with suppress(OSError, UnicodeError, sqlite3.DatabaseError):
        if path.stat().st_size >= SMALL:
            whole, large = _plan(side, path)
    side.check(partial(_run, side, path, whole))
    for index in large:
        for part in range(PARTS):
            side.check(partial(_missing, side, path, index, part))
        side.check(partial(_surplus, side, path, index))


def _plan(side: SideBySide, path: Path) -> tuple[list[Pragma], list[Index]]:
    with side.opened(path) as connection:
        tables = _tables(connection)
        found = {name: _large_indexes(connection, name) for name, is_plain in tables.items() if is_plain}
    rest = [Pragma("integrity_check", name) for name in tables if not found.get(name)]
    return [Pragma("quick_check"), *rest], [index for indexes in found.values() for index in indexes]


class Pragma(NamedTuple):
    name: str
    table: str = ""

    def __str__(self) -> str:
        return f"PRAGMA {self.name}({quoted(self.table)})" if self.table else f"PRAGMA {self.name}"


class Index(NamedTuple):
    """An index that holds one entry for each row of its table, and nothing but values of that row.

    `columns` and `collations` belong together; `rowid` is a name of the row's number, `last` the last column; `bounds`
    divide the rows into parts.
    """

    name: str
    table: str
    rowid: str
    last: str
    columns: tuple[str, ...]
    collations: tuple[str, ...]
    bounds: tuple[int, ...]


def _run(side: SideBySide, path: Path, pragmas: list[Pragma]) -> list[str]:
    with side.opened(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        lines = [row[0].decode(errors="replace") for pragma in pragmas for row in connection.execute(str(pragma))]
    return [line for line in lines if line != "ok" and not _is_broken_rule(line)]


def _is_broken_rule(line: str) -> bool:
    """Whether a line of the integrity check is about a NULL in a NOT NULL column.

    The pragma returns only lines of text, and it can be told to skip CHECK constraints only.
    """
    return line.startswith("NULL value in ")


def _tables(connection: sqlite3.Connection) -> dict[str, bool]:
    """Each table, and whether it has rowids and only columns that are stored."""
    rows = connection.execute(
        "SELECT name, type IN ('table', 'shadow') AND NOT wr AND NOT EXISTS "
        "(SELECT 1 FROM pragma_table_xinfo(t.name) WHERE hidden) FROM pragma_table_list AS t "
        "WHERE schema = 'main' AND type <> 'view' AND name NOT IN ('sqlite_schema', 'sqlite_temp_schema')"
    )
    return {name.decode(): bool(is_plain) for name, is_plain in rows}


def _large_indexes(connection: sqlite3.Connection, table: str) -> list[Index]:
    """The indexes of a large table, if each of them can be checked in parts; otherwise none."""
    listed = connection.execute('SELECT name, "unique" OR partial FROM pragma_index_list(?)', (table,)).fetchall()
    if not listed or any(is_special for _, is_special in listed):
        return []
    columns = [row[0].decode() for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    number = rowid(columns)
    low, high = connection.execute(f"SELECT min({number}), max({number}) FROM main.{quoted(table)}").fetchone()
    if low is None or high - low < MANY:
        return []
    bounds = tuple(low + (high - low) * part // PARTS for part in range(1, PARTS))
    found = []
    for name, _ in listed:
        parts = connection.execute(
            "SELECT name, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno", (name.decode(),)
        ).fetchall()
        if any(column is None for column, _ in parts):  # an expression
            return []
        names, collations = (tuple(part[n].decode() for part in parts) for n in (0, 1))
        found.append(Index(name.decode(), table, number, columns[-1], names, collations, bounds))
    return found


def _missing(side: SideBySide, path: Path, index: Index, part: int) -> list[str]:
    """Whether the index lacks a row of this part; reads the last column of each row, and so its whole header."""
    low, high = (-(2**63), *index.bounds)[part], (*(bound - 1 for bound in index.bounds), 2**63 - 1)[part]
    same = " AND ".join(
        f"b.{quoted(column)} COLLATE {quoted(collation)} IS a.{quoted(column)}"
        for column, collation in zip(index.columns, index.collations, strict=True)
    )
    with side.opened(path) as connection:
        missing = connection.execute(
            f"SELECT a.{index.rowid} FROM main.{quoted(index.table)} AS a NOT INDEXED "
            f"LEFT JOIN main.{quoted(index.table)} AS b INDEXED BY {quoted(index.name)} "
            f"ON {same} AND b.{index.rowid} = a.{index.rowid} WHERE a.{index.rowid} BETWEEN ? AND ? "
            f"AND (b.{index.rowid} IS NULL OR typeof(a.{quoted(index.last)}) = '') LIMIT 1",
            (low, high),
        ).fetchall()
    return [f"row {number} missing from index {index.name}" for (number,) in missing]


def _surplus(side: SideBySide, path: Path, index: Index) -> list[str]:
    """Whether the index has more entries than its table has rows."""
    table = f"main.{quoted(index.table)}"
    with side.opened(path) as connection:
        # For count(*) SQLite reads the index of its own choice, or none.
        ((rows, entries),) = connection.execute(
            f"SELECT (SELECT count(*) FROM {table} NOT INDEXED), "
            f"(SELECT total(1) FROM {table} INDEXED BY {quoted(index.name)})"
        )
    return [] if rows == entries else [f"wrong # of entries in index {index.name}"]


def compare_sqlite(snapshot: sqlite3.Connection) -> list[str]:
    """The differences in schema and rows between the attached copy and the snapshot; empty for an exact copy."""
    entries = "SELECT type, name, tbl_name, sql FROM {}.sqlite_master"
    one_way, other = (
        entries.format(x) + " EXCEPT " + entries.format(y) for x, y in (("main", "copy"), ("copy", "main"))
    )
    found = ["a copy that differs: its schema"] if [*snapshot.execute(one_way), *snapshot.execute(other)] else []
    for name, has_rowid in _stored(snapshot) if not found else ():
        table = quoted(name)
        columns = [row[1].decode() for row in snapshot.execute(f"PRAGMA main.table_info({table})")]
        key = [rowid(columns)] if has_rowid else columns
        same = " AND ".join(f"a.{quoted(column)} IS b.{quoted(column)}" for column in columns)
        joined = " AND ".join(f"a.{quoted(column)} IS b.{quoted(column)}" for column in key)
        different = snapshot.execute(
            f"SELECT EXISTS (SELECT 1 FROM main.{table} AS a LEFT JOIN copy.{table} AS b ON {joined} "
            f"WHERE NOT ({same})) OR (SELECT count(*) FROM main.{table}) <> (SELECT count(*) FROM copy.{table})"
        ).fetchone()
        if different[0]:
            found.append(f"a copy that differs: the rows in {name}")
    return found


def count_sqlite(snapshot: sqlite3.Connection) -> dict[str, int]:
    """The number of rows in each table."""
    return {
        name: snapshot.execute(f"SELECT count(*) FROM main.{quoted(name)}").fetchone()[0]
        for name, _ in _stored(snapshot)
        if not name.startswith("sqlite_")
    }


def _stored(snapshot: sqlite3.Connection) -> list[tuple[str, bool]]:
    """The name of each table that stores rows, and whether it has a rowid."""
    rows = snapshot.execute("SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
    kept = ("sqlite_schema", "sqlite_temp_schema")
    return [(n.decode(), not wr) for n, kind, wr in rows if kind in (b"table", b"shadow") and n.decode() not in kept]


def rowid(columns: list[str]) -> str:
    """A name of the row's number that is not the name of a column."""
    return next(name for name in ("_rowid_", "rowid", "oid") if name not in columns)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
