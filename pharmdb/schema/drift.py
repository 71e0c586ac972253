"""Schema drift: where the tables, columns, constraints, indexes and checks of a database differ from the models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, ClauseElement, Connection, Dialect, ForeignKeyConstraint, Table, inspect
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import TypeEngine

from pharmdb.database import ids
from pharmdb.database.placements import leftovers
from pharmdb.models import Base
from pharmdb.schema.bookkeeping import BOOKKEEPING_TABLES
from pharmdb.types import UTCDateTime, utcnow

NONE = "none"
COLUMNS = ("kind", "table", "name", "expected", "found")
Difference = tuple[str, str, str, str, str]
# How often a database is compared while tables disappear from it.
ATTEMPTS = 3


def _include_name(name: str | None, type_: str, parents: Any) -> bool:
    return not (type_ == "table" and name in BOOKKEEPING_TABLES)


def _compare_default(
    context: Any, column: Any, model_column: Any, found: str | None, model_default: Any, expected: str | None
) -> bool | None:
    """True if the defaults differ; None would leave the comparison to Alembic."""
    if model_default is not None and isinstance(model_default.arg, utcnow):
        return _normal(found or "") != _normal(str(model_default.arg.compile(dialect=context.dialect)))
    if model_default is not None and isinstance(model_default.arg, str):
        literal = model_default.arg.replace("'", "''")
        expected = f"'{literal}'"
    return _normal(found or "") != _normal(expected or "")


def _compare_type(
    context: Any, column: Any, model_column: Any, found: TypeEngine[Any], expected: TypeEngine[Any]
) -> bool | None:
    """True if the types differ in a time's precision; None leaves the rest to Alembic, which ignores the precision."""
    if isinstance(expected, UTCDateTime) and isinstance(found, TIMESTAMP):
        digits = expected.load_dialect_impl(context.dialect).precision  # type: ignore[attr-defined]
        if found.precision != digits:
            return True
    return None


# How models and database are compared: one definition for env.py and this module.
COMPARISON: dict[str, Any] = {
    "target_metadata": Base.metadata,
    "include_name": _include_name,
    "compare_type": _compare_type,
    "compare_server_default": _compare_default,
}


def differences(connection: Connection) -> list[Difference]:
    """The differences as (kind, table, name, expected, found), sorted; empty if the schema matches the models.

    Tables without a model are included, with kind "table" and expected "none", but not the shards that Citus is about
    to drop. Raises NoSuchTableError if tables disappear again and again meanwhile.
    """
    for _ in range(ATTEMPTS - 1):
        # PostgreSQL lists the tables of the snapshot, and describes those of now.
        with suppress(NoSuchTableError):
            return _differences(connection)
    return _differences(connection)


def _differences(connection: Connection) -> list[Difference]:
    left = leftovers(connection)

    def include_name(name: str | None, type_: str, parents: Any) -> bool:
        return _include_name(name, type_, parents) and not (type_ == "table" and name in left)

    options = {key: value for key, value in COMPARISON.items() if key != "target_metadata"}
    context = MigrationContext.configure(connection, opts=options | {"include_name": include_name})
    found: list[Difference] = []
    for entry in compare_metadata(context, Base.metadata):
        # Alembic groups the changes of one column in a list.
        for difference in entry if isinstance(entry, list) else [entry]:
            found.append(_describe(difference, connection.dialect))
    # A missing table also lacks its indexes: report one difference only.
    missing = {table for kind, table, _, _, actual in found if kind == "table" and actual == NONE}
    found = [d for d in found if d[0] == "table" or d[1] not in missing]
    return sorted(_paired(found) + _checks(connection))


def _describe(difference: tuple[Any, ...], dialect: Dialect) -> Difference:
    """Alembic's tuples say how to change the database; the result says what is expected and what was found."""
    operation, *rest = difference
    action, _, kind = operation.partition("_")
    if action == "modify":
        _, table, name, _, was, expected = rest
        return kind, table, name, _text(expected, dialect), _text(was, dialect)
    if kind == "column":
        _, table, item = rest
        text = _text(item.type, dialect)
    elif kind == "table":
        item, text = rest[0], "a table"
        table = item.name
    else:
        item = rest[0]
        table, text = item.table.name, ", ".join(column.name for column in item.columns)
        if isinstance(item, ForeignKeyConstraint):
            text += f" to {item.elements[0].target_fullname} ON DELETE {item.ondelete or 'NO ACTION'}"
    sides = (text, NONE) if action == "add" else (NONE, text)
    return kind, table, str(item.name), *sides


def _text(item: Any, dialect: Dialect) -> str:
    """A type or a default in the database's own notation."""
    if isinstance(item, TypeEngine):
        return item.compile(dialect=dialect)
    if isinstance(item, bool):
        return "NULL" if item else "NOT NULL"
    value = getattr(item, "arg", item)
    if isinstance(value, ClauseElement):
        value = value.compile(dialect=dialect)
    return NONE if value is None else str(value)


def _paired(found: list[Difference]) -> list[Difference]:
    """Merges the two differences that Alembic reports for an altered constraint: a missing one and an extra one."""
    merged: dict[tuple[str, str, str], Difference] = {}
    for difference in found:
        kind, table, name, expected, actual = difference
        if other := merged.get((kind, table, name)):
            expected = expected if other[3] == NONE else other[3]
            actual = actual if other[4] == NONE else other[4]
        merged[kind, table, name] = (kind, table, name, expected, actual)
    return list(merged.values())


def _checks(connection: Connection) -> list[Difference]:
    # SQLite keeps the text of a check as it was written.
    normalize = {"sqlite": _without_breaks, "postgresql": _normal}[connection.dialect.name]
    found: list[Difference] = []
    for table, actual in checks_there(connection):
        expected = {str(c.name): str(c.sqltext) for c in active_checks(table, connection)}
        for name in sorted(expected.keys() | actual.keys()):
            want, have = expected.get(name, NONE), actual.get(name, NONE)
            if normalize(want) != normalize(have):
                found.append(("check", table.name, name, want, have))
        if connection.dialect.name == "sqlite":
            options = inspect(connection).get_table_options(table.name)
            # SQLAlchemy reflects STRICT, but not AUTOINCREMENT.
            words = {
                "STRICT": options.get("sqlite_strict", False),
                "AUTOINCREMENT": ids.never_repeat(connection, table.name),
            }
            found += [("option", table.name, word, word, NONE) for word, there in words.items() if not there]
    return found


def checks_there(connection: Connection) -> Iterator[tuple[Table, dict[str, str]]]:
    """Each table of the models that the database has, and its checks there: SQL by name."""
    inspector = inspect(connection)
    tables = set(inspector.get_table_names())
    for table in Base.metadata.sorted_tables:
        if table.name in tables:
            yield table, {str(c["name"]): str(c["sqltext"]) for c in inspector.get_check_constraints(table.name)}


def active_checks(table: Table, connection: Connection) -> list[CheckConstraint]:
    """The checks of a table that apply to this dialect."""
    checks = (c for c in table.constraints if isinstance(c, CheckConstraint))
    return [check for check in checks if dialect_of(check) in ("", connection.dialect.name)]


def dialect_of(check: CheckConstraint) -> str:
    """The one database that a check is for, or ""."""
    return str(check.info.get("dialect", ""))


def _without_breaks(sql: str) -> str:
    return " ".join(sql.split())


def _normal(sql: str) -> str:
    """PostgreSQL stores a check as a parse tree and prints it with casts, parentheses and its own spelling."""
    text = re.sub(r"CAST\((\w+) AS (\w+)\)", r"\1::\2", sql)
    text = re.sub(r"= ANY \(+ARRAY\[(.*?)\]", r"IN (\1", text)
    text = re.sub(r"::(character varying|text|double precision|timestamp with time zone)(\[\])?", "", text)
    parts = re.split(r"('(?:[^']|'')*')", text)
    # Every second part is a string literal, in which case and white space are significant.
    return "".join(part if n % 2 else re.sub(r"[\s()\"]", "", part).lower() for n, part in enumerate(parts))
