"""Connections of the studio: watched by the statement log, with values in one form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from pharmdb.database import dialect, targets, transactions
from pharmdb.studio_app.statement_log import Journal, Session


@contextmanager
def reading(target: targets.Target, journal: Journal) -> Iterator[Session]:
    """A session that can't write, whose texts are always text: bytes that are no UTF-8 are shown as �."""
    with transactions.reading(target) as connection, journal.watch(connection) as session:
        prepare(connection)
        yield session


def prepare(connection: Connection) -> None:
    """Values come as text in one form, whatever the server is set to."""
    own = dialect.of(connection)
    own.decode_text(connection, lambda data: data.decode("utf-8", "replace"))
    own.set_local(
        connection, DateStyle="ISO, YMD", IntervalStyle="iso_8601", bytea_output="hex", extra_float_digits="1"
    )
