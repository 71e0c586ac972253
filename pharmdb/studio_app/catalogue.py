"""The tables of a database as it has them: columns with type, key, nullability, default and description."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, TableClause, cast, column, func, inspect, literal, table, text
from sqlalchemy.types import NullType, String, Text, UserDefinedType

from pharmdb.errors import ParameterError
from pharmdb.models import MODELS, User
from pharmdb.schema.bookkeeping import BOOKKEEPING_TABLES
from pharmdb.studio_app import values
from pharmdb.studio_app.statement_log import Session, is_secret
from pharmdb.types import StrictBoolean, UTCDateTime

_MODELS = {model.__tablename__: model for model in MODELS}


class NamedType(UserDefinedType[str]):
    """A type of PostgreSQL by the name that PostgreSQL gives it, so that text can be cast to it."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **kw: Any) -> str:
        return self.name


@dataclass(frozen=True)
class Column:
    """One column. `kind` is what it holds (values.KINDS), `type` what the database calls it."""

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
    # Whether a rule wants JSON only under a condition: else it takes any text.
    drafts: bool = False

    @property
    def editable(self) -> bool:
        return self.is_password or not (self.secret or self.generated or self.kind == "bytes")

    @property
    def searchable(self) -> bool:
        """Whether its values can be sorted, compared and searched; by a secret one could be guessed."""
        return not self.secret

    @property
    def raw(self) -> ColumnElement[Any]:
        """The column, as SQL compares it."""
        found: ColumnElement[Any] = column(self.name, NullType())
        # `json` has no order; its text has.
        return cast(found, Text) if self.type == "json" else found

    @property
    def read(self) -> ColumnElement[Any]:
        """The column, as it is read: SQLite's own value, or PostgreSQL's text, which loses nothing."""
        found: ColumnElement[Any] = column(self.name, NullType())
        return found if self.sqlite else cast(found, Text).label(self.name)

    @property
    def lowered(self) -> ColumnElement[Any]:
        """Its text with ASCII letters in lower case, on both databases."""
        found = cast(column(self.name, NullType()), Text)
        return func.lower(found if self.sqlite else found.collate("C"))

    def bound(self, value: Any) -> Any:
        """A driver's value or what `parsed` gave, as a bound parameter of the column's type."""
        if self.sqlite or value is None:
            return value
        type_ = "text" if self.type == "json" else self.type
        return cast(literal(value, String), NamedType(type_))

    def parsed(self, typed: str) -> Any:
        """What is typed, as `bound` takes it. Raises UnfitError with a sentence that names the column."""
        try:
            kind = "text" if self.drafts else self.kind
            return values.parsed(typed, kind, sqlite=self.sqlite, type_=self.type, values=self.values)
        except values.UnfitError as error:
            raise values.UnfitError(
                f"{self.name} takes {error}" if _takes(error) else f"{self.name}: {error}"
            ) from None


def _takes(error: Exception) -> bool:
    return str(error).startswith(("a ", "one of", "true or"))


@dataclass(frozen=True)
class Child:
    """A foreign key of another table that refers to this one."""

    table: str
    column: str
    refers_to: str
    on_delete: str


@dataclass(frozen=True)
class Table:
    """One table. `key` orders rows that are equal otherwise; without `has_key` it is SQLite's rowid or a tid."""

    name: str
    model: str
    columns: dict[str, Column]
    key: tuple[str, ...]
    has_key: bool
    checks: dict[str, str]
    children: tuple[Child, ...]
    foreign: dict[str, tuple[str, str]] = field(default_factory=dict)
    sqlite: bool = True

    @property
    def clause(self) -> TableClause:
        return table(self.name)

    @property
    def why_read_only(self) -> str:
        """A sentence where no row can be edited, else empty."""
        if self.name in BOOKKEEPING_TABLES:
            return "pharmdb keeps this table itself"
        return "" if self.has_key else f"the table has no primary key{self._nullable}, so a row can't be named"

    @property
    def _nullable(self) -> str:
        nullable = self.key and all(name in self.columns for name in self.key)
        return " without NULL" if nullable else ""

    def column(self, name: str) -> Column:
        """Raises UnfitError where there is none."""
        if name not in self.columns:
            raise values.UnfitError(f"{self.name} has no column {name!r}")
        return self.columns[name]

    def key_column(self, name: str) -> ColumnElement[Any]:
        return self.columns[name].raw if name in self.columns else column(name, NullType())


Catalogue = dict[str, Table]


def catalogue(session: Session) -> Catalogue:
    """Every table of the database, those of the models first, in their order."""
    view = inspect(session.connection)
    columns = _sqlite_columns(session, view.get_table_names()) if session.is_sqlite else _postgresql_columns(session)
    keys = _multi(view, "pk_constraint")
    uniques, checks = (_multi(view, name) for name in ("unique_constraints", "check_constraints"))
    foreign_keys = _sqlite_foreign_keys(session, list(columns)) if session.is_sqlite else _multi(view, "foreign_keys")
    children: dict[str, list[Child]] = {}
    references: dict[str, dict[str, tuple[str, str]]] = {}
    for name in columns:
        for key in foreign_keys.get(name, []):
            # A reference over several columns can't be followed from one cell.
            if len(key["constrained_columns"]) == 1 and key["referred_table"] in columns:
                (own,), parent = key["constrained_columns"], key["referred_table"]
                (referred,) = key["referred_columns"] or keys[parent]["constrained_columns"]
                references.setdefault(name, {})[own] = (parent, referred)
                on_delete = (key.get("options", {}).get("ondelete") or "NO ACTION").upper()
                children.setdefault(parent, []).append(Child(name, own, referred, on_delete))
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
                raw["name"]: _column(name, raw, primary, unique, rules, references.get(name, {}), session.is_sqlite)
                for raw in columns[name]
            },
            primary or (("rowid",) if session.is_sqlite else ("ctid",)),
            # SQLite lets NULL into a key that is not the rowid: it names no row.
            bool(primary) and not any(raw["nullable"] for raw in columns[name] if raw["name"] in primary),
            rules,
            tuple(sorted(children.get(name, []), key=lambda c: (order.index(c.table), c.column))),
            references.get(name, {}),
            session.is_sqlite,
        )
    return found


def find(tables: Catalogue, name: str) -> Table:
    """A table by its own name or its model's. Raises ParameterError where there is none."""
    for found in tables.values():
        if name in (found.name, found.model):
            return found
    raise ParameterError(
        expected=f"a table or a model, one of {', '.join(t.model or t.name for t in tables.values())}",
        found=f"{name!r}",
        next="pharmdb studio --model User" if tables else "pharmdb migrate",
    )


def _multi(view: Any, what: str) -> dict[str, Any]:
    return {name: found for (_, name), found in getattr(view, f"get_multi_{what}")().items()}


def _sqlite_columns(session: Session, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    statement = text('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(:name)')
    for table_name in names:
        rows = session.rows(statement.bindparams(name=table_name))
        alone = sum(bool(row.pk) for row in rows) == 1
        found[table_name] = [
            {
                "name": row.name,
                "type": row.type,
                # INTEGER PRIMARY KEY is the rowid: never NULL, and numbered by SQLite.
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


def _sqlite_foreign_keys(session: Session, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """As the inspector's, which knows no ON DELETE of a reference that is declared beside its column."""
    statement = text('SELECT id, "table", "from", "to", on_delete FROM pragma_foreign_key_list(:name) ORDER BY id, seq')
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        keys: dict[int, dict[str, Any]] = {}
        for row in session.rows(statement.bindparams(name=name)):
            number, parent, own, referred, on_delete = tuple(row)
            key = keys.setdefault(
                number,
                {
                    "referred_table": parent,
                    "constrained_columns": [],
                    "referred_columns": [],
                    "options": {"ondelete": on_delete},
                },
            )
            key["constrained_columns"].append(own)
            # Nothing is named where the parent's primary key is meant.
            key["referred_columns"] += [referred] if referred else []
        found[name] = list(keys.values())
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


def _postgresql_columns(session: Session) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
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
    """The values that a check allows: `role IN ('USER', 'ADMIN')`, in either database's words."""
    word = rf'\(*"?{re.escape(name)}"?\)*(?:::text)?'
    for sql in checks.values():
        match = re.fullmatch(rf"{word} (?:IN \(|= ANY \(\(?ARRAY\[)(.+?)\]?\)*(?:::text\[\])?\)*", sql.strip())
        items = re.findall(r"'((?:[^']|'')*)'", match[1]) if match else []
        if items:
            return tuple(item.replace("''", "'") for item in items)
    return ()
