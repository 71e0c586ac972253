"""Recognizes an old Prisma database: its stage, its tables, and its raw rows."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, inspect

from pharmdb.database import dialect, ids, storable
from pharmdb.errors import RevisionError
from pharmdb.legacy import second_reader
from pharmdb.models import MODELS, Base, DatasetOverride
from pharmdb.schema import prisma_names
from pharmdb.types import StrictBoolean, kind

Row = tuple[Any, ...]


# Each stage is one migration of the old system.
MIGRATIONS = {
    "20260127123216_init": 1,
    "20260127132944_add_role_to_user": 2,
    "20260127140114_add_dataset_override": 3,
    "20260128101532_init": 4,
}


MIGRATIONS_TABLE = "_prisma_migrations"
_READ = ("migration_name", "finished_at", "rolled_back_at")


BATCH = 5000


class RejectedError(Exception):
    """A row that breaks a rule of the new schema; the message is the reason.

    `kind` is the reason by which rows are grouped, `detail` this row's value, or "".
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail

    @classmethod
    def of(cls, reasons: Sequence[RejectedError]) -> RejectedError:
        """Combines several reasons into one error; its kind is that of the first."""
        first, *others = reasons
        found = cls(first.kind, first.detail)
        found.args = ("; ".join(map(str, (first, *others))),)
        return found


@dataclass(frozen=True)
class OldTable:
    """One table of the old system: our model of it, and the old name and the kind of each column."""

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
        """The new column names, in the same order."""
        return list(self.model.__table__.columns.keys())

    @property
    def owner(self) -> int | None:
        """The index of the column that refers to the user."""
        return self.kinds.index("owner") if "owner" in self.kinds else None


def _kind(column: Any) -> str:
    if column.primary_key:
        return "id"
    if column.foreign_keys:
        return "owner"
    if isinstance(column.type, StrictBoolean):
        return "boolean"
    found = kind(column)
    return "count" if found == "integer" else found


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
    """The stage (1 to 4), the columns of each table, and notes for the user as (what, found).

    `reached` is the highest id that each table ever gave; the row that had it may be deleted.
    """

    stage: int
    columns: dict[str, tuple[str, ...]]
    notes: tuple[tuple[str, str], ...]
    reached: dict[str, int]

    def has(self, table: OldTable) -> bool:
        return table.name in self.columns


def recognize(connection: Connection, source: str) -> Recognition:
    """Determines the stage from tables and columns, and compares it with _prisma_migrations.

    A history of other migrations than pharmdb knows is a note, where tables and columns are those of a stage. Raises
    RevisionError if this is not an old database of the trainer.
    """
    # Values are read as text, so the formats must not depend on the server's or the user's settings.
    dialect.of(connection).set_local(connection, datestyle="ISO", timezone="UTC", extra_float_digits="3")
    inspector = inspect(connection)
    tables = inspector.get_table_names()
    if not tables:
        raise _unknown(source, "an empty database, without tables")
    reflected = {t.name: inspector.get_columns(t.name) for t in TABLES if t.name in tables}
    columns = {name: {column["name"] for column in found} for name, found in reflected.items()}
    lacking = [t.name for t in TABLES if t.model is not DatasetOverride and t.name not in columns]
    if lacking:
        shown = ", ".join(sorted(tables)[:8])
        raise _unknown(source, f"no table {', '.join(lacking)}; its tables are: {shown}")
    for table in TABLES:
        missing = set(table.names) - columns.get(table.name, set(table.names)) - {"role"}
        if missing:
            raise _unknown(source, f"{table.name} without {', '.join(sorted(missing))}")
        if table.name in columns and inspector.get_pk_constraint(table.name)["constrained_columns"] != ["id"]:
            raise _unknown(source, f"{table.name} without its primary key id")
        for column in reflected.get(table.name, ()):
            if column["name"] == "id" and not isinstance(column["type"], Integer):
                raise _unknown(source, f"{table.name} with a primary key of the type {column['type']}")
    notes: list[tuple[str, str]] = []
    stage = _stage(inspector, columns, notes)
    finished = _migrations(connection, inspector, tables, notes)
    said = max((MIGRATIONS[name] for name in finished if name in MIGRATIONS), default=None)
    if said is not None and said != stage:
        notes.append(("stage", f"{MIGRATIONS_TABLE} says {said}, but tables and columns show {stage}, which is used"))
    for table in TABLES:
        extra = columns.get(table.name, set()) - set(table.names)
        for name in sorted(extra):
            quoted = quote_name(connection, name)
            filled = connection.exec_driver_sql(
                f"SELECT count(*) FROM {quote_name(connection, table.name)} WHERE {quoted} IS NOT NULL"
            ).scalar_one()
            notes.append(("extra column", f"{table.name}.{name}: filled in {filled} rows, kept only in the backup"))
    for name in sorted(set(tables) - {t.name for t in TABLES} - {MIGRATIONS_TABLE}):
        notes.append(("unknown table", f"{name}: kept only in the backup"))
    known = {t.name: tuple(n for n in t.names if n in columns[t.name]) for t in TABLES if t.name in columns}
    reached = ids.reached(connection, known)
    for name in [name for name, last in reached.items() if last > ids.LARGEST]:
        found = f"{name} has reached {reached.pop(name)}, too high to continue; new ids follow the largest imported one"
        notes.append(("ids", found))
    return Recognition(stage, known, (("stage", str(stage)), *notes), reached)


def _unknown(source: str, found: str) -> RevisionError:
    return RevisionError(
        expected=f"an old database of the trainer in {source}, at one of its four stages",
        found=found,
        unchanged="the source and the target",
        note="set source to the old system's database",
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
        notes.append(("partly applied", f"a part of stage 4; missing: {missing}"))
    return 3


def _migrations(connection: Connection, inspector: Any, tables: list[str], notes: list[tuple[str, str]]) -> list[str]:
    """The names of the finished migrations; failed and unknown ones become notes."""
    if MIGRATIONS_TABLE not in tables:
        notes.append(("migrations", f"no {MIGRATIONS_TABLE}: created by prisma db push"))
        return []
    lacking = set(_READ) - {column["name"] for column in inspector.get_columns(MIGRATIONS_TABLE)}
    if lacking:
        notes.append(("migrations", f"{MIGRATIONS_TABLE} has no {', '.join(sorted(lacking))}, so it is not used"))
        return []
    own = dialect.of(connection)
    own.read_bytes(connection, second_reader.decode)
    # As text: any program may have written any value.
    columns = ", ".join(map(own.as_text, _READ))
    finished = []
    rows = connection.exec_driver_sql(f"SELECT {columns} FROM {MIGRATIONS_TABLE}")
    for name, finished_at, rolled_back_at in sorted(rows, key=repr):
        if rolled_back_at is not None:
            notes.append(("failed migration", f"{name}: rolled back"))
        elif finished_at is None:
            notes.append(("failed migration", f"{name}: started but never finished"))
        else:
            finished.append(str(name))
    others = sorted(set(finished) - set(MIGRATIONS))
    if others:
        notes.append(("other migrations", f"{', '.join(others)}: tables and columns tell the stage"))
    return finished


def quote_name(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)


def as_json(table: OldTable, row: Row, limits: storable.Limits) -> str:
    """A raw row for upgrade_rejects: bytes as hex, and nothing that JSON or the target can't represent."""
    plain = {name: _plain(value, limits) for name, value in zip(table.names, row, strict=True)}
    return json.dumps(plain, ensure_ascii=False)


def _plain(value: Any, limits: storable.Limits) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, str) and ("\0" in value or limits.lacking(value)):
        return {"hex": value.encode().hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    # A column may have got another type than Prisma's, such as NUMERIC.
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
