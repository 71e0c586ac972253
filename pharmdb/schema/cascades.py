"""Foreign keys of any database, and the effects of deleting rows on other tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, column, func, inspect, select, text
from sqlalchemy import table as sql_table


@dataclass(frozen=True)
class Child:
    """A foreign key of another table that refers to this one."""

    table: str
    column: str
    refers_to: str
    on_delete: str


@dataclass(frozen=True)
class Cascade:
    """The effect of deleting rows on another table: `on_delete` is CASCADE, SET NULL, NO ACTION, …"""

    table: str
    column: str
    on_delete: str
    rows: int


# A statement that counts rows.
Count = Select[Any]


def children(connection: Connection) -> dict[str, list[Child]]:
    """The foreign keys that refer to each table; composite ones and those to a missing table are left out."""
    view = inspect(connection)
    names = set(view.get_table_names())
    reflect = {"sqlite": _sqlite_keys, "postgresql": _postgresql_keys}[connection.dialect.name]
    found: dict[str, list[Child]] = {}
    for name, keys in reflect(connection).items():
        for key in keys:
            parent = key["referred_table"]
            if len(key["constrained_columns"]) == 1 and parent in names:
                (own,) = key["constrained_columns"]
                (referred,) = key["referred_columns"] or view.get_pk_constraint(parent)["constrained_columns"]
                on_delete = (key.get("options", {}).get("ondelete") or "NO ACTION").upper()
                found.setdefault(parent, []).append(Child(name, own, referred, on_delete))
    return found


def effects(
    count: Callable[[Count], int],
    children: Mapping[str, Sequence[Child]],
    table: str,
    condition: ColumnElement[bool],
) -> list[Cascade]:
    """The rows of other tables that deleting the rows of `table` under this condition affects, at every depth.

    `count` runs a statement and returns its number. Only tables with such rows are listed.
    """
    found: list[Cascade] = []
    _reach(count, children, table, condition, (table,), found)
    return found


def cascaded(
    children: Mapping[str, Sequence[Child]], table: str, condition: ColumnElement[bool], path: tuple[str, ...] = ()
) -> Iterator[tuple[Child, ColumnElement[bool]]]:
    """Where rows are deleted if those of `table` under this condition are: each foreign key, and the condition of its
    rows, a table before those that refer to it.
    """
    for child in children.get(table, ()):
        if child.on_delete == "CASCADE" and child.table not in (*path, table):
            refers_to: ColumnElement[Any] = column(child.refers_to)
            referred = select(refers_to).select_from(sql_table(table)).where(condition)
            hanging: ColumnElement[bool] = column(child.column).in_(referred)
            yield child, hanging
            yield from cascaded(children, child.table, hanging, (*path, table))


def _reach(
    count: Callable[[Count], int],
    children: Mapping[str, Sequence[Child]],
    table: str,
    condition: ColumnElement[bool],
    path: tuple[str, ...],
    found: list[Cascade],
) -> None:
    for child in children.get(table, ()):
        refers_to: ColumnElement[Any] = column(child.refers_to)
        referred = select(refers_to).select_from(sql_table(table)).where(condition)
        hanging: ColumnElement[bool] = column(child.column).in_(referred)
        rows = count(select(func.count()).select_from(sql_table(child.table)).where(hanging))
        if not rows:
            continue
        found.append(Cascade(child.table, child.column, child.on_delete, rows))
        if child.on_delete == "CASCADE" and child.table not in path:
            _reach(count, children, child.table, hanging, (*path, child.table), found)


def _sqlite_keys(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Foreign keys in the inspector's format; the inspector misses ON DELETE of references declared with a column."""
    statement = text('SELECT id, "table", "from", "to", on_delete FROM pragma_foreign_key_list(:name) ORDER BY id, seq')
    found: dict[str, list[dict[str, Any]]] = {}
    for name in inspect(connection).get_table_names():
        keys: dict[int, dict[str, Any]] = {}
        for number, parent, own, referred, on_delete in connection.execute(statement, {"name": name}):
            new = {"referred_table": parent, "constrained_columns": [], "referred_columns": []}
            key = keys.setdefault(number, new | {"options": {"ondelete": on_delete}})
            key["constrained_columns"].append(own)
            # The column is omitted if the reference is to the parent's primary key.
            key["referred_columns"] += [referred] if referred else []
        found[name] = list(keys.values())
    return found


def _postgresql_keys(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    keys = inspect(connection).get_multi_foreign_keys()
    return {name: [dict(key) for key in each] for (_, name), each in keys.items()}
