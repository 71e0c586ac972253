"""The highest id that each table ever generated. New rows get higher ones, even if rows were deleted in between."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, text

from pharmdb.database import placements

# No counter is set higher than this: SQLite refuses every new row once the counter is at 2^63 - 1.
LARGEST = 2**62


def reached(connection: Connection, tables: Iterable[str]) -> dict[str, int]:
    """The highest id that each table ever generated; tables with an unused or unreadable counter are left out."""
    if connection.dialect.name == "sqlite":
        if not connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").first():
            return {}
        wanted = set(tables)
        rows = connection.exec_driver_sql("SELECT name, max(seq) FROM sqlite_sequence GROUP BY name")
        # Any program may write anything to that table.
        return {name: last for name, last in rows if name in wanted and isinstance(last, int)}
    quote = connection.dialect.identifier_preparer.quote_identifier
    last = ((table, connection.scalar(_LAST, {"name": quote(table)})) for table in tables)
    return {table: value for table, value in last if value is not None}


# NULL if the sequence was never used, or if the role may not read it.
_LAST = text(
    "SELECT last_value FROM pg_sequences WHERE CAST(format('%I.%I', schemaname, sequencename) AS regclass) "
    "= CAST(pg_get_serial_sequence(:name, 'id') AS regclass)"
)


def keep_above(connection: Connection, marks: Mapping[str, int]) -> None:
    """Makes the next id of each table higher than its mark, and than any id that the table generated before.

    Runs in the caller's transaction; a rollback undoes it, except on a Citus cluster.
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
        if placements.has_citus(connection):
            # Citus alters no sequence that is known to the nodes. After a rollback, some ids are left out.
            connection.execute(text("SELECT setval(CAST(:name AS regclass), :mark)"), {"name": sequence, "mark": mark})
            continue
        # Unlike setval, this is rolled back with the transaction.
        connection.exec_driver_sql(f"ALTER SEQUENCE {sequence} RESTART WITH {mark + 1}")


def never_repeat(connection: Connection, table: str) -> bool:
    """Whether an SQLite table has AUTOINCREMENT, read from its CREATE TABLE because SQLAlchemy doesn't reflect it."""
    sql = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
    # Comments, literals and quoted names don't count.
    plain = re.sub(r"--[^\n]*|/\*.*?\*/|'[^']*'|\"[^\"]*\"", " ", sql.scalar() or "", flags=re.DOTALL)
    return re.search(r"\bPRIMARY\s+KEY\s+(ASC\s+)?AUTOINCREMENT\b", plain, re.IGNORECASE) is not None
