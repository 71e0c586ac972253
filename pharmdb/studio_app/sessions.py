"""The studio's connections, with a statement log and a fixed text form for values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from pharmdb.database import dialect, targets, transactions
from pharmdb.studio_app.statement_log import Session, StatementLog


@contextmanager
def reading(target: targets.Target, statement_log: StatementLog) -> Iterator[Session]:
    """A read-only session, in which text is always decoded: bytes that are not valid UTF-8 are shown as �."""
    with transactions.reading(target) as connection, statement_log.watch(connection) as session:
        prepare(connection)
        yield session


def prepare(connection: Connection) -> None:
    """Fixes the text form of values, whatever the server's settings are."""
    own = dialect.of(connection)
    own.decode_text(connection, lambda data: data.decode("utf-8", "replace"))
    own.set_local(
        connection, DateStyle="ISO, YMD", IntervalStyle="iso_8601", bytea_output="hex", extra_float_digits="1"
    )
