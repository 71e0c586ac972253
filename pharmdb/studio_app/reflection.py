"""Columns from each database's own catalogue, with details that SQLAlchemy's inspector leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect, text

from pharmdb.studio_app.statement_log import Session

# table → its columns
Described = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Reflected:
    """Columns: name, type, nullable, default, generated, doc, labels.

    `row_name` is the column that identifies a row of a table without a primary key.
    """

    columns: Described
    row_name: str
    sqlite: bool


def reflect(session: Session) -> Reflected:
    """Reflects all tables of the database."""
    reflectors = {"sqlite": _reflect_sqlite, "postgresql": _reflect_postgresql}
    return reflectors[session.connection.dialect.name](session)


def by_table(found: Mapping[tuple[str | None, str], Any]) -> dict[str, Any]:
    """The inspector's results for all tables of one schema, by table name."""
    return {name: each for (_, name), each in found.items()}


def _reflect_sqlite(session: Session) -> Reflected:
    names = inspect(session.connection).get_table_names()
    return Reflected(_sqlite_columns(session, names), "rowid", True)


def _sqlite_columns(session: Session, names: list[str]) -> Described:
    found: Described = {}
    statement = text('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(:name)')
    for table_name in names:
        rows = session.rows(statement.bindparams(name=table_name))
        alone = sum(bool(row.pk) for row in rows) == 1
        found[table_name] = [
            {
                "name": row.name,
                "type": row.type,
                # INTEGER PRIMARY KEY is the rowid, which is never NULL and is assigned by SQLite.
                "nullable": not (row.notnull or (row.pk and alone and row.type.upper() == "INTEGER")),
                "default": "next number" if row.pk and alone and row.type.upper() == "INTEGER" else row.dflt_value,
                "generated": row.hidden in (2, 3),
                "doc": "",
                "labels": (),
            }
            for row in rows
            if row.hidden != 1
        ]
    return found


_COLUMNS = text("""
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull, a.attgenerated,
        a.attidentity, pg_get_expr(d.adbin, d.adrelid) AS expression, col_description(c.oid, a.attnum) AS doc,
        (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = a.atttypid)
            AS labels
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind IN ('r', 'p')
        AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
""")


def _reflect_postgresql(session: Session) -> Reflected:
    return Reflected(_postgresql_columns(session), "ctid", False)


def _postgresql_columns(session: Session) -> Described:
    found: Described = {}
    for row in session.rows(_COLUMNS):
        numbered = row.attidentity or (row.expression or "").startswith("nextval(")
        found.setdefault(row.relname, []).append(
            {
                "name": row.attname,
                "type": row.type,
                "nullable": not row.attnotnull,
                "default": "next number" if numbered else row.expression,
                "generated": bool(row.attgenerated),
                "doc": row.doc or "",
                "labels": tuple(row.labels or ()),
            }
        )
    return found
