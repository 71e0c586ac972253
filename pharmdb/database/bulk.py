"""Many rows into one table: `executemany` on the driver's connection for SQLite, COPY for PostgreSQL.

What was measured and left: ADBC takes a ready Arrow table half as fast again into SQLite, but over a connection of its
own, outside the caller's transaction; several rows in one INSERT are faster only where they come in an index's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection


def insert(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Inserts the rows inside the caller's transaction, without holding them all.

    Values are as the database stores them: times as text in the column's form, documents as their text. The table's
    rules hold as for any other writer.
    """
    if not connection.in_transaction():
        # After a commit or rollback of the caller's the driver would begin one that nobody commits.
        connection.begin()
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(map(quote, columns))
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        driver.executemany(f"INSERT INTO {quote(table)} ({names}) VALUES ({marks})", rows)
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY {quote(table)} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
