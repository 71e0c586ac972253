"""Which rows the doctor looks at: all of them or, in a large database, a sample of constant cost."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SAWarning

from pharmdb.models import MODELS, Base, User

# Of a larger one, a table of up to so many rows; of the other tables these rows.
WHOLE = 10_000


NEWEST, OLDEST = 5_000, 1_000


PLACES, EACH = 40, 100


EXAMPLES = 3


_LAST = 2**63 - 1


@dataclass(frozen=True)
class Rows:
    """The rows of a table that are looked at: all of them, or those with an id in one of the ranges."""

    table: str
    ranges: tuple[tuple[int, int], ...] | None = None

    @property
    def source(self) -> str:
        """The FROM and WHERE of a query of these rows, under the name `looked`; further conditions follow with AND."""
        if self.ranges is None:
            return f"FROM {self.table} AS looked WHERE TRUE"
        # Each range by itself, with its bounds: so no planner takes the whole table for cheaper.
        parts = (f"SELECT * FROM {self.table} WHERE id BETWEEN {first} AND {last}" for first, last in self.ranges)
        return f"FROM ({' UNION ALL '.join(parts)}) AS looked WHERE TRUE"


def all_or_some(connection: Connection, table: str) -> Rows:
    """Every row of a table of up to WHOLE rows; of another one the newest, the oldest, and some evenly between."""
    if not has_many(connection, table):
        return Rows(table)

    def asked(sql: str) -> int:
        return int(connection.exec_driver_sql(sql).scalar_one())

    first, last = (asked(f"SELECT {end}(id) FROM {table}") for end in ("min", "max"))
    old = asked(f"SELECT id FROM {table} ORDER BY id LIMIT 1 OFFSET {OLDEST - 1}")
    new = asked(f"SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET {NEWEST - 1}")
    step = max((new - old) // PLACES, 1)
    starts = ", ".join(f"({old + 1 + step // 2 + n * step})" for n in range(PLACES))
    ranges = [(first, old)]
    # By rows, not by ids: where many ids are missing a place holds as many rows as any other.
    for start, end in connection.exec_driver_sql(
        f"SELECT column1, (SELECT max(id) FROM (SELECT id FROM {table} WHERE id >= column1 AND id < {new} "
        f"ORDER BY id LIMIT {EACH}) AS place) FROM (VALUES {starts}) AS places ORDER BY 1"
    ):
        if end is not None and end > ranges[-1][1]:
            ranges.append((max(start, ranges[-1][1] + 1), end))
    return Rows(table, (*ranges, (new, last)))


def has_many(connection: Connection, table: str) -> bool:
    """Whether a table, quoted where it needs to be, has more than WHOLE rows; no more are counted."""
    few = f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {WHOLE + 1}) AS few"
    return int(connection.exec_driver_sql(few).scalar_one()) > WHOLE


def said(looks: Iterable[Rows]) -> str:
    """What was looked at of the tables that weren't looked at whole, in words; "" where all were."""
    tables = [rows.table for rows in looks if rows.ranges is not None]
    if not tables:
        return ""
    return (
        f"of {', '.join(tables)} only the newest {NEWEST:,} rows, the oldest {OLDEST:,} "
        f"and up to {PLACES * EACH:,} between them were looked at"
    )


def breaking(connection: Connection, rows: Rows, condition: str) -> tuple[int, list[int]]:
    """How many of the rows fulfil an SQL condition, and the first few of their ids."""
    source = f"{rows.source} AND ({condition})"
    count = int(connection.exec_driver_sql(f"SELECT count(*) {source}").scalar_one())
    first = f"SELECT looked.id {source} ORDER BY 1 LIMIT {EXAMPLES}"
    return count, list(connection.exec_driver_sql(first).scalars()) if count else []


@dataclass(frozen=True)
class Orphans:
    """How many rows lack their user, the first few of them as (table, id), and the tables that weren't looked at."""

    count: int
    examples: list[tuple[str, int]]
    skipped: tuple[str, ...] = ()


def orphans(connection: Connection) -> Orphans:
    """Looks at every row, even where its key is there and valid: a restore without triggers leaves it so."""
    if connection.dialect.name == "sqlite":
        count, examples = 0, list[tuple[str, int]]()
        for table, id_, *_ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            count += 1
            if len(examples) < EXAMPLES:
                examples.append((table, id_))
        return Orphans(count, examples)
    found = [
        (table, *breaking(connection, Rows(table), f"NOT EXISTS (SELECT FROM users WHERE users.id = looked.{column})"))
        for table, column in _keys(connection)
    ]
    return Orphans(sum(n for _, n, _ in found), [(t, id_) for t, _, ids in found for id_ in ids][:EXAMPLES])


def orphans_by_index(connection: Connection) -> Orphans:
    """As `orphans`, by the indexes on the keys: what it costs grows with the users, not with what they own.

    A row without its user lies where users' ids have a gap, and every table is asked for every gap.
    """
    keys = dict(_keys(connection))
    indexed = [table for table, column in keys.items() if _leads(connection, table, column)]
    skipped = tuple(table for table in keys if table not in indexed)
    if not indexed:
        return Orphans(0, [], skipped)
    if connection.dialect.name == "postgresql":
        # How few gaps there are the server can't guess: it might take a whole table for cheaper, or compile the query.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
    sources = {
        table: f"FROM gaps CROSS JOIN {table} WHERE {table}.{keys[table]} BETWEEN low AND high" for table in indexed
    }
    counts = " UNION ALL ".join(f"SELECT '{table}', count(*) {source}" for table, source in sources.items())
    found = [(table, number) for table, number in connection.exec_driver_sql(_GAPS + counts) if number]
    examples = [
        (table, id_)
        for table, _ in found
        for id_ in connection.exec_driver_sql(
            f"{_GAPS} SELECT {table}.id {sources[table]} ORDER BY 1 LIMIT {EXAMPLES}"
        ).scalars()
    ]
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL jit TO DEFAULT")
    return Orphans(sum(number for _, number in found), examples[:EXAMPLES], skipped)


# The ids that no user has, as ranges.
_GAPS = f"""
    WITH gaps(low, high) AS (
        SELECT -{_LAST}, coalesce((SELECT min(id) FROM users) - 1, {_LAST})
         UNION ALL
        SELECT id + 1, coalesce((SELECT min(later.id) FROM users AS later WHERE later.id > users.id) - 1, {_LAST})
          FROM users WHERE id < {_LAST} AND NOT EXISTS (SELECT 1 FROM users AS next WHERE next.id = users.id + 1)
    )
"""


def _keys(connection: Connection) -> Iterator[tuple[str, str]]:
    """Table and column of each reference to a user, as far as there are such tables."""
    tables = set(inspect(connection).get_table_names())
    if User.__tablename__ not in tables:
        return
    for model in MODELS:
        table: Any = model.__table__
        if table.name in tables:
            yield from ((table.name, key.parent.name) for key in table.foreign_keys)


def _leads(connection: Connection, table: str, column: str) -> bool:
    """Whether an index of all rows begins with this column; without one every gap would be a scan of the table."""
    inspector = inspect(connection)
    where = f"{connection.dialect.name}_where"
    with warnings.catch_warnings():
        # An index on an expression is none of ours, and SQLAlchemy can't read it.
        warnings.simplefilter("ignore", SAWarning)
        indexes, uniques = inspector.get_indexes(table), inspector.get_unique_constraints(table)
    whole = [index for index in indexes if where not in index.get("dialect_options", {})]
    firsts = [index["column_names"][0] for index in whole]
    return column in [*firsts, *(unique["column_names"][0] for unique in uniques)]


def integrity(connection: Connection, table: str = "") -> list[str]:
    """What SQLite's integrity check finds in the file, or in one (quoted) table.

    Rows that break a check are left out: they are the matter of another check.
    """
    connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
    try:
        pragma = f"PRAGMA integrity_check({table})" if table else "PRAGMA integrity_check"
        # Where nothing is wrong there is one row, "ok".
        return [line for line in connection.exec_driver_sql(pragma).scalars() if line != "ok"]
    finally:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")


def faults(connection: Connection) -> tuple[list[str], list[Rows], list[str]]:
    """What is wrong in a large SQLite file: the faults, the tables looked at, and those that weren't.

    Small tables are checked whole with their indexes, and the schema itself; of our own other ones some rows are
    looked up in each index.
    """
    found: list[str] = []
    looks: list[Rows] = []
    skipped: list[str] = []
    names = connection.exec_driver_sql(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow') ORDER BY name"
    )
    for (name,) in names.all():
        quoted = '"' + name.replace('"', '""') + '"'
        if not has_many(connection, quoted):
            found += integrity(connection, quoted)
        elif _is_ours(connection, name):
            looks.append(all_or_some(connection, name))
            found += _unindexed(connection, looks[-1])
        else:
            skipped.append(name)
    return found, looks, skipped


def _is_ours(connection: Connection, name: str) -> bool:
    if name not in {model.__tablename__ for model in MODELS}:
        return False
    key = connection.exec_driver_sql(f"SELECT name FROM pragma_table_info('{name}') WHERE pk")
    return key.scalars().all() == ["id"]


def _unindexed(connection: Connection, rows: Rows) -> Iterator[str]:
    """The rows that an index lacks, in SQLite's own words."""
    table = rows.table
    # Another's index may be of a kind that finds no row by its columns; the check of the drift tells of it.
    ours = {index.name for index in Base.metadata.tables[table].indexes}
    indexes = connection.exec_driver_sql(f"SELECT name FROM pragma_index_list('{table}') WHERE NOT partial").scalars()
    for index in indexes.all():
        if index not in ours and not index.startswith("sqlite_autoindex_"):
            continue
        columns = connection.exec_driver_sql(f"SELECT name FROM pragma_index_info('{index}')").scalars().all()
        same = " AND ".join(f'entry."{column}" IS looked."{column}"' for column in columns)
        lacking = (
            f'NOT EXISTS (SELECT 1 FROM {table} AS entry INDEXED BY "{index}" WHERE {same} AND entry.id = looked.id)'
        )
        _, ids = breaking(connection, rows, lacking)
        yield from (f"row {id_} missing from index {index}" for id_ in ids)
