"""Staged changes to one transaction: all of them are saved, or none, and each save is logged."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, column, delete, exc, func, insert, literal_column, or_, select, update
from sqlalchemy import table as sql_table

from pharmdb import settings
from pharmdb.database import environments, targets, transactions
from pharmdb.errors import ProtectedError, UnavailableError
from pharmdb.models import MODELS
from pharmdb.seeding.passwords import LONGEST, hash_password
from pharmdb.studio_app import browsing, values
from pharmdb.studio_app.browsing import Cell
from pharmdb.studio_app.catalogue import Catalogue, Column, Table
from pharmdb.studio_app.statement_log import MASKED, Journal, Session, masked
from pharmdb.types import utcnow

SHORTEST_PASSWORD = 8


@dataclass(frozen=True)
class Change:
    """One staged change; `id` is the page's own number for it.

    `values`: column → text, None for NULL. `password` is set, hashed, in the table's password column.
    `before`: column → the cell as it was shown; a change is refused where the database holds something else now.
    `cascade`: for a deletion, what it was said to take along: "table.column" → rows.
    """

    id: int
    kind: Literal["update", "insert", "delete"]
    table: str
    key: tuple[str | None, ...] = ()
    values: dict[str, str | None] = field(default_factory=dict)
    before: dict[str, Cell] = field(default_factory=dict)
    password: str | None = None
    cascade: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Why a change can't be saved: a sentence, and the column that it is about, if it is about one.

    `kind`: "unfit" (the value does not fit its column), "violation" (a rule of the database), "conflict" (somebody
    else changed the row: `theirs` is what it holds now) or "gone".
    """

    change: int
    column: str
    kind: Literal["unfit", "violation", "conflict", "gone"]
    sentence: str
    theirs: Cell = None


@dataclass(frozen=True)
class Saved:
    """The outcome of a save: `problems` is empty, or nothing was written. `keys`: change → the row's key.

    `warning` is a sentence where it was saved and something else went wrong; `again`: it had been saved before.
    `changes` are those that were saved, with a digest each; those that were saved in another form are `differing`.
    """

    problems: list[Problem]
    keys: dict[int, list[str | None]]
    warning: str = ""
    again: bool = False
    changes: dict[int, str] = field(default_factory=dict)
    differing: tuple[int, ...] = ()


class _NothingSavedError(Exception):
    """Rolls the transaction back."""


def save(
    target: targets.Target,
    tables: Catalogue,
    changes: Sequence[Change],
    journal: Journal,
    *,
    unlocked: bool = False,
    log: Path | None = None,
    staged: str = "",
) -> Saved:
    """Saves all changes in one transaction, in their order, or none of them.

    `staged` is the page's own name for this set of changes: a set that was saved is never written again, whoever asks.

    Raises ProtectedError where the database is production and not unlocked, UnavailableError where the save can't be
    logged, and what `database.writing` raises.
    """
    with _one_at_a_time(staged):
        log = log or settings.statement_log()
        return _earlier(target, changes, staged, log) or _save(target, tables, changes, journal, unlocked, log, staged)


# What this process has saved, and what it is saving: staged set → outcome.
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
    """The outcome of the save that these staged changes already had, here or in another kernel."""
    if not staged:
        return None
    if (found := _OUTCOMES.get((str(target), staged))) is not None:
        return _again(found, changes)
    own = [e for e in _entries(log) if e.get("staged") == staged and e.get("database") == str(target)]
    states = {entry["save"]: entry for entry in own}
    for entry in states.values():
        if entry["state"] == "saved":
            keys = {int(number): key for number, key in entry["keys"].items()}
            found = Saved([], keys, changes={int(number): digest for number, digest in entry["digests"].items()})
            return _again(found, changes)
        if entry["state"] == "saving":
            raise UnavailableError(
                expected="to know whether these changes were saved",
                found=f"a save of them that began at {entry['at']} and did not say how it ended",
                next=targets.command(target, f"pharmdb studio --model {entry['changes'][0]['table']}"),
            )
    return None


def _again(found: Saved, changes: Sequence[Change]) -> Saved:
    """The earlier outcome, for those of the changes that were saved as they are now."""
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
    journal: Journal,
    unlocked: bool,
    log: Path,
    staged: str,
) -> Saved:
    problems: list[Problem] = []
    # Hashing takes a while, so it comes before the lock.
    prepared = [_prepared(tables, change, problems) for change in changes]
    if problems:
        return Saved(problems, {})
    keys: dict[int, list[str | None]] = {}
    number = secrets.token_hex(8)
    entry: dict[str, Any] = {}
    try:
        with transactions.writing(target) as connection, journal.watch(connection) as session:
            if not unlocked and environments.environment(connection) == "production":
                name = browsing.database_name(target, session)
                raise ProtectedError(
                    expected="a database that may be edited",
                    found="production, which is read-only until it is unlocked",
                    next=f"type {name} where the studio asks for the database's name",
                )
            browsing.prepare(connection)
            rows = _checked(session, tables, changes, problems)
            if not problems:
                for change, new in zip(changes, prepared, strict=True):
                    _apply(session, tables[change.table], change, new, keys, problems)
            if problems:
                raise _NothingSavedError
            entries = [_entry(tables[c.table], c, rows.get(c.id), keys.get(c.id)) for c in changes]
            # Before the commit: a save that can't be logged is not made.
            entry = {"save": number, "staged": staged, **_who(target)}
            _log(log, {**entry, "state": "saving", "changes": entries})
    except _NothingSavedError:
        return Saved(problems, {})
    except (exc.IntegrityError, exc.DataError, exc.ProgrammingError):
        # A rule that is checked at the commit. Where the connection was lost instead, nobody knows.
        if entry:
            _log_done(log, {**entry, "state": "failed", "at": _now()})
        raise
    outcome = Saved([], keys, changes={change.id: _digest(change) for change in changes})
    if staged:
        _OUTCOMES[str(target), staged] = outcome
    # It is committed: from here on nothing may say that it was not.
    warning = _log_done(log, {**entry, "state": "saved", "at": _now(), "keys": keys, "digests": outcome.changes})
    return replace(outcome, warning=warning)


def _log_done(path: Path, entry: dict[str, Any]) -> str:
    """The second line of a save that is committed. A sentence where it can't be written."""
    try:
        _log(path, entry)
    except UnavailableError as error:
        return f"saved, but its log does not say so: {error.found}"
    return ""


def _prepared(tables: Catalogue, change: Change, problems: list[Problem]) -> dict[str, Any]:
    """The values as the driver takes them; what does not fit is a problem."""
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
        if not SHORTEST_PASSWORD <= len(change.password) <= LONGEST:
            sentence = f"a password has {SHORTEST_PASSWORD} to {LONGEST} characters"
            problems.append(Problem(change.id, password.name, "unfit", sentence))
        else:
            new[password.name] = hash_password(change.password)
    elif password is not None and change.kind == "insert":
        problems.append(Problem(change.id, password.name, "unfit", "a new user needs a password: type one here"))
    return new


def _checked(
    session: Session, tables: Catalogue, changes: Iterable[Change], problems: list[Problem]
) -> dict[int, Sequence[Any]]:
    """The rows as they are now, locked. What differs from what was shown is a problem."""
    found: dict[int, Sequence[Any]] = {}
    # One order for everybody: two editors can't lock each other out.
    for change in sorted(changes, key=lambda c: (c.table, [str(part) for part in c.key])):
        if change.kind == "insert":
            continue
        table = tables[change.table]
        row = browsing.read_row(session, table, change.key, lock=True)
        if row is None:
            problems.append(Problem(change.id, "", "gone", "somebody else has deleted this row meanwhile"))
            continue
        found[change.id] = row
        for c, value in zip(table.columns.values(), row, strict=True):
            now = browsing.cell(c, value)
            if c.name in change.before and not browsing.same(change.before[c.name], now):
                sentence = f"somebody else changed {c.name} meanwhile"
                problems.append(Problem(change.id, c.name, "conflict", sentence, now))
        if change.kind == "delete":
            taken = {f"{c.table}.{c.column}": c.rows for c in cascades(session, tables, table, [change.key])}
            if taken != change.cascade:
                sentence = f"the deletion would now reach {_counted(taken)}, not {_counted(change.cascade)}"
                problems.append(Problem(change.id, "", "conflict", sentence))
    return found


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
        statement = delete(clause).where(browsing.named(table, change.key))
    else:
        statement = update(clause).where(browsing.named(table, change.key)).values(_touched(table, new) | bound)
    if change.kind != "delete":
        statement = statement.returning(*(c.read for c in table.columns.values()))
    try:
        with session.connection.begin_nested():
            rows = session.rows(statement) if change.kind != "delete" else []
            reached = session.connection.execute(statement).rowcount if change.kind == "delete" else len(rows)
        if change.kind != "insert" and reached != 1:
            # A trigger may keep a row as it is; a key may name several.
            found = "no row" if not reached else f"{reached} rows"
            problems.append(Problem(change.id, "", "gone", f"the {change.kind} reached {found}, not exactly one"))
        elif rows:
            keys[change.id] = browsing.key_of(table, rows[0])
    except (exc.IntegrityError, exc.DataError, exc.ProgrammingError, exc.InternalError) as error:
        problems.extend(_violation(session, table, change, new, error))


def _touched(table: Table, new: dict[str, Any]) -> dict[str, Any]:
    """What the models set on every change: updated_at."""
    model = next((m for m in MODELS if m.__tablename__ == table.name), None)
    if model is None:
        return {}
    names = [c.name for c in model.__table__.columns if c.onupdate is not None and c.name in table.columns]
    return {name: utcnow() for name in names if name not in new}


# -- violations in sentences -------------------------------------------------------------------------


def _violation(
    session: Session, table: Table, change: Change, new: dict[str, Any], error: exc.DBAPIError
) -> list[Problem]:
    names, sentence = _explained(session, table, change, new, error)
    changed = [name for name in names if name in new] or names[:1] or [""]
    return [Problem(change.id, name, "violation", masked(sentence)) for name in changed]


def _explained(
    session: Session, table: Table, change: Change, new: dict[str, Any], error: exc.DBAPIError
) -> tuple[list[str], str]:
    """The columns that a violation is about, and what it says."""
    text = str(error.orig).strip()
    diagnosis = getattr(error.orig, "diag", None)
    state = getattr(error.orig, "sqlstate", None) or ""
    rule = (diagnosis.constraint_name if diagnosis else text.rpartition("failed: ")[2]) or ""
    if state == "23503" or "FOREIGN KEY constraint failed" in text:
        return _missing_parent(session, table, change, new)
    if state == "23502" or "NOT NULL constraint failed" in text:
        name = (diagnosis.column_name if diagnosis else rule.rpartition(".")[2]) or ""
        return [name], f"{name} can't be empty"
    if state == "23505" or "UNIQUE constraint failed" in text:
        if diagnosis:
            names = re.findall(r"[^,\s]+", (re.match(r"Key \((.+?)\)=", diagnosis.message_detail or "") or ["", ""])[1])
        else:
            names = [part.strip().rpartition(".")[2] for part in rule.split(",")]
        return names, f"another row has the same {_listed(names)}"
    if state == "23514" or "CHECK constraint failed" in text:
        sql = table.checks.get(rule, "")
        names = [name for name in table.columns if re.search(rf"\b{re.escape(name)}\b", sql)]
        docs = "; ".join(f"{name}: {table.columns[name].doc}" for name in names if table.columns[name].doc)
        shown = " ".join(sql.split())
        shown = shown if len(shown) <= 160 else f"{shown[:160]}…"
        return names, f"this breaks the rule {rule}: {shown}" + (f" ({docs})" if docs else "")
    if state == "22P02" and " json" in text:
        documents = [name for name in new if table.columns[name].kind == "json"]
        return documents, f"not JSON: {text.partition(chr(10))[0]}"
    return list(new)[:1], f"the database refuses this: {text.partition(chr(10))[0]}"


def _missing_parent(session: Session, table: Table, change: Change, new: dict[str, Any]) -> tuple[list[str], str]:
    if change.kind == "delete":
        tables = ", ".join(sorted({c.table for c in table.children if c.on_delete in ("NO ACTION", "RESTRICT")}))
        return [], f"rows of {tables} still refer to this one; delete them first"
    for name, (parent, referred) in table.foreign.items():
        if new.get(name) is None:
            continue
        own = table.columns[name]
        raw: ColumnElement[Any] = column(referred)
        one: ColumnElement[int] = literal_column("1")
        statement = select(one).select_from(sql_table(parent)).where(raw == own.bound(new[name]))
        if session.first(statement.limit(1)) is None:
            return [name], f"there is no row of {parent} with {referred} = {change.values.get(name)}"
    return list(table.foreign), "the row that this one refers to does not exist"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# -- deletions ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cascade:
    """What the deletion of a row does to another table: `on_delete` is CASCADE, SET NULL, NO ACTION, …"""

    table: str
    column: str
    on_delete: str
    rows: int


def cascades(session: Session, tables: Catalogue, table: Table, keys: Sequence[Sequence[str | None]]) -> list[Cascade]:
    """What the deletion of these rows takes along, counted, at every depth; tables without such a row are left out."""
    found: list[Cascade] = []
    _reach(session, tables, table, or_(*(browsing.named(table, key) for key in keys)), (table.name,), found)
    return found


def _reach(
    session: Session,
    tables: Catalogue,
    table: Table,
    condition: ColumnElement[bool],
    path: tuple[str, ...],
    found: list[Cascade],
) -> None:
    for child in table.children:
        refers_to: ColumnElement[Any] = column(child.refers_to)
        referred = select(refers_to).select_from(sql_table(table.name)).where(condition)
        hanging = and_(column(child.column).in_(referred))
        row = session.first(select(func.count()).select_from(sql_table(child.table)).where(hanging))
        if row is None or not row[0]:
            continue
        found.append(Cascade(child.table, child.column, child.on_delete, int(row[0])))
        if child.on_delete == "CASCADE" and child.table not in path:
            _reach(session, tables, tables[child.table], hanging, (*path, child.table), found)


# -- the log of saves --------------------------------------------------------------------------------


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _who(target: targets.Target) -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        user = str(os.getuid())
    return {"at": _now(), "who": f"{user}@{platform.node()}", "database": str(target)}


def _entry(table: Table, change: Change, row: Sequence[Any] | None, key: list[str | None] | None) -> dict[str, Any]:
    def text(found: Column, value: Any) -> str | None:
        if found.secret:
            return MASKED
        shown = values.shown(value, found.kind)
        return None if shown is None else masked(shown)

    now = {} if row is None else {c.name: text(c, v) for c, v in zip(table.columns.values(), row, strict=True)}
    after = {name: None if value is None else masked(value) for name, value in change.values.items()}
    if change.password is not None:
        after |= {c.name: MASKED for c in table.columns.values() if c.is_password}
    before = now if change.kind == "delete" else {name: now[name] for name in after if name in now}
    return {
        "kind": change.kind,
        "table": table.name,
        "key": [None if part is None else part.partition(":")[2] for part in (key or change.key)],
        "before": before,
        "after": after,
    }


def log_statement(target: targets.Target, statement: str, rows: int | None, log: Path) -> Callable[[], str]:
    """A statement of the unlocked console, in the same log, before its commit.

    What it gives is called after the commit, and says in a sentence where the log can't be written.
    """
    number = secrets.token_hex(8)
    _log(log, {"save": number, "state": "saving", **_who(target), "statement": masked(statement), "rows": rows})
    return lambda: _log_done(log, {"save": number, "state": "saved", "at": _now()})


def _log(path: Path, entry: dict[str, Any]) -> None:
    line = json.dumps(entry) + "\n"
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode("ascii"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnavailableError(
            expected=f"to log the save in {path}", found=str(error), next=f"make {path.parent} writable"
        ) from error


def saves(target: targets.Target, *, limit: int = 100, log: Path) -> list[dict[str, Any]]:
    """The newest saves of this database, newest first; those whose commit was not confirmed say so in `state`."""
    entries = _entries(log)
    done = {entry["save"] for entry in entries if entry.get("state") == "saved" and "save" in entry}
    # The second line of a save only confirms the first.
    own = [e for e in entries if e.get("database") == str(target) and ("changes" in e or "statement" in e)]
    return [
        {**entry, "state": "saved" if entry.get("save") in done else entry.get("state", "")} for entry in reversed(own)
    ][:limit]


def _entries(log: Path) -> list[dict[str, Any]]:
    """The lines of the log. One that was cut, as by a full disk, is left out."""
    if not log.exists():
        return []
    found = []
    for line in log.read_bytes().split(b"\n"):
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                found.append(entry)
    return found
