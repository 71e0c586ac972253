"""Pages of a table: filters, search and sorting in SQL, by keyset, so that no page costs more for its depth."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    cast,
    column,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy import table as sql_table
from sqlalchemy.types import NullType, String

from pharmdb.database import targets, transactions
from pharmdb.studio_app import values
from pharmdb.studio_app.catalogue import Catalogue, Column, NamedType, Table
from pharmdb.studio_app.statement_log import MASKED, Journal, Session, mask_hashes

PAGE_SIZES = (25, 50, 100, 250, 500)
COUNT_CAP = 10_000
CELL_CUT = 300
OPERATORS = ("=", "≠", "<", "≤", ">", "≥", "between", "contains", "in", "is empty", "is not empty")

# Cells that are masked are compared by a digest that only this process can make.
_DIGEST_KEY = secrets.token_bytes(32)

Cell = str | None | dict[str, Any]

_ONE: ColumnElement[int] = literal_column("1")


@dataclass(frozen=True)
class Filter:
    """One condition on a column. `upper` is between's second value, `items` the values of `in`."""

    column: str
    operator: str
    value: str = ""
    upper: str = ""
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """What is looked at: filters that all (or, with `match` "any", one at least) hold, a search, an order, a page.

    `sort` is ((column, descending), …); rows that are equal in it are ordered by the key. NULL counts as greatest.
    `place` is a row's place in that order as `Page.first` and `Page.last` give it; `direction` says which rows are
    wanted: those "after" it, "before" it, or "from" it on. Without a place: the first page, or with "before" the last.
    """

    filters: tuple[Filter, ...] = ()
    match: Literal["all", "any"] = "all"
    search: str = ""
    sort: tuple[tuple[str, bool], ...] = ()
    size: int = 50
    place: tuple[str | None, ...] | None = None
    direction: Literal["after", "before", "from"] = "after"


@dataclass(frozen=True)
class Row:
    """`key` names the row; `cells` are in the order of the table's columns."""

    key: list[str | None]
    cells: list[Cell]


@dataclass(frozen=True)
class Page:
    rows: list[Row]
    first: list[str | None] | None
    last: list[str | None] | None
    has_previous: bool
    has_next: bool
    ms: float = 0.0


@dataclass(frozen=True)
class Count:
    """`exact`: all rows were counted. Else `rows` is an estimate of PostgreSQL's, or the cap: there are more."""

    rows: int
    exact: bool
    estimate: bool
    text: str = field(default="")


@contextmanager
def reading(target: targets.Target, journal: Journal) -> Iterator[Session]:
    """A session that can't write, whose texts are always text: bytes that are no UTF-8 are shown as �."""
    with transactions.reading(target) as connection, journal.watch(connection) as session:
        prepare(connection)
        yield session


def prepare(connection: Connection) -> None:
    """Values come as text in one form, whatever the server is set to."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        driver.text_factory = lambda data: data.decode("utf-8", "replace")
    else:
        connection.execute(
            select(
                func.set_config("DateStyle", "ISO, YMD", True),
                func.set_config("IntervalStyle", "iso_8601", True),
                func.set_config("bytea_output", "hex", True),
                func.set_config("extra_float_digits", "1", True),
            )
        )


def database_name(target: targets.Target, session: Session) -> str:
    """The database's name, by the server's own word: a URL may leave it to a service file."""
    if target.is_sqlite:
        return target.name
    row = session.first(select(func.current_database()))
    return str(row[0]) if row else ""


def page(session: Session, table: Table, view: View) -> Page:
    """One page. Raises UnfitError for a filter, a sort or a place that does not fit the table."""
    order = _order(table, view)
    backwards = view.direction == "before"
    statement = _selected(table, order, view)
    if view.place is not None:
        statement = statement.where(_beyond(order, _place(order, view.place), backwards, view.direction == "from"))
    statement = statement.order_by(*(part.ordered(backwards) for part in order)).limit(view.size + 1)
    found = session.rows(statement)
    if backwards and view.place is not None and len(found) <= view.size:
        # Too few rows before this place for a full page: then it is the first one.
        return page(session, table, _at_start(view))
    more = len(found) > view.size
    found = found[: view.size]
    if backwards:
        found.reverse()
    width = len(table.columns)
    places = [[values.to_wire(value) for value in row[width:]] for row in (found[:1] + found[-1:])]
    earlier = _has_earlier(session, table, order, view, places[0]) if found and not backwards else more
    return Page(
        rows=[_row(table, row) for row in found],
        first=places[0] if found else None,
        last=places[-1] if found else None,
        has_previous=earlier,
        has_next=view.place is not None if backwards else more,
        ms=session.last.ms if session.last else 0.0,
    )


def _at_start(view: View) -> View:
    return View(view.filters, view.match, view.search, view.sort, view.size)


def _has_earlier(session: Session, table: Table, order: list[_Part], view: View, first: list[str | None]) -> bool:
    if view.place is None:
        return False
    if view.direction == "after":
        return True
    before = _beyond(order, _place(order, first), True, False)
    statement = select(_ONE).select_from(table.clause).where(condition(table, view), before).limit(1)
    return bool(session.rows(statement))


def count(session: Session, table: Table, view: View) -> Count:
    """Up to 10,000 rows are counted; PostgreSQL's own estimate is taken for a whole table with more."""
    inner = select(_ONE).select_from(table.clause).where(condition(table, view)).limit(COUNT_CAP + 1)
    row = session.first(select(func.count()).select_from(inner.subquery()))
    found = int(row[0]) if row else 0
    if found <= COUNT_CAP:
        return Count(found, True, False, f"{found:,} row{'' if found == 1 else 's'}")
    if not session.is_sqlite and not view.filters and not view.search:
        oid = func.to_regclass(func.quote_ident(table.name))
        estimated = session.first(
            select(column("reltuples")).select_from(sql_table("pg_class")).where(column("oid") == oid)
        )
        if estimated and estimated[0] > COUNT_CAP:
            return Count(int(estimated[0]), False, True, f"about {int(estimated[0]):,} rows (PostgreSQL's estimate)")
    return Count(COUNT_CAP, False, False, f"more than {COUNT_CAP:,} rows")


def condition(table: Table, view: View) -> ColumnElement[bool]:
    """The filters and the search as SQL, every value bound. Raises UnfitError where a value does not fit."""
    parts = [_compared(table.column(each.column), each) for each in view.filters]
    filters = and_(true(), *parts) if view.match == "all" or not parts else or_(false(), *parts)
    return and_(filters, _searched(table, view.search)) if view.search else filters


def _searched(table: Table, text: str) -> ColumnElement[bool]:
    kinds = ("text", "integer", "number", "datetime", "date", "enum", "json", "raw", "any")
    columns = [c for c in table.columns.values() if c.searchable and c.kind in kinds]
    return or_(false(), *(_contains(c, text) for c in columns))


def _contains(found: Column, text: str) -> ColumnElement[bool]:
    if "\0" in text and not found.sqlite:
        raise values.UnfitError("PostgreSQL stores no NUL character")
    # LIKE would stop at a NUL on SQLite, and fold other letters than ASCII's on PostgreSQL.
    position = func.instr if found.sqlite else func.strpos
    return position(found.lowered, values.lowered(text)) > 0


def _compared(found: Column, each: Filter) -> ColumnElement[bool]:
    if each.operator == "is empty":
        return column(found.name, NullType()).is_(None)
    if each.operator == "is not empty":
        return column(found.name, NullType()).is_not(None)
    if not found.searchable:
        raise values.UnfitError(f"{found.name} is a secret: by comparing it could be guessed")
    if found.kind == "bytes":
        raise values.UnfitError(f"{found.name} holds bytes: it can only be empty or not")
    if each.operator == "contains":
        return _contains(found, each.value)
    raw = found.raw
    if each.operator == "between":
        low, high = (found.bound(found.parsed(text)) for text in (each.value, each.upper))
        return and_(raw >= low, raw <= high)
    if each.operator == "in":
        return raw.in_([found.bound(found.parsed(item)) for item in each.items])
    value = found.bound(found.parsed(each.value))
    operators: dict[str, Callable[[], ColumnElement[bool]]] = {
        "=": lambda: raw == value,
        "≠": lambda: raw.is_distinct_from(value),
        "<": lambda: raw < value,
        "≤": lambda: raw <= value,
        ">": lambda: raw > value,
        "≥": lambda: raw >= value,
    }
    if each.operator not in operators:
        raise values.UnfitError(f"a filter is one of {', '.join(OPERATORS)}, not {each.operator!r}")
    return operators[each.operator]()


# -- order and place ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """One column of the order. NULL is the greatest value, as PostgreSQL has it."""

    raw: ColumnElement[Any]
    bound: Any
    descending: bool
    nullable: bool

    def ordered(self, backwards: bool) -> ColumnElement[Any]:
        descending = self.descending != backwards
        ordered: ColumnElement[Any] = self.raw.desc() if descending else self.raw.asc()
        if not self.nullable:
            return ordered
        return ordered.nulls_first() if descending else ordered.nulls_last()

    def equals(self, value: Any) -> ColumnElement[bool]:
        return self.raw.is_(None) if value is None else self.raw == self.bound(value)

    def beyond(self, value: Any, backwards: bool) -> ColumnElement[bool]:
        if self.descending != backwards:
            return self.raw.is_not(None) if value is None else self.raw < self.bound(value)
        if value is None:
            return false()
        greater: ColumnElement[bool] = self.raw > self.bound(value)
        return or_(greater, self.raw.is_(None)) if self.nullable else greater

    def not_behind(self, value: Any, backwards: bool) -> ColumnElement[bool]:
        """A range on the first column alone, which an index can serve; true where there is none."""
        if self.nullable or value is None:
            return true()
        descending = self.descending != backwards
        bounded: ColumnElement[bool] = self.raw <= self.bound(value) if descending else self.raw >= self.bound(value)
        return bounded


def _order(table: Table, view: View) -> list[_Part]:
    parts = []
    for name, descending in view.sort:
        found = table.column(name)
        if not found.searchable:
            raise values.UnfitError(f"{name} is a secret: it can't be sorted by")
        parts.append(_Part(found.raw, found.bound, descending, found.nullable))
    sorted_by = {name for name, _ in view.sort}
    # The key goes the way of the last sort, so that an index on both can serve it.
    last = view.sort[-1][1] if view.sort else False
    for name in table.key:
        if name not in sorted_by:
            parts.append(_key_part(table, name, last))
    return parts


def _key_part(table: Table, name: str, descending: bool) -> _Part:
    if name in table.columns:
        found = table.columns[name]
        # SQLite lets NULL into a primary key that is not the rowid.
        return _Part(found.raw, found.bound, descending, found.nullable)
    return _Part(column(name, NullType()), _as_tid if name == "ctid" else lambda value: value, descending, False)


def _as_tid(value: str) -> Any:
    return cast(literal(value, String), NamedType("tid"))


def _place(order: list[_Part], place: Sequence[str | None]) -> list[Any]:
    if len(place) != len(order):
        raise values.UnfitError("the address names a place in another order")
    return [values.from_wire(text) for text in place]


def _beyond(order: list[_Part], place: list[Any], backwards: bool, inclusive: bool) -> ColumnElement[bool]:
    """All rows on the far side of a place: the first column beyond it, or equal and the next one beyond, …"""
    equal: list[ColumnElement[bool]] = []
    choices = []
    for part, value in zip(order, place, strict=True):
        choices.append(and_(true(), *equal, part.beyond(value, backwards)))
        equal.append(part.equals(value))
    if inclusive:
        choices.append(and_(true(), *equal))
    return and_(order[0].not_behind(place[0], backwards), or_(*choices))


def _selected(table: Table, order: list[_Part], view: View) -> Select[Any]:
    ordered = [part.raw if table.sqlite else cast(part.raw, Text) for part in order]
    shown = [c.read.label(f"c{n}") for n, c in enumerate(table.columns.values())]
    places = [each.label(f"p{n}") for n, each in enumerate(ordered)]
    return select(*shown, *places).select_from(table.clause).where(condition(table, view))


def whole(table: Table, view: View, shown: Sequence[Column]) -> Select[Any]:
    """The statement for every row of a view, with these columns, in its order."""
    order = (part.ordered(backwards=False) for part in _order(table, view))
    columns = [c.read.label(f"c{n}") for n, c in enumerate(shown)]
    return select(*columns).select_from(table.clause).where(condition(table, view)).order_by(*order)


# -- rows and cells ----------------------------------------------------------------------------------


def read_rows(session: Session, table: Table, keys: Sequence[Sequence[str | None]], *, lock: bool = False) -> list[Any]:
    """For each key the row as the driver gives it, or None where there is none."""
    return [read_row(session, table, key, lock=lock) for key in keys]


def read_row(session: Session, table: Table, key: Sequence[str | None], *, lock: bool = False) -> Any:
    """One row, in the order of the table's columns; None where there is none. `lock` keeps others from changing it."""
    columns = [c.read for c in table.columns.values()]
    statement = select(*columns).select_from(table.clause).where(named(table, key))
    if lock and not session.is_sqlite:
        statement = statement.with_for_update()
    return session.first(statement)


def named(table: Table, key: Sequence[str | None]) -> ColumnElement[bool]:
    """The condition that names one row. Raises UnfitError for a key of another form."""
    if len(key) != len(table.key) or not table.has_key:
        raise values.UnfitError(f"a row of {table.name} is named by {', '.join(table.key)}")
    parts = []
    for name, text in zip(table.key, key, strict=True):
        found = table.columns[name]
        value = values.from_wire(text)
        parts.append(found.raw.is_(None) if value is None else found.raw == found.bound(value))
    return and_(true(), *parts)


def key_of(table: Table, row: Sequence[Any]) -> list[str | None]:
    """The key of a row that was read, for `named`."""
    at = {name: n for n, name in enumerate(table.columns)}
    return [values.to_wire(row[at[name]]) for name in table.key if name in at]


def _row(table: Table, row: Sequence[Any]) -> Row:
    cells = [cell(found, value) for found, value in zip(table.columns.values(), row, strict=False)]
    return Row(key_of(table, row) if table.has_key else [], cells)


def cell(found: Column, value: Any) -> Cell:
    """A value for the page: text, None for NULL; cut or masked, an object with a digest in place of the rest."""
    if value is None:
        return None
    text = values.shown(value, found.kind) or ""
    if found.secret:
        return {"t": MASKED, "d": digest(text), "m": True}
    safe = mask_hashes(text)
    if safe != text:
        return {"t": safe[:CELL_CUT], "d": digest(text), "m": True, "n": len(safe)}
    if len(text) > CELL_CUT:
        # No secret: another kernel, after a reload, must know it again.
        return {
            "t": text[:CELL_CUT],
            "d": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32],
            "n": len(text),
        }
    return text


def digest(text: str) -> str:
    """What stands for a value that does not leave the kernel whole."""
    return hmac.new(_DIGEST_KEY, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def same(before: Cell, now: Cell) -> bool:
    """Whether a cell that was shown is what the database holds now."""
    if isinstance(before, dict) and isinstance(now, dict):
        return before.get("d") == now.get("d")
    return before == now


# -- relations ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Related:
    """Rows of another table that refer to a row: how many, and the filter that shows them."""

    table: str
    column: str
    value: str
    on_delete: str
    count: str


def related(session: Session, tables: Catalogue, table: Table, key: Sequence[str | None]) -> list[Related]:
    """What refers to a row, each counted up to 10,000."""
    row = read_row(session, table, key)
    if row is None:
        return []
    at = {name: n for n, name in enumerate(table.columns)}
    found = []
    for child in table.children:
        value = values.shown(row[at[child.refers_to]], table.columns[child.refers_to].kind)
        if value is not None:
            view = View(filters=(Filter(child.column, "=", value),))
            counted = count(session, tables[child.table], view)
            found.append(Related(child.table, child.column, value, child.on_delete, counted.text))
    return found
