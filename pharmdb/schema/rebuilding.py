"""Keeps AUTOINCREMENT and its counters when Alembic rebuilds an SQLite table; SQLAlchemy does not reflect them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, event

from pharmdb.database import ids
from pharmdb.models import MODELS

_COPY = "_alembic_tmp_"


@event.listens_for(Table, "before_create")
def _count_on(table: Table, connection: Connection, **options: Any) -> None:
    if table.name.startswith(_COPY) and ids.never_repeat(connection, table.name.removeprefix(_COPY)):
        table.dialect_options["sqlite"]["autoincrement"] = True


@contextmanager
def counting_on(connection: Connection) -> Iterator[None]:
    """Restores the id counters of each table after the revisions that run inside the block."""
    if connection.dialect.name != "sqlite":
        yield
        return
    before = ids.reached(connection, (model.__tablename__ for model in MODELS))
    yield
    ids.keep_above(connection, {table: last for table, last in before.items() if ids.never_repeat(connection, table)})
