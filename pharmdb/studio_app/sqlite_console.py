"""The console's statements on SQLite, with an authorizer that checks every table, column and function they use."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from pharmdb.schema import bookkeeping
from pharmdb.studio_app import rights, values
from pharmdb.studio_app.statement_log import MASKED, is_secret, mask_hashes
from pharmdb.studio_app.statements import Result, Typed

_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
# They contain samples of column values, or whole pages.
_RAW = ("sqlite_dbpage", "sqlite_stat3", "sqlite_stat4")
_WRITES = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)


def _authorizer(writes: bool, guarded: set[str]) -> Callable[..., int]:
    """An authorizer, which SQLite asks about every table, column and function that a statement uses."""

    def allowed(action: int, first: str | None, second: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_READ:
            if (first or "").lower() in _RAW:
                return sqlite3.SQLITE_DENY
            # SQLite reads NULL in place of a secret, however the statement refers to it.
            return sqlite3.SQLITE_IGNORE if is_secret(second or "", first or "") else sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if rights.HARMFUL.fullmatch(second or "") else sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_PRAGMA:
            assigned = second is not None and first in ("journal_mode", "user_version", "page_size", "foreign_keys")
            return sqlite3.SQLITE_OK if first in rights.PRAGMAS and not assigned else sqlite3.SQLITE_DENY
        if action in _WRITES:
            own = first in bookkeeping.BOOKKEEPING_TABLES or (first or "").startswith("sqlite_")
            # An inserted row would contain its password in clear text.
            secret = (action == sqlite3.SQLITE_UPDATE and is_secret(second or "", first or "")) or (
                action == sqlite3.SQLITE_INSERT and (first or "").lower() in guarded
            )
            return sqlite3.SQLITE_OK if writes and not own and not secret else sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY

    return allowed


def run(driver: sqlite3.Connection, typed: Typed, *, plan: bool, writes: bool, seconds: float) -> Result:
    """Runs a statement, or with `plan` returns its query plan. The caller's timer cancels it after `seconds`."""
    columns = driver.execute(
        "SELECT s.name, c.name FROM sqlite_schema s, pragma_table_xinfo(s.name) c WHERE s.type = 'table'"
    ).fetchall()
    guarded = {table.lower() for table, name in columns if is_secret(name, table)}
    driver.set_authorizer(_authorizer(writes, guarded))
    try:
        return _result_of(driver, typed, plan)
    finally:
        # Otherwise ending the transaction would be refused too.
        driver.set_authorizer(None)


def _result_of(driver: sqlite3.Connection, typed: Typed, plan: bool) -> Result:
    if plan:
        rows = driver.execute(f"EXPLAIN QUERY PLAN {typed.text}", typed.values).fetchall()
        depth = {0: -1}
        lines = []
        for number, parent, _, detail in rows:
            depth[number] = depth.get(parent, -1) + 1
            lines.append("  " * depth[number] + detail)
        return Result([], [], False, None, 0, "\n".join(lines))
    cursor = driver.execute(typed.text, typed.values)
    if cursor.description is None:
        return Result([], [], False, cursor.rowcount, 0)
    names = [column[0] for column in cursor.description]
    found = cursor.fetchmany(typed.most + 1)
    rows = [[_shown(name, value) for name, value in zip(names, row, strict=True)] for row in found[: typed.most]]
    # Any value may have any type, so the values decide.
    numeric = [_are_numbers(row[n] for row in found) for n in range(len(names))]
    changed = cursor.rowcount if cursor.rowcount >= 0 else None
    return Result(names, rows, len(found) > typed.most, changed, 0, numeric=numeric)


def _are_numbers(values: Iterable[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) for value in known)


def _shown(name: str, value: Any) -> str | None:
    text = values.shown(value, "any")
    if is_secret(name):
        return MASKED
    return None if text is None else mask_hashes(text)
