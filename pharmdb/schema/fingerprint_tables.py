"""Whether tables are as a fingerprint's batches need them, and their indexes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from pharmdb.database import dialect
from pharmdb.models import User


class _Index(NamedTuple):
    columns: list[str | None]
    unique: bool


def usual(connection: Connection, model: Any) -> bool:
    """Whether a table and its users can hold only what the models allow, with one user for each e-mail address.

    If a tool rebuilt a table of SQLite without STRICT, or somebody took a NOT NULL away, joined values would not tell
    bytes from text, or leave rows out. Text of a file in UTF-16 would not be joined as UTF-8.
    """
    sqlite = connection.dialect.name == "sqlite"
    if sqlite and not dialect.of(connection).keeps_utf8(connection):
        return False
    tables: list[Any] = [User.__table__, model.__table__]
    for table in tables:
        found = connection.exec_driver_sql(_COLUMNS[connection.dialect.name], (table.name,))
        there = {name: (required, type_) for name, required, type_ in found}
        for column in table.columns:
            required, type_ = there.get(column.name, (False, ""))
            if not (required or column.nullable):
                return False
            if sqlite and type_ != column.type.compile(dialect=connection.dialect):
                return False
    return any(
        index.unique and index.columns == ["email"] for index in _indexes(connection, User.__tablename__).values()
    )


def index_of(connection: Connection, table: str, columns: Sequence[str]) -> str | None:
    """The name of an index that has all rows of a table by these columns in ascending order; None if there is none."""
    found = _indexes(connection, table)
    return next((name for name, index in found.items() if index.columns == [*columns]), None)


def _indexes(connection: Connection, table: str) -> dict[str, _Index]:
    """The indexes of all rows of a table; None stands for an expression, or a column in another order."""
    found: dict[str, _Index] = {}
    for name, unique, column in connection.exec_driver_sql(_INDEXES[connection.dialect.name], (table,)):
        found.setdefault(name, _Index([], bool(unique))).columns.append(column)
    return found


# Of a table of SQLite, only if it is STRICT.
_COLUMNS = {
    "sqlite": """
        SELECT c.name, c."notnull", c.type FROM pragma_table_list(?) AS t, pragma_table_info(t.name) AS c
         WHERE t.schema = 'main' AND t.strict
    """,
    "postgresql": """
        SELECT attname, attnotnull, '' FROM pg_attribute
         WHERE attrelid = CAST(%s AS regclass) AND attnum > 0 AND NOT attisdropped
    """,
}
_INDEXES = {
    "sqlite": """
        SELECT i.name, i."unique", CASE WHEN NOT c."desc" AND c.coll = 'BINARY' THEN c.name END
          FROM pragma_index_list(?) AS i, pragma_index_xinfo(i.name) AS c
         WHERE NOT i.partial AND c."key" ORDER BY i.name, c.seqno
    """,
    "postgresql": """
        SELECT c.relname, i.indisunique, CASE WHEN i.indoption[k.place - 1] = 0 THEN a.attname END
          FROM pg_index AS i
          JOIN pg_class AS c ON c.oid = i.indexrelid
          JOIN pg_am AS m ON m.oid = c.relam AND m.amname = 'btree'
         CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (number, place)
          LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
         WHERE i.indrelid = CAST(%s AS regclass) AND i.indisvalid AND i.indpred IS NULL AND k.place <= i.indnkeyatts
         ORDER BY c.relname, k.place
    """,
}
