"""Ids after an upgrade: a new row never gets the id of a rejected row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from sqlalchemy import Connection

from pharmdb.legacy.accounting import Count

HELD = f"held.{uuid4().hex}@pharmdb.invalid"
# Placeholder rows that reserve an id, for the tables that get more rows than the source has.
_HOLDERS = {
    "users": f"INSERT INTO users (id, email, password_hash) SELECT {{id}}, '{HELD}', '!'",
    "user_settings": "INSERT INTO user_settings (id, user_id) SELECT {id}, -1",
    "progress_by_tag": "INSERT INTO progress_by_tag (id, user_id, module, course_block, tag) "
    "SELECT {id}, -1, '', '', ''",
}


@contextmanager
def ids_after(writer: Connection, counts: tuple[Count, ...]) -> Iterator[None]:
    """Gives new rows ids above the largest one in the source, so that none reuses the id of a rejected row.

    On PostgreSQL this sets the sequences; on SQLite a placeholder row holds the largest id for a moment.
    """
    held = []
    for table, largest in ((count.table.table, count.largest_id) for count in counts):
        if writer.dialect.name == "postgresql":
            if largest > 0:
                # Unlike setval, this is rolled back with the transaction.
                sequence = f"SELECT pg_get_serial_sequence('{table}', 'id')"
                name = writer.exec_driver_sql(sequence).scalar_one()
                writer.exec_driver_sql(f"ALTER SEQUENCE {name} RESTART WITH {largest + 1}")
        elif table in _HOLDERS and largest > 0:
            free = f" WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE id = {largest})"
            if writer.exec_driver_sql(_HOLDERS[table].format(id=largest) + free).rowcount:
                held.append((table, largest))
    yield
    for table, largest in held:
        writer.exec_driver_sql(f"DELETE FROM {table} WHERE id = {largest}")
