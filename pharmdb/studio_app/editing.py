"""Saves staged changes in one transaction, all or none, and logs each save."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import column, delete, exc, insert, update
from sqlalchemy import table as sql_table

from pharmdb import settings
from pharmdb.database import environments, index_limits, servers, targets, transactions
from pharmdb.errors import ProtectedError, UnavailableError
from pharmdb.models import MODELS, User
from pharmdb.seeding.passwords import SHORTEST, hash_password, unfit
from pharmdb.studio_app import cells, last_administrator, lost_rows, rows, save_log, sessions, values, violations
from pharmdb.studio_app.cascading import cascades
from pharmdb.studio_app.catalogue import Catalogue, Table
from pharmdb.studio_app.changes import Change, Problem, Saved
from pharmdb.studio_app.statement_log import Session, StatementLog
from pharmdb.types import utcnow


class _NothingSavedError(Exception):
    """Rolls the transaction back."""


def save(
    target: targets.Target,
    tables: Catalogue,
    changes: Sequence[Change],
    statement_log: StatementLog,
    *,
    unlocked: bool = False,
    log: Path | None = None,
    staged: str = "",
    reverts: str = "",
) -> Saved:
    """Saves all changes in order in one transaction, or none of them.

    `staged` is the page's name for this set of changes. A set that was saved is never written again, whoever asks.
    `reverts` is the number of the save that these changes revert.

    Raises ProtectedError if the database is production and not unlocked, UnavailableError if the save can't be logged,
    and what `database.writing` raises.
    """
    with _one_at_a_time(staged):
        log = log or settings.statement_log()
        return _earlier(target, changes, staged, log) or _save(
            target, tables, changes, statement_log, unlocked, log, staged, reverts
        )


# The saves of this process: staged set → outcome.
_OUTCOMES: dict[tuple[str, str], Saved] = {}
_SAVING: dict[str, threading.Lock] = {}
_GUARD = threading.Lock()


@contextmanager
def _one_at_a_time(staged: str) -> Iterator[None]:
    if not staged:
        yield
        return
    with _GUARD:
        lock = _SAVING.setdefault(staged, threading.Lock())
    with lock:
        yield


def _earlier(target: targets.Target, changes: Sequence[Change], staged: str, log: Path) -> Saved | None:
    """The outcome of an earlier save of these staged changes, in this kernel or another; None if there was none."""
    if not staged:
        return None
    if (found := _OUTCOMES.get((str(target), staged))) is not None:
        return _again(found, changes)
    own = [e for e in save_log.entries_of(log) if e.get("staged") == staged and e.get("database") == str(target)]
    states = {entry["save"]: entry for entry in own}
    for entry in states.values():
        if entry["state"] == "saved":
            keys = {int(number): key for number, key in entry["keys"].items()}
            found = Saved([], keys, changes={int(number): digest for number, digest in entry["digests"].items()})
            return _again(found, changes)
        if entry["state"] == "saving":
            raise UnavailableError(
                expected="to know whether these changes were saved",
                found=f"a save of them that began at {entry['at']}, whose outcome was not logged",
                command=targets.command(target, f"pharmdb studio --model {entry['changes'][0]['table']}"),
            )
    return None


def _again(found: Saved, changes: Sequence[Change]) -> Saved:
    """The earlier outcome, for those changes that were saved with their present values."""
    now = {change.id: _digest(change) for change in changes}
    same = {number: digest for number, digest in found.changes.items() if now.get(number) == digest}
    differing = tuple(number for number in found.changes if number in now and number not in same)
    return replace(found, again=True, changes=same, differing=differing)


def _digest(change: Change) -> str:
    parts = [change.kind, change.table, list(change.key), change.values]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()[:16]


def _save(
    target: targets.Target,
    tables: Catalogue,
    changes: Sequence[Change],
    statement_log: StatementLog,
    unlocked: bool,
    log: Path,
    staged: str,
    reverts: str,
) -> Saved:
    problems: list[Problem] = []
    # Hashing is slow, so it is done before the lock is taken.
    prepared = [_prepared(tables, change, problems) for change in changes]
    if problems:
        return Saved(problems, {})
    keys: dict[int, list[str | None]] = {}
    number = secrets.token_hex(8)
    entry: dict[str, Any] = {}
    lost = lost_rows.LostRows(log, number)
    try:
        with transactions.writing(target) as connection, statement_log.watch(connection) as session:
            if not unlocked and environments.environment(connection) == "production":
                name = servers.server_name(connection, target)
                raise ProtectedError(
                    expected="an editable database",
                    found="production, which is read-only until it is unlocked",
                    note=f"type {name} where the studio asks for the database's name",
                )
            sessions.prepare(connection)
            administrators = last_administrator.locked(session, tables, changes)
            found = _checked(session, tables, changes, problems)
            if not problems:
                for change, new in zip(changes, prepared, strict=True):
                    if change.kind == "delete":
                        lost.collect(session, tables, tables[change.table], change.key, change.id)
                    _apply(session, tables[change.table], change, new, keys, problems)
            if not problems:
                problems.extend(last_administrator.problems(session, tables, changes, found, administrators))
            if problems:
                raise _NothingSavedError
            entries = [save_log.entry_of(tables[c.table], c, found.get(c.id), keys.get(c.id)) for c in changes]
            # Before the commit: a save that can't be logged is not made.
            lost.finish()
            entry = {"save": number, "staged": staged, **save_log.who(target)}
            more = {"changes": entries, "lost": lost.counted} | ({"reverts": reverts} if reverts else {})
            save_log.append(log, {**entry, "state": "saving", **more})
    except _NothingSavedError:
        lost.discard()
        return Saved(problems, {})
    except (exc.IntegrityError, exc.DataError, exc.ProgrammingError):
        # A constraint that is checked at the commit. If the connection was lost instead, the outcome is unknown.
        if entry:
            save_log.append_done(log, {**entry, "state": "failed", "at": save_log.now()})
        lost.discard()
        raise
    outcome = Saved([], keys, changes={change.id: _digest(change) for change in changes})
    if staged:
        _OUTCOMES[str(target), staged] = outcome
    # Committed: from here on, no error may suggest that it was not.
    warning = save_log.append_done(
        log, {**entry, "state": "saved", "at": save_log.now(), "keys": keys, "digests": outcome.changes}
    )
    return replace(outcome, warning=warning)


def _prepared(tables: Catalogue, change: Change, problems: list[Problem]) -> dict[str, Any]:
    """The values for the driver; a value that does not fit is added to `problems`."""
    table = tables[change.table]
    if table.why_read_only:
        problems.append(Problem(change.id, "", "unfit", table.why_read_only))
        return {}
    new: dict[str, Any] = {}
    for name, text in change.values.items():
        try:
            found = table.column(name)
            if not found.editable or found.is_password:
                raise values.UnfitError(f"{name} can't be edited here")
            if text is None and not found.nullable:
                raise values.UnfitError(f"{name} can't be empty")
            new[name] = None if text is None else found.parsed(text)
        except values.UnfitError as error:
            problems.append(Problem(change.id, name, "unfit", str(error)))
    password = next((c for c in table.columns.values() if c.is_password), None)
    if password is not None and change.password is not None:
        if len(change.password) < SHORTEST:
            sentence = f"a password must have at least {SHORTEST} characters"
            problems.append(Problem(change.id, password.name, "unfit", sentence))
        elif reason := unfit(change.password):
            problems.append(Problem(change.id, password.name, "unfit", f"unfit as a password: {reason}"))
        else:
            new[password.name] = hash_password(change.password)
    elif password is not None and change.kind == "insert":
        problems.append(Problem(change.id, password.name, "unfit", "a new user needs a password: type one here"))
    return new


def _checked(
    session: Session, tables: Catalogue, changes: Iterable[Change], problems: list[Problem]
) -> dict[int, Sequence[Any]]:
    """Reads and locks the rows; a value that differs from what was shown is added to `problems`."""
    found: dict[int, Sequence[Any]] = {}
    # Rows are locked in one fixed order, so that two editors can't deadlock.
    for change in sorted(changes, key=_lock_order):
        if change.kind == "insert":
            continue
        table = tables[change.table]
        row = rows.read_row(session, table, change.key, lock=True)
        if row is None:
            problems.append(Problem(change.id, "", "gone", "somebody else has deleted this row in the meantime"))
            continue
        found[change.id] = row
        for c, value in zip(table.columns.values(), row, strict=True):
            now = cells.cell(c, value)
            if c.name in change.before and not cells.same(change.before[c.name], now):
                sentence = f"somebody else has changed {c.name} in the meantime"
                problems.append(Problem(change.id, c.name, "conflict", sentence, now))
        if change.kind == "delete":
            taken = {f"{c.table}.{c.column}": c.rows for c in cascades(session, tables, table, [change.key])}
            if taken != change.cascade:
                sentence = f"the deletion would now affect {_counted(taken)}, not {_counted(change.cascade)}"
                problems.append(Problem(change.id, "", "conflict", sentence))
    return found


def _lock_order(change: Change) -> tuple[bool, str, list[tuple[int, str]]]:
    """Accounts come first, in the order of their ids, as the account command locks them."""
    key = [(len(part or ""), part or "") for part in change.key]
    return change.table != User.__tablename__, change.table, key


def _counted(taken: dict[str, int]) -> str:
    return ", ".join(f"{rows} of {name}" for name, rows in taken.items()) or "no other row"


def _apply(
    session: Session,
    table: Table,
    change: Change,
    new: dict[str, Any],
    keys: dict[int, list[str | None]],
    problems: list[Problem],
) -> None:
    clause = sql_table(table.name, *(column(name) for name in table.columns))
    bound: dict[str, Any] = {name: table.columns[name].bound(value) for name, value in new.items()}
    statement: Any
    if change.kind == "insert":
        statement = insert(clause).values(bound)
    elif change.kind == "delete":
        statement = delete(clause).where(rows.named(table, change.key))
    else:
        statement = update(clause).where(rows.named(table, change.key)).values(_touched(table, new) | bound)
    key = [name for name in table.key if name in table.columns]
    if change.kind != "delete":
        # Only the key: a time as text depends on the session, and Citus returns no such value.
        statement = statement.returning(*(table.columns[name].read for name in key or list(table.columns)[:1]))
    try:
        with session.connection.begin_nested():
            written = session.rows(statement) if change.kind != "delete" else []
            reached = session.connection.execute(statement).rowcount if change.kind == "delete" else len(written)
        if reached != 1:
            # A trigger may prevent the change; a key may match several rows.
            found = "no row" if not reached else f"{reached} rows"
            problems.append(Problem(change.id, "", "gone", f"the {change.kind} affected {found}, not exactly one"))
        elif written:
            keys[change.id] = [values.to_wire(value) for value in written[0]] if key else []
    except (exc.IntegrityError, exc.DataError, exc.ProgrammingError, exc.InternalError, exc.OperationalError) as error:
        # PostgreSQL: a value is too long for an index.
        if isinstance(error, exc.OperationalError) and getattr(error.orig, "sqlstate", None) != index_limits.TOO_LONG:
            raise
        problems.extend(violations.problems_of(session, table, change, new, error))


def _touched(table: Table, new: dict[str, Any]) -> dict[str, Any]:
    """The values that the models set on every change: updated_at."""
    model = next((m for m in MODELS if m.__tablename__ == table.name), None)
    if model is None:
        return {}
    names = [c.name for c in model.__table__.columns if c.onupdate is not None and c.name in table.columns]
    return {name: utcnow() for name in names if name not in new}
