"""Reverts a save: the opposite of each of its changes, checked for conflicts and saved like staged ones."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pharmdb.database import targets
from pharmdb.errors import ParameterError
from pharmdb.studio_app import cells, editing, lost_rows, save_log, values
from pharmdb.studio_app.catalogue import Catalogue, Table
from pharmdb.studio_app.changes import Change, Saved
from pharmdb.studio_app.statement_log import MASKED, StatementLog

# More rows come back faster from a backup.
MOST_ROWS = 20_000


@dataclass(frozen=True)
class Reverted:
    """`saved`: as of a save; with problems nothing was reverted. `passwords`: the rows whose password is a new one."""

    saved: Saved
    rows: int
    passwords: list[str]


def revert(
    target: targets.Target,
    tables: Catalogue,
    save: str,
    statement_log: StatementLog,
    *,
    unlocked: bool = False,
    log: Path,
) -> Reverted:
    """Reverts one save in one transaction, or nothing of it; a row that was changed since is a conflict.

    A password can't come back: a user that was deleted gets a random one, and a new password stays.
    Raises ParameterError for a save that can't be reverted, UnavailableError if its deleted rows are not there, and
    what `editing.save` raises.
    """
    entry = _entry(target, save, log)
    if len(entry["changes"]) + sum((entry.get("lost") or {}).values()) > MOST_ROWS:
        raise _refused(f"more than {MOST_ROWS:,} rows", "restore the backup that was made before the save")
    found: list[Change] = []
    passwords: list[str] = []
    for change in _opposites(tables, entry, log):
        found.append(change)
        if change.password is not None:
            passwords.append(f"{change.table} {change.values.get('email') or change.values.get('id')}")
    if not found:
        raise _refused("a save of passwords only", "set the password again")
    staged = f"revert {save}"
    saved = editing.save(target, tables, found, statement_log, unlocked=unlocked, log=log, staged=staged, reverts=save)
    return Reverted(saved, len(found), passwords)


def _entry(target: targets.Target, save: str, log: Path) -> dict[str, Any]:
    own = [e for e in save_log.saves(target, limit=save_log.ALL, log=log) if e.get("save") == save]
    if not own or "changes" not in own[0]:
        raise _refused("a statement, or no save of this database", "restore a backup")
    if own[0]["state"] != "saved":
        raise _refused("a save whose outcome is unknown", "compare its rows in the log")
    if own[0].get("reverted"):
        raise _refused("a save that was reverted already", "revert the revert")
    return own[0]


def _refused(found: str, note: str) -> ParameterError:
    return ParameterError(expected="a save that can be reverted", found=found, note=note)


def _opposites(tables: Catalogue, entry: dict[str, Any], log: Path) -> Iterator[Change]:
    """The opposite changes, the last one first; after a deleted row come the rows that it took along."""
    taken: dict[int, list[dict[str, Any]]] = {}
    if entry.get("lost"):
        lines = lost_rows.kept(log, entry["save"])
        taken = {number: list(each) for number, each in groupby(lines, key=lambda line: line["change"])}
    number = 0
    for each in reversed(entry["changes"]):
        if each["table"] not in tables:
            raise _refused(f"a change of {each['table']}, which does not exist any more", "restore a backup")
        table = tables[each["table"]]
        also = taken.get(each.get("change", -1), ())
        for change in [_opposite(table, each), *(_again(tables[line["table"]], line["row"]) for line in also)]:
            if change is not None:
                number += 1
                yield _numbered(change, number)


def _numbered(change: Change, number: int) -> Change:
    return Change(number, change.kind, change.table, change.key, change.values, change.before, change.password)


def _opposite(table: Table, each: dict[str, Any]) -> Change | None:
    if each["kind"] == "delete":
        return _again(table, each["before"])
    key = tuple(_wire(table, name, text) for name, text in zip(table.key, each["key"], strict=True))
    now = {name: cells.of_text(text) for name, text in each["after"].items() if _is_known(table, name)}
    if each["kind"] == "insert":
        return Change(0, "delete", table.name, key, before=now)
    before = {name: text for name, text in each["before"].items() if _is_known(table, name)}
    return Change(0, "update", table.name, key, values=before, before=now) if before else None


def _again(table: Table, row: dict[str, str | None]) -> Change:
    """A deleted row as a new one, with its old key."""
    given = {name: text for name, text in row.items() if _is_known(table, name) and not table.columns[name].generated}
    if masked := [name for name, text in given.items() if text is not None and MASKED in text]:
        raise _refused(f"a row of {table.name} whose {masked[0]} the log has only in part", "restore a backup")
    has_password = any(c.is_password for c in table.columns.values())
    return Change(0, "insert", table.name, values=given, password=secrets.token_urlsafe(24) if has_password else None)


def _is_known(table: Table, name: str) -> bool:
    return name in table.columns and not table.columns[name].secret


def _wire(table: Table, name: str, text: str | None) -> str | None:
    return None if text is None else values.to_wire(table.columns[name].parsed(text))
