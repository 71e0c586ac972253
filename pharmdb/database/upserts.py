"""Upserts: inserts missing rows and updates others, in one statement; many rows go through a temporary table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Table,
    and_,
    case,
    column,
    false,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    values,
)

from pharmdb.database import bulk, dialect, driver_errors, placements, triggers

# More rows than this are written through a temporary table.
FEW = 1000
# At most this many rows of a table are reported, created rows first.
SHOWN = 1000
# A statement takes up to 32,766 values on SQLite and 65,535 on PostgreSQL.
CHUNK = 1000

ACTIONS = ("created", "updated", "unchanged")
Key = tuple[Any, ...]


class Upserted(NamedTuple):
    """The numbers of rows created, updated and unchanged, and (key, action) of the first SHOWN rows."""

    counts: tuple[int, int, int]
    shown: list[tuple[Key, str]]


def chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Splits the values into lists short enough for one statement."""
    rest = iter(values)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def existing(connection: Connection, table: Table, key: Sequence[str], keys: Sequence[Key]) -> set[Key]:
    """Which of these keys, at most CHUNK of them, are in the table."""
    columns = [table.c[column] for column in key]
    # SQLite uses the key's index for the condition on the first column; for the tuples alone it would scan the table.
    firsts = columns[0].in_({values[0] for values in keys})
    return {tuple(row) for row in connection.execute(select(*columns).where(firsts, tuple_(*columns).in_(keys)))}


def upsert(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    key: Sequence[str],
    same: Mapping[str, Any] | None = None,
    update: Sequence[str] = (),
) -> Upserted:
    """Inserts the rows whose `key` is missing; in existing rows, writes the `update` columns that differ.

    Each row has the values of `columns`, which include the key; the values of `same` are added to every row. Values
    are text and numbers. Everything happens inside the caller's transaction; more than FEW rows are not held in memory.

    Raises IntegrityError if a constraint of the table rejects a row, RevisionError if a trigger drops one.
    """
    rest = iter(rows)
    head = list(islice(rest, FEW + 1))
    if not head:
        return Upserted((0, 0, 0), [])
    if len(head) > FEW:
        return _many(connection, table, columns, chain(head, rest), key, same or {}, update)
    return _few(
        connection, table, [{**dict(zip(columns, row, strict=True)), **(same or {})} for row in head], key, update
    )


def _few(
    connection: Connection, table: Table, rows: list[dict[str, Any]], key: Sequence[str], update: Sequence[str]
) -> Upserted:
    keys = [tuple(row[column] for column in key) for row in rows]
    there = existing(connection, table, key, keys)
    statement = _on_conflict(dialect.of(connection).insert(table), table, key, update)
    returned = connection.execute(statement.returning(*(table.c[column] for column in key)), rows)
    written = {tuple(row) for row in returned}
    lost = [k for k in keys if k not in written and k not in there]
    # Somebody else may have inserted the row in between.
    if lost and (missing := set(lost) - existing(connection, table, key, lost)):
        raise triggers.swallowed(connection, table.name, len(missing))
    unwritten = [row for k, row in zip(keys, rows, strict=True) if k not in written]
    if unwritten and update and (differing := _differing(connection, table, unwritten, key, update)):
        raise triggers.swallowed(connection, table.name, differing)
    actions = ["unchanged" if k not in written else "updated" if k in there else "created" for k in keys]
    counts = tuple(map(actions.count, ACTIONS))
    return Upserted(counts, list(zip(keys, actions, strict=True)))  # type: ignore[arg-type]


def _differing(
    connection: Connection, table: Table, rows: list[dict[str, Any]], key: Sequence[str], update: Sequence[str]
) -> int:
    """How many of the rows are not in the table as they are here: the statement has locked those that are."""
    names = (*key, *update)
    given = values(*(column(name, table.c[name].type) for name in names), name="wanted")
    wanted = given.data([tuple(row[name] for name in names) for row in rows]).cte()
    match = and_(*(wanted.c[name] == table.c[name] for name in key))
    differs = or_(*(table.c[name].is_distinct_from(wanted.c[name]) for name in update))
    return connection.execute(select(func.count()).select_from(table.join(wanted, match)).where(differs)).scalar_one()


def _many(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    key: Sequence[str],
    same: Mapping[str, Any],
    update: Sequence[str],
) -> Upserted:
    staged = _stage(connection, table, columns, rows)

    def value(name: str) -> ColumnElement[Any]:
        return literal(same[name], table.c[name].type) if name in same else staged.c[name]

    match = and_(*(staged.c[column] == table.c[column] for column in key))
    joined = staged.outerjoin(table, match)
    new = table.c[key[0]].is_(None)
    differs = ~new & or_(false(), *(table.c[name].is_distinct_from(value(name)) for name in update))
    conditions = (new, differs, ~new & ~differs)
    counted = select(*(func.count(case((condition, 1))) for condition in conditions)).select_from(joined)
    expected = connection.execute(counted).one()
    shown: list[tuple[Key, str]] = []
    for action, condition, many in zip(ACTIONS, conditions, expected, strict=True):
        if many and len(shown) < SHOWN:
            first = select(*(staged.c[column] for column in key)).select_from(joined).where(condition)
            first = first.order_by(staged.c.number).limit(SHOWN - len(shown))
            shown += [(tuple(row), action) for row in connection.execute(first)]
    names = (*columns, *same)
    selected = select(*map(value, names)).where(true()).order_by(staged.c.number)
    statement = _on_conflict(dialect.of(connection).insert(table).from_select(names, selected), table, key, update)
    if placements.placements(connection):
        # Of such a statement Citus reports the rows that it read, not those that it wrote.
        rows_written = statement.returning(literal(1)).cte("written")
        written = connection.execute(select(func.count()).select_from(rows_written)).scalar_one()
    else:
        written = connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
    if written < expected[0] + expected[1]:
        missing = sum(connection.execute(counted).one()[:2])
        if missing:
            raise triggers.swallowed(connection, table.name, missing)
    staged.drop(connection)
    created = min(expected[0], written)
    return Upserted((created, written - created, sum(expected) - written), shown)


def _stage(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Writes the rows, numbered, into a temporary table."""
    staged = Table(
        "pharmdb_staged",
        MetaData(),
        Column("number", Integer, primary_key=True, autoincrement=False),
        *(Column(column, table.c[column].type) for column in columns),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )
    staged.create(connection)
    numbered = ((number, *row) for number, row in enumerate(rows))
    with driver_errors.temporary_room():
        bulk.insert(connection, staged.name, ("number", *columns), numbered)
    # Autovacuum does not analyze temporary tables.
    dialect.of(connection).analyze(connection, staged.name)
    return staged


def _on_conflict(statement: Any, table: Table, key: Sequence[str], update: Sequence[str]) -> Any:
    columns = [table.c[column] for column in key]
    if not update:
        return statement.on_conflict_do_nothing(index_elements=columns)
    return statement.on_conflict_do_update(
        index_elements=columns,
        set_={column: statement.excluded[column] for column in update},
        # An equal row is not written: no new row version, no index work, and RETURNING leaves it out.
        where=or_(*(table.c[column].is_distinct_from(statement.excluded[column]) for column in update)),
    )
