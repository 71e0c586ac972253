"""Indexes and keys that are built once after a load, instead of being kept up to date row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, exc

from pharmdb.database import dialect
from pharmdb.database.placements import IN_CLUSTER
from pharmdb.errors import PharmdbError

# Fewer rows are inserted as fast with the indexes.
_MANY = 50_000
# What drops an index or a key, and what makes the same one again.
_Pair = tuple[str, str]


@contextmanager
def rebuilt(connection: Connection, table: str, rows: int, *, exclusive: bool = False) -> Iterator[None]:
    """For a block that inserts about so many rows into an empty table, in the caller's transaction.

    What every row would be entered in or checked against is dropped before the block and made again after it, by the
    definitions in the catalogue: on SQLite the indexes that are not unique; on PostgreSQL indexes, keys and foreign
    keys, but only if `exclusive`: until the end of the transaction nobody else can read the table, or those that its
    foreign keys refer to. All stay if the rows are few, somebody has a lock on the table or our role does not own it,
    and on a Citus cluster; so does each on which anything depends or whose definition does not say all.

    Raises PharmdbError if the rows break a rule that was dropped.
    """
    pairs: Sequence[_Pair] = ()
    if rows >= _MANY:
        pairs = _of_sqlite(connection, table) if connection.dialect.name == "sqlite" else ()
        if connection.dialect.name == "postgresql" and exclusive and not connection.info.get(IN_CLUSTER):
            pairs = _of_postgresql(connection, table)
    yield
    for _, statement in pairs:
        try:
            connection.exec_driver_sql(statement)
        except exc.IntegrityError as error:
            raise PharmdbError(
                expected=f"rows of {table} that keep its rules: {statement}",
                found=str(error.orig).splitlines()[0],
                unchanged="everything was rolled back",
                note="if a trigger of the table changes rows, drop it, then run the same command again",
            ) from error


def _of_sqlite(connection: Connection, table: str) -> list[_Pair]:
    """Drops the indexes of a table."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    found = connection.exec_driver_sql(_INDEXES, (table,)).all()
    pairs = [(f"DROP INDEX main.{quote(name)}", statement) for name, statement in found]
    for statement, _ in pairs:
        connection.exec_driver_sql(statement)
    return pairs


# A unique index keeps duplicates out while the rows come.
_INDEXES = """
    SELECT m.name, m.sql FROM main.sqlite_master AS m JOIN pragma_index_list(m.tbl_name, 'main') AS i ON i.name = m.name
     WHERE m.type = 'index' AND m.sql IS NOT NULL AND m.tbl_name = ? AND NOT i."unique" ORDER BY m.rowid
"""


def _of_postgresql(connection: Connection, table: str) -> list[_Pair]:
    """Drops the foreign keys, keys and indexes of a table."""
    own, dropped = dialect.of(connection), list[_Pair]()
    with own.attempting(connection):
        rows = connection.exec_driver_sql(_KEYS_AND_INDEXES, {"table": table}).all()
        pairs = [(drop.replace("%", "%%"), make.replace("%", "%%")) for drop, make in rows]
        if pairs:
            # An index without a tablespace of its own gets none.
            own.set_local(connection, default_tablespace="")
        for statement, _ in reversed(pairs):
            connection.exec_driver_sql(statement)
        # Only if none of them failed.
        dropped += pairs
    return dropped


# In the order in which they were made, foreign keys last. Definitions say nothing of comments, tablespaces, CLUSTER,
# REPLICA IDENTITY, statistics, a key's storage parameters, extensions, or disabled triggers.
_KEYS_AND_INDEXES = """
    WITH loaded AS (
        SELECT oid, oid::regclass AS name FROM pg_class
         WHERE oid = to_regclass(quote_ident(%(table)s)) AND relkind = 'r' AND NOT relispartition
           AND pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE')),
    found AS (
        SELECT k.oid AS key, CASE WHEN contype <> 'f' THEN conindid ELSE 0 END AS index,
               format('ALTER TABLE %%s DROP CONSTRAINT %%I', name, conname) AS dropping,
               format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', name, conname, pg_get_constraintdef(k.oid)) AS making
          FROM loaded JOIN pg_constraint AS k ON conrelid = loaded.oid
         WHERE contype IN ('p', 'u', 'f') AND convalidated AND NOT condeferrable
           AND (contype <> 'f' OR has_table_privilege(confrelid, 'REFERENCES'))
         UNION ALL
        SELECT 0, indexrelid, format('DROP INDEX %%s', indexrelid::regclass), pg_get_indexdef(indexrelid)
          FROM loaded JOIN pg_index ON indrelid = loaded.oid
         WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = indrelid AND conindid = indexrelid)),
    things AS (
        SELECT key, index, 'pg_constraint'::regclass AS class, key AS thing FROM found WHERE key <> 0
         UNION ALL SELECT key, index, 'pg_class'::regclass, index FROM found WHERE index <> 0),
    special AS (
        SELECT key, index FROM things JOIN pg_depend ON (refclassid, refobjid) = (class, thing) AND deptype <> 'i'
         UNION SELECT key, index FROM things JOIN pg_depend ON (classid, objid) = (class, thing)
                WHERE deptype IN ('e', 'x')
         UNION SELECT key, index FROM things JOIN pg_description ON (classoid, objoid) = (class, thing)
         UNION SELECT key, index FROM found JOIN pg_trigger ON tgconstraint = key AND key <> 0 AND tgenabled <> 'O'
         UNION SELECT key, index FROM found JOIN pg_attribute ON attrelid = index AND attstattarget <> -1
         UNION SELECT key, index FROM found JOIN pg_class AS c ON c.oid = index
                WHERE reltablespace <> 0 OR (key <> 0 AND reloptions IS NOT NULL)
         UNION SELECT key, index FROM found JOIN pg_index ON indexrelid = index
                WHERE indisclustered OR indisreplident OR NOT indisvalid)
    SELECT dropping, making FROM found WHERE (key, index) NOT IN (SELECT key, index FROM special)
     ORDER BY index = 0, greatest(key, index)
"""
