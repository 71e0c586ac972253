"""Recognize an old Prisma database: its stage, its tables, its rows as they are stored."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect

from pharmdb.database import ids
from pharmdb.errors import RevisionError
from pharmdb.models import MODELS, Base, DatasetOverride, User
from pharmdb.schema import prisma_names
from pharmdb.types import DOCUMENT, DOUBLE, StrictBoolean, UTCDateTime

Row = tuple[Any, ...]


# Each stage is one migration of the old system.
MIGRATIONS = {
    "20260127123216_init": 1,
    "20260127132944_add_role_to_user": 2,
    "20260127140114_add_dataset_override": 3,
    "20260128101532_init": 4,
}


MIGRATIONS_TABLE = "_prisma_migrations"


BATCH = 5000


class RejectedError(Exception):
    """A row that no rule of pharmdb lets in; its text is the reason."""


@dataclass(frozen=True)
class OldTable:
    """One table of the old system: its model here, and for each column its name there and its kind."""

    model: type[Base]
    names: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.model.__name__

    @property
    def table(self) -> str:
        return str(self.model.__tablename__)

    @property
    def columns(self) -> list[str]:
        """The names here, in the same order."""
        return list(self.model.__table__.columns.keys())

    @property
    def owner(self) -> int | None:
        """The place of the column that names the user."""
        return self.kinds.index("owner") if "owner" in self.kinds else None


def _kind(column: Any) -> str:
    if column.primary_key:
        return "id"
    if column.foreign_keys:
        return "owner"
    if column.type is DOCUMENT:
        return "document"
    if column.type is DOUBLE:
        return "real"
    if isinstance(column.type, UTCDateTime):
        return "time"
    if isinstance(column.type, StrictBoolean):
        return "boolean"
    return "text" if column.type.python_type is str else "count"


TABLES = tuple(
    OldTable(
        model,
        tuple(map(prisma_names.camel, model.__table__.columns.keys())),
        tuple(_kind(column) for column in model.__table__.columns),
    )
    for model in MODELS
)


@dataclass(frozen=True)
class Recognition:
    """The stage (1 to 4), the columns that each table has, what a person should know: (what, found), and how far the
    ids of each table have gone; a row that had the last one may be gone."""

    stage: int
    columns: dict[str, tuple[str, ...]]
    notes: tuple[tuple[str, str], ...]
    reached: dict[str, int]

    def has(self, table: OldTable) -> bool:
        return table.name in self.columns


def recognize(connection: Connection, source: str) -> Recognition:
    """Tells the stage from tables and columns, and compares it with what _prisma_migrations says.

    Raises RevisionError for what is no old database of the trainer, or a newer one than stage 4.
    """
    if connection.dialect.name == "postgresql":
        # Whatever the database or the user prefers: values are read as text in these forms.
        for setting in ("datestyle = 'ISO'", "timezone = 'UTC'", "extra_float_digits = 3"):
            connection.exec_driver_sql(f"SET LOCAL {setting}")
    inspector = inspect(connection)
    tables = inspector.get_table_names()
    if not tables:
        raise _unknown(source, "an empty database, without a table")
    columns = {t.name: {c["name"] for c in inspector.get_columns(t.name)} for t in TABLES if t.name in tables}
    lacking = [t.name for t in TABLES if t.model is not DatasetOverride and t.name not in columns]
    if lacking:
        shown = ", ".join(sorted(tables)[:8])
        raise _unknown(source, f"no table {', '.join(lacking)}; there are: {shown}")
    for table in TABLES:
        missing = set(table.names) - columns.get(table.name, set(table.names)) - {"role"}
        if missing:
            raise _unknown(source, f"{table.name} without {', '.join(sorted(missing))}")
        if table.name in columns and inspector.get_pk_constraint(table.name)["constrained_columns"] != ["id"]:
            raise _unknown(source, f"{table.name} without its primary key id")
    notes: list[tuple[str, str]] = []
    stage = _stage(inspector, columns, notes)
    finished = _migrations(connection, tables, notes, source)
    said = max((MIGRATIONS[name] for name in finished), default=None)
    if said is not None and said != stage:
        notes.append(("stage", f"{MIGRATIONS_TABLE} says {said}, tables and columns say {stage}; the tables count"))
    for table in TABLES:
        extra = columns.get(table.name, set()) - set(table.names)
        for name in sorted(extra):
            quoted = quote_name(connection, name)
            filled = connection.exec_driver_sql(
                f"SELECT count(*) FROM {quote_name(connection, table.name)} WHERE {quoted} IS NOT NULL"
            ).scalar_one()
            notes.append(("extra column", f"{table.name}.{name}: filled in {filled} rows, which only the backup keeps"))
    for name in sorted(set(tables) - {t.name for t in TABLES} - {MIGRATIONS_TABLE}):
        notes.append(("unknown table", f"{name}: only the backup keeps it"))
    known = {t.name: tuple(n for n in t.names if n in columns[t.name]) for t in TABLES if t.name in columns}
    reached = ids.reached(connection, known)
    for name in [name for name, last in reached.items() if last > ids.LARGEST]:
        found = f"{name} has come to {reached.pop(name)}, too far to go on; new ids follow the largest that is kept"
        notes.append(("ids", found))
    return Recognition(stage, known, (("stage", str(stage)), *notes), reached)


def _unknown(source: str, found: str) -> RevisionError:
    return RevisionError(
        expected=f"an old database of the trainer in {source}, at one of its four stages",
        found=found,
        unchanged="the source and the target",
        next="name the old system's database in source",
    )


def _stage(inspector: Any, columns: dict[str, set[str]], notes: list[tuple[str, str]]) -> int:
    role, overrides = "role" in columns["User"], "DatasetOverride" in columns
    if overrides and not role:
        notes.append(("missing column", "User.role: everybody becomes USER"))
    if not overrides:
        return 2 if role else 1
    cascades = [
        bool(key["options"].get("ondelete", "").upper() == "CASCADE")
        for table in TABLES[1:]
        for key in inspector.get_foreign_keys(table.name)
    ]
    unique = any(
        index["column_names"] == ["name"] and index["unique"] for index in inspector.get_indexes("DatasetOverride")
    ) or any(c["column_names"] == ["name"] for c in inspector.get_unique_constraints("DatasetOverride"))
    hardened = {"cascades": bool(cascades) and all(cascades), "a unique DatasetOverride.name": unique}
    if all(hardened.values()):
        return 4
    if any(hardened.values()) or any(cascades):
        missing = ", ".join(name for name, there in hardened.items() if not there)
        notes.append(("half-applied", f"a part of stage 4; it lacks {missing}"))
    return 3


def _migrations(connection: Connection, tables: list[str], notes: list[tuple[str, str]], source: str) -> list[str]:
    """The names of the finished migrations; the others become notes."""
    if MIGRATIONS_TABLE not in tables:
        notes.append(("migrations", f"no {MIGRATIONS_TABLE}: made by prisma db push"))
        return []
    rows = connection.exec_driver_sql(
        f"SELECT migration_name, finished_at, rolled_back_at FROM {MIGRATIONS_TABLE} ORDER BY migration_name"
    )
    finished = []
    for name, finished_at, rolled_back_at in rows:
        if rolled_back_at is not None:
            notes.append(("failed migration", f"{name}: rolled back"))
        elif finished_at is None:
            notes.append(("failed migration", f"{name}: begun and never finished"))
        else:
            finished.append(str(name))
    newer = [name for name in finished if name not in MIGRATIONS]
    if newer:
        raise _unknown(source, f"a migration that pharmdb does not know: {', '.join(newer)}")
    return finished


def quote_name(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)


def decode(value: bytes) -> str | bytes:
    """SQLite takes text that is not UTF-8; one such value must not end the reading of all others."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def count(connection: Connection, table: OldTable) -> int:
    """The rows of a table."""
    sql = f"SELECT count(*) FROM {quote_name(connection, table.name)}"
    return int(connection.exec_driver_sql(sql).scalar_one())


def rows(connection: Connection, table: OldTable, recognition: Recognition) -> Iterator[list[Row]]:
    """The rows in the order of their ids, BATCH at a time; a column that the stage lacks is None.

    From PostgreSQL times, enums and documents come as text.
    """
    there = recognition.columns[table.name]
    if connection.dialect.name == "sqlite":
        selected = [quote_name(connection, n) if n in there else "NULL" for n in table.names]
    else:
        plain = ("id", "owner", "count", "real", "boolean")
        selected = [
            "NULL" if n not in there else quote_name(connection, n) + ("" if kind in plain else "::text")
            for n, kind in zip(table.names, table.kinds, strict=True)
        ]
    sql = f"SELECT {', '.join(selected)} FROM {quote_name(connection, table.name)} ORDER BY id"
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        driver.text_factory = decode
        cursor = driver.cursor()
    else:
        cursor = driver.cursor(name="old_rows")
    with closing(cursor):
        cursor.execute(sql)
        while batch := cursor.fetchmany(BATCH):
            yield batch


def repeated(connection: Connection, table: OldTable, key: tuple[str, ...]) -> set[int]:
    """The ids of the rows that share this key with another row; of e-mails the case doesn't count."""
    columns = ", ".join(quote_name(connection, prisma_names.camel(column)) for column in key)
    if table.model is User:
        trim = "trim({}, char(9, 10, 13, 32))" if connection.dialect.name == "sqlite" else "btrim({}, E' \\t\\n\\r')"
        columns = f"lower({trim.format(columns)})"
    sql = (
        f"SELECT id FROM (SELECT id, count(*) OVER (PARTITION BY {columns}) AS n "
        f"FROM {quote_name(connection, table.name)}) AS counted WHERE n > 1"
    )
    return set(connection.exec_driver_sql(sql).scalars())


def names(connection: Connection, table: OldTable) -> set[str]:
    """All values of a table's `name`."""
    driver: Any = connection.connection.driver_connection
    cursor = driver.execute(f"SELECT DISTINCT name FROM {quote_name(connection, table.name)} WHERE name IS NOT NULL")
    return {row[0] for row in cursor}


def as_json(table: OldTable, row: Row) -> str:
    """A row as it was stored, for upgrade_rejects: bytes as hex, and nothing that JSON or JSONB lacks."""
    return json.dumps({name: _plain(value) for name, value in zip(table.names, row, strict=True)}, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, str) and "\0" in value:
        return {"hex": value.encode().hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value
