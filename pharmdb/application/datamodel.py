"""The text of schema.prisma: what Prisma Client has to know of the tables, all of it read from the models."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Column, ForeignKeyConstraint, Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from pharmdb import models
from pharmdb.models import MODELS, Base
from pharmdb.schema.prisma_names import camel
from pharmdb.types import utcnow

# What the application calls the rows of a user. Every other name follows from a model's or a column's.
OWNED = {
    models.UserSettings: "settings",
    models.Bookmark: "bookmarks",
    models.Attempt: "attempts",
    models.ProgressByTag: "progress",
    models.SpacedRepetitionItem: "srsItems",
    models.DatasetOverride: "datasetOverrides",
}

# PostgreSQL's types as Prisma spells them; a native type stands only where it is not Prisma's own choice. An id is an
# Int, for which Prisma would make an INTEGER: the application can't turn a BigInt into JSON.
TYPES = {
    "BIGINT": ("Int", ""),
    "INTEGER": ("Int", ""),
    "DOUBLE PRECISION": ("Float", ""),
    "VARCHAR": ("String", "@db.VarChar"),
    "TEXT": ("String", ""),
    "BOOLEAN": ("Boolean", ""),
    "JSONB": ("Json", ""),
    "TIMESTAMP WITH TIME ZONE": ("DateTime", "@db.Timestamptz(3)"),
}

_HEADER = """\
// Written by `pharmdb prisma` from the models of pharmdb, which alone changes the tables. `prisma migrate` and
// `prisma db push` don't know the rules that the database checks: don't run them on it.
"""


@dataclass(frozen=True)
class Field:
    """One line of a model. `column` is "" for a relation."""

    name: str
    type: str
    attributes: str = ""
    column: str = ""


def text(provider: str, version: int) -> str:
    """The whole file, formatted as by `prisma format`; `provider` is sqlite or postgresql, `version` Prisma's."""
    # "client" has no engine of its own besides the driver adapter. Prisma 7 refuses a URL here.
    generator = {"provider": '"prisma-client-js"', "engineType": '"client"'}
    source = {"provider": f'"{provider}"'} | ({"url": 'env("DATABASE_URL")'} if version < 7 else {})
    blocks = [_HEADER, _settings("generator client", generator), _settings("datasource db", source)]
    return "\n".join([*blocks, *(_model(model, provider) for model in MODELS)])


def fields(model: type[Base], provider: str) -> list[Field]:
    """The fields of a model: its columns, the user that a row belongs to, and the rows that belong to a user."""
    table = Base.metadata.tables[model.__tablename__]
    return [
        *(_column(column, provider) for column in table.columns),
        *(_owner(key, provider) for key in table.foreign_key_constraints),
        *(_owned(other) for other in MODELS for key in _keys(other) if key.referred_table is table),
    ]


def _keys(model: type[Base]) -> list[ForeignKeyConstraint]:
    return list(Base.metadata.tables[model.__tablename__].foreign_key_constraints)


def _settings(name: str, pairs: dict[str, str]) -> str:
    width = max(map(len, pairs))
    return "\n".join([f"{name} {{", *(f"  {key:{width}} = {value}" for key, value in pairs.items()), "}", ""])


def _model(model: type[Base], provider: str) -> str:
    found = fields(model, provider)
    name = max(len(field.name) for field in found)
    type_ = max(len(field.type) for field in found)
    lines = [f"{field.name:{name}} {field.type:{type_}} {field.attributes}".rstrip() for field in found]
    rest = [*_indexes(Base.metadata.tables[model.__tablename__]), f'@@map("{model.__tablename__}")']
    return "\n".join([f"model {model.__name__} {{", *_indented(lines), "", *_indented(rest), "}", ""])


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _column(column: Column[object], provider: str) -> Field:
    # Every time is to the millisecond, whether its type says so or not.
    sql = column.type.compile(postgresql.dialect()).replace("(3)", "")  # type: ignore[no-untyped-call]
    type_, native = TYPES[sql]
    name = camel(column.name)
    attributes = [
        _primary(column, provider),
        *(f'@unique(map: "{unique.name}")' for unique in uniques(column.table) if [*unique.columns] == [column]),
        _default(column),
        "@updatedAt" if column.onupdate is not None else "",
        f'@map("{column.name}")' if name != column.name else "",
        native if provider == "postgresql" else "",
    ]
    return Field(name, type_ + "?" * bool(column.nullable), " ".join(filter(None, attributes)), column.name)


def _primary(column: Column[object], provider: str) -> str:
    if not column.primary_key:
        return ""
    # Prisma knows no names of primary and foreign keys on SQLite.
    name = f'(map: "{column.table.primary_key.name}")' if provider == "postgresql" else ""
    return f"@id{name} @default(autoincrement())"


def _default(column: Column[object]) -> str:
    default = getattr(column.server_default, "arg", None)
    if default is None:
        return ""
    if isinstance(default, utcnow):
        return "@default(now())"
    sql = str(default)
    value = json.dumps(sql[1:-1].replace("''", "'")) if sql.startswith("'") else sql
    return f"@default({value})"


def _owner(key: ForeignKeyConstraint, provider: str) -> Field:
    """user_id is the column of the relation `user`."""
    (column,) = key.columns
    (referred,) = key.elements
    parts = [
        f"fields: [{camel(column.name)}]",
        f"references: [{camel(referred.column.name)}]",
        f"onDelete: {_action(key.ondelete)}",
        f"onUpdate: {_action(key.onupdate)}",
        *([f'map: "{key.name}"'] if provider == "postgresql" else []),
    ]
    (model,) = [model for model in MODELS if model.__tablename__ == key.referred_table.name]
    return Field(camel(column.name.removesuffix("_id")), model.__name__, f"@relation({', '.join(parts)})")


def _action(sql: str | None) -> str:
    return "".join(word.capitalize() for word in (sql or "NO ACTION").split())


def _owned(model: type[Base]) -> Field:
    (key,) = _keys(model)
    one = any([*unique.columns] == [*key.columns] for unique in uniques(key.table))
    return Field(OWNED[model], model.__name__ + ("?" if one else "[]"))


def uniques(table: Table) -> list[UniqueConstraint]:
    """The unique constraints of a table, by name."""
    found = [constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    return sorted(found, key=lambda constraint: str(constraint.name))


def _indexes(table: Table) -> list[str]:
    several = [_over("@@unique", unique) for unique in uniques(table) if len(unique.columns) > 1]
    return several + [_over("@@index", index) for index in sorted(table.indexes, key=lambda index: str(index.name))]


def _over(kind: str, found: UniqueConstraint | Index) -> str:
    return f'{kind}([{", ".join(camel(column.name) for column in found.columns)}], map: "{found.name}")'
