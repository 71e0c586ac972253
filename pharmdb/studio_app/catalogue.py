"""The actual tables of a database: columns with type, key, nullability, default and description."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, TableClause, cast, column, func, inspect, literal, table
from sqlalchemy.types import NullType, String, Text, UserDefinedType

from pharmdb.database import targets
from pharmdb.errors import ParameterError
from pharmdb.models import MODELS, User
from pharmdb.schema import cascades
from pharmdb.schema.bookkeeping import BOOKKEEPING_TABLES
from pharmdb.studio_app import reflection, values
from pharmdb.studio_app.statement_log import Session, is_secret
from pharmdb.types import StrictBoolean, UTCDateTime

_MODELS = {model.__tablename__: model for model in MODELS}


class NamedType(UserDefinedType[str]):
    """A PostgreSQL type by PostgreSQL's name for it, so that text can be cast to it."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **kw: Any) -> str:
        return self.name


@dataclass(frozen=True)
class Column:
    """One column. `kind` is the kind of its values (values.KINDS), `type` the database's name of its type."""

    name: str
    kind: str
    type: str
    nullable: bool
    default: str
    key: bool
    unique: bool
    references: tuple[str, str] | None
    doc: str
    values: tuple[str, ...]
    secret: bool
    is_password: bool
    generated: bool
    sqlite: bool
    # Whether a constraint requires JSON only under a condition; otherwise any text is accepted.
    drafts: bool = False

    @property
    def editable(self) -> bool:
        return self.is_password or not (self.secret or self.generated or self.kind == "bytes")

    @property
    def searchable(self) -> bool:
        """Whether its values can be sorted, compared and searched, which would allow guessing a secret."""
        return not self.secret

    @property
    def raw(self) -> ColumnElement[Any]:
        """The column as an SQL expression for comparisons."""
        found: ColumnElement[Any] = column(self.name, NullType())
        # PostgreSQL can't sort `json`, but can sort its text.
        return cast(found, Text) if self.type == "json" else found

    @property
    def read(self) -> ColumnElement[Any]:
        """The column as it is read: SQLite's own value, or PostgreSQL's text form, which is lossless."""
        found: ColumnElement[Any] = column(self.name, NullType())
        return found if self.sqlite else cast(found, Text).label(self.name)

    @property
    def lowered(self) -> ColumnElement[Any]:
        """The column's text with ASCII letters in lower case, the same on both databases."""
        found = cast(column(self.name, NullType()), Text)
        return func.lower(found if self.sqlite else found.collate("C"))

    def bound(self, value: Any) -> Any:
        """A value from the driver or from `parsed`, as a bound parameter of the column's type."""
        if self.sqlite or value is None:
            return value
        type_ = "text" if self.type == "json" else self.type
        return cast(literal(value, String), NamedType(type_))

    def parsed(self, typed: str) -> Any:
        """Converts typed text for `bound`. Raises UnfitError with a sentence that names the column."""
        try:
            kind = "text" if self.drafts else self.kind
            return values.parsed(typed, kind, sqlite=self.sqlite, type_=self.type, values=self.values)
        except values.UnfitError as error:
            raise values.UnfitError(
                f"{self.name} takes {error}" if isinstance(error, values.OtherValueError) else f"{self.name}: {error}"
            ) from None


@dataclass(frozen=True)
class Table:
    """One table. `key` is the tie-breaker when sorting; without `has_key` it is SQLite's rowid or PostgreSQL's ctid."""

    name: str
    model: str
    columns: dict[str, Column]
    key: tuple[str, ...]
    has_key: bool
    checks: dict[str, str]
    children: tuple[cascades.Child, ...]
    foreign: dict[str, tuple[str, str]] = field(default_factory=dict)
    sqlite: bool = True
    # Its columns that refer to another table, and that table.
    parents: dict[str, Table] = field(default_factory=dict, compare=False, repr=False)

    @property
    def clause(self) -> TableClause:
        return table(self.name)

    @property
    def why_read_only(self) -> str:
        """Why no row can be edited, as a phrase; empty if rows can be edited."""
        if self.name in BOOKKEEPING_TABLES:
            return "pharmdb maintains this table itself"
        return "" if self.has_key else f"the table has no primary key{self._nullable}, so rows can't be identified"

    @property
    def _nullable(self) -> str:
        nullable = self.key and all(name in self.columns for name in self.key)
        return " without NULL" if nullable else ""

    def column(self, name: str) -> Column:
        """The column with this name. Raises UnfitError if there is none."""
        if name not in self.columns:
            raise values.UnfitError(f"{self.name} has no column {name!r}")
        return self.columns[name]

    def key_column(self, name: str) -> ColumnElement[Any]:
        return self.columns[name].raw if name in self.columns else column(name, NullType())


Catalogue = dict[str, Table]


def catalogue(session: Session) -> Catalogue:
    """All tables of the database; those of the models come first, in the models' order."""
    view = inspect(session.connection)
    reflected = reflection.reflect(session)
    columns, sqlite = reflected.columns, reflected.sqlite
    keys = reflection.by_table(view.get_multi_pk_constraint())
    uniques = reflection.by_table(view.get_multi_unique_constraints())
    checks = reflection.by_table(view.get_multi_check_constraints())
    children = cascades.children(session.connection)
    references: dict[str, dict[str, tuple[str, str]]] = {}
    for parent, each in children.items():
        for key in each:
            references.setdefault(key.table, {})[key.column] = (parent, key.refers_to)
    order = [name for name in _MODELS if name in columns] + sorted(set(columns) - set(_MODELS))
    found = {}
    for name in order:
        primary = tuple((keys.get(name) or {}).get("constrained_columns") or ())
        rules = {check["name"] or "": check["sqltext"] for check in checks.get(name) or []}
        unique = {c for key in uniques.get(name) or [] if len(key["column_names"]) == 1 for c in key["column_names"]}
        found[name] = Table(
            name,
            _MODELS[name].__name__ if name in _MODELS else "",
            {
                raw["name"]: _column(name, raw, primary, unique, rules, references.get(name, {}), sqlite)
                for raw in columns[name]
            },
            primary or (reflected.row_name,),
            # SQLite allows NULL in a primary key that is not the rowid; NULL identifies no row.
            bool(primary) and not any(raw["nullable"] for raw in columns[name] if raw["name"] in primary),
            rules,
            tuple(sorted(children.get(name, []), key=lambda c: (order.index(c.table), c.column))),
            references.get(name, {}),
            sqlite,
        )
    for table_ in found.values():
        table_.parents.update({name: found[parent] for name, (parent, _) in table_.foreign.items() if parent in found})
    return found


def find(tables: Catalogue, target: targets.Target, name: str) -> Table:
    """Finds a table by its name or its model's name. Raises ParameterError if there is none."""
    for found in tables.values():
        if name in (found.name, found.model):
            return found
    raise ParameterError(
        expected=f"a table or a model, one of {', '.join(t.model or t.name for t in tables.values())}",
        found=f"{name!r}",
        command=targets.command(target, "pharmdb studio" if tables else "pharmdb migrate"),
    )


def _column(
    table_name: str,
    raw: dict[str, Any],
    primary: tuple[str, ...],
    unique: set[str],
    checks: dict[str, str],
    references: dict[str, tuple[str, str]],
    sqlite: bool,
) -> Column:
    name = raw["name"]
    model = _MODELS.get(table_name)
    own = model.__table__.columns.get(name) if model is not None else None
    labels = raw["labels"] or _labels(name, checks)
    kind = values.kind_of_sqlite(raw["type"]) if sqlite else values.kind_of_postgresql(raw["type"])
    drafts = False
    if labels:
        kind = "enum"
    elif rules := [
        sql
        for sql in checks.values()
        if re.search(rf'json_valid\("?{re.escape(name)}\b|\b{re.escape(name)}\)?(::text)?\)?::json\b', sql)
    ]:
        kind = "json"
        drafts = all(re.search(r"\bCASE\s+WHEN\b|\bNOT\s+\w+\s+OR\b", sql) for sql in rules)
    elif own is not None and isinstance(own.type, UTCDateTime):
        kind = "datetime"
    elif own is not None and isinstance(own.type, StrictBoolean):
        kind = "boolean"
    is_password = model is User and name == "password_hash"
    return Column(
        name=name,
        kind=kind,
        type=raw["type"],
        nullable=raw["nullable"],
        default=raw["default"] or "",
        key=name in primary,
        unique=name in unique,
        references=references.get(name),
        doc=(own.doc if own is not None else "") or raw["doc"],
        values=labels,
        secret=is_password or is_secret(name, table_name),
        is_password=is_password,
        generated=raw["generated"],
        sqlite=sqlite,
        drafts=drafts,
    )


def _labels(name: str, checks: dict[str, str]) -> tuple[str, ...]:
    """The values that a check constraint allows, such as `role IN ('USER', 'ADMIN')`, in either database's syntax."""
    word = rf'\(*"?{re.escape(name)}"?\)*(?:::text)?'
    for sql in checks.values():
        match = re.fullmatch(rf"{word} (?:IN \(|= ANY \(\(?ARRAY\[)(.+?)\]?\)*(?:::text\[\])?\)*", sql.strip())
        items = re.findall(r"'((?:[^']|'')*)'", match[1]) if match else []
        if items:
            return tuple(item.replace("''", "'") for item in items)
    return ()
