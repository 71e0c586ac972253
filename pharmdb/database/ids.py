"""How far the generated ids of a table have gone. A new row gets a higher one, whatever was deleted meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, text

# Beyond it a counter is not set: SQLite refuses every new row once the counter is at 2^63 - 1.
LARGEST = 2**62


def reached(connection: Connection, tables: Iterable[str]) -> dict[str, int]:
    """For each table whose counter can be read and was used: the highest id that it ever gave."""
    if connection.dialect.name == "sqlite":
        if not connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").first():
            return {}
        there = dict(connection.exec_driver_sql("SELECT name, max(seq) FROM sqlite_sequence GROUP BY name").tuples())
        # Anybody may write into that table.
        return {table: there[table] for table in tables if isinstance(there.get(table), int)}
    quote = connection.dialect.identifier_preparer.quote_identifier
    last = ((table, connection.scalar(_LAST, {"name": quote(table)})) for table in tables)
    return {table: value for table, value in last if value is not None}


# NULL where nothing was taken from the sequence, or where the role may not look.
_LAST = text(
    "SELECT last_value FROM pg_sequences WHERE CAST(format('%I.%I', schemaname, sequencename) AS regclass) "
    "= CAST(pg_get_serial_sequence(:name, 'id') AS regclass)"
)


def keep_above(connection: Connection, marks: Mapping[str, int]) -> None:
    """The next id of each table is higher than its mark, and than any that the table gave before.

    Inside the caller's transaction; a rollback undoes it.
    """
    sqlite = connection.dialect.name == "sqlite"
    there = reached(connection, marks)
    for table, mark in marks.items():
        if mark <= there.get(table, 0):
            continue
        if sqlite:
            connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, mark))
            continue
        sequence = connection.scalar(text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": table})
        # Unlike setval it is undone with the transaction.
        connection.exec_driver_sql(f"ALTER SEQUENCE {sequence} RESTART WITH {mark + 1}")
