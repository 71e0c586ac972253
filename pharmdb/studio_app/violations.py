"""Explains constraint violations in sentences."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from sqlalchemy import ColumnElement, Constraint, UniqueConstraint, column, exc, literal_column, select
from sqlalchemy import Table as SqlTable
from sqlalchemy import table as sql_table

from pharmdb.database import index_limits, sqlite_codes
from pharmdb.models import MODELS
from pharmdb.studio_app.catalogue import Table
from pharmdb.studio_app.changes import Change, Problem
from pharmdb.studio_app.statement_log import Session, masked


def problems_of(
    session: Session, table: Table, change: Change, new: dict[str, Any], error: exc.DBAPIError
) -> list[Problem]:
    """One problem for each column that the violation concerns."""
    names, sentence = _explained(session, table, change, new, error)
    changed = [name for name in names if name in new] or names[:1] or [""]
    return [Problem(change.id, name, "violation", masked(sentence)) for name in changed]


# Both databases' error codes for each kind of violation.
_FOREIGN_KEY = ("23503", sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY)
_NOT_NULL = ("23502", sqlite3.SQLITE_CONSTRAINT_NOTNULL)
_UNIQUE = (
    "23505",
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
)
_CHECK = ("23514", sqlite3.SQLITE_CONSTRAINT_CHECK)
# PostgreSQL's code for text that its type can't parse, here a constraint's cast to json.
_NOT_JSON = "22P02"


def _explained(
    session: Session, table: Table, change: Change, new: dict[str, Any], error: exc.DBAPIError
) -> tuple[list[str], str]:
    """The columns that a violation concerns, and a sentence about it."""
    text = str(error.orig).strip()
    diagnosis = getattr(error.orig, "diag", None)
    code = sqlite_codes.extended(error) or getattr(error.orig, "sqlstate", None)
    # SQLite reports the constraint's name or columns only at the end of its message.
    rule = (diagnosis.constraint_name if diagnosis else text.rpartition("failed: ")[2]) or ""
    if code in _FOREIGN_KEY:
        return _missing_parent(session, table, change, new)
    if code in _NOT_NULL:
        name = (diagnosis.column_name if diagnosis else rule.rpartition(".")[2]) or ""
        return [name], f"{name} can't be empty"
    if code in _UNIQUE:
        if diagnosis:
            names = re.findall(r"[^,\s]+", (re.match(r"Key \((.+?)\)=", diagnosis.message_detail or "") or ["", ""])[1])
        else:
            names = [part.strip().rpartition(".")[2] for part in rule.split(",")]
        return names, _unique_rule(table, names) or f"another row has the same {_listed(names)}"
    if code in _CHECK:
        sql = table.checks.get(rule, "")
        names = [name for name in table.columns if re.search(rf"\b{re.escape(name)}\b", sql)]
        if says := _check_rule(table, rule):
            return names, says
        docs = "; ".join(f"{name}: {table.columns[name].doc}" for name in names if table.columns[name].doc)
        shown = " ".join(sql.split())
        shown = shown if len(shown) <= 160 else f"{shown[:160]}…"
        return names, f"this violates the constraint {rule}: {shown}" + (f" ({docs})" if docs else "")
    if code == _NOT_JSON and " json" in text:
        documents = [name for name in new if table.columns[name].kind == "json"]
        return documents, f"not JSON: {text.partition(chr(10))[0]}"
    if code == index_limits.TOO_LONG and (texts := index_limits.columns_of(rule)):
        names = [column.name for column in texts]
        longest = max(names, key=lambda name: len(str(change.values.get(name) or "")))
        return [longest], f"too long for PostgreSQL: {index_limits.rule(names)}"
    return list(new)[:1], f"the database refuses this: {text.partition(chr(10))[0]}"


def _check_rule(table: Table, name: str) -> str:
    """A check in the words of the models, empty for one of another program."""
    return next((str(c.info.get("says", "")) for c in _constraints(table) if c.name == name), "")


def _unique_rule(table: Table, names: list[str]) -> str:
    """A unique constraint in the words of the models, empty for one of another program."""
    keys = (c for c in _constraints(table) if isinstance(c, UniqueConstraint))
    return next((str(c.info.get("says", "")) for c in keys if [k.name for k in c.columns] == names), "")


def _constraints(table: Table) -> set[Constraint]:
    own = next((m.__table__ for m in MODELS if m.__tablename__ == table.name), None)
    return own.constraints if isinstance(own, SqlTable) else set()


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
