"""The lines of a fingerprint's columns, thousands of rows at a time.

The database joins the values of each column of a batch; Python writes them without looking at each one, where it can.
While the database joins the next batch, another thread writes the last one. A batch whose values can't be told apart in
this way, or with long documents, is read row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from json.encoder import encode_basestring_ascii
from operator import lt
from time import sleep
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from pharmdb import progress
from pharmdb.schema import fingerprint_tables, fingerprint_values
from pharmdb.schema.fingerprint_readers import READERS, Batch, Columns, Reader
from pharmdb.schema.fingerprint_values import CUT, AlikeError, Values
from pharmdb.types import kind

# Of each column the lines of some rows.
Block = Sequence[bytes]
# Rows at a time.
BATCH = 5_000
# Batches are not worth it for a table with at most this many rows.
FEW = 5_000
# Batches that the rows of a user who can't be divided may take at once; more are read row by row.
_MOST = 20
# A time as text, and CUT.
_TIME = 30


def worthwhile(connection: Connection, model: Any) -> bool:
    """Whether a table has enough rows for batches, and enough of a user; and can hold only what they can tell apart."""
    first = select(model.user_id).order_by(model.user_id).limit(FEW + 1).subquery()
    counts = select(func.count(), func.count(first.c.user_id.distinct()))
    rows, users = connection.execute(counts.select_from(first)).one()
    # To read one row each of many users takes half as long again as row by row.
    return rows > FEW and users <= (rows + 1) // 2 and fingerprint_tables.usual(connection, model)


def read(
    connection: Connection,
    model: Any,
    key: Columns,
    rest: Columns,
    users: Any,
    one_by_one: Callable[[ColumnElement[bool]], Iterator[Block]],
    add: Callable[[Block], None],
) -> None:
    """Adds all rows of a table of rows that belong to users, sorted by `key`.

    `key` begins with the user's e-mail address. `users`, a condition on users, limits the rows. `one_by_one` yields the
    blocks of the rows that meet a condition.
    """
    reader = READERS[connection.dialect.name](connection, model, key[1:], rest, BATCH)
    writer = _Writer(reader, key[1:], add)
    with (
        reader.planned(),
        ThreadPoolExecutor(1) as pool,
        progress.counting(f"fingerprint of {model.__tablename__}") as advance,
    ):
        before: tuple[Batch, Future[None] | None] | None = None

        def finish() -> None:
            """Reads row by row what the other thread could not write."""
            if before is None:
                return
            batch, task = before
            try:
                if task is None:
                    raise AlikeError
                task.result()
            except AlikeError:
                for block in one_by_one(reader.condition(batch)):
                    add(block)
            advance(batch.rows)

        for batch in reader.batches(users):
            found = reader.read(batch) if batch.rows <= _MOST * BATCH else None
            finish()
            before = batch, None if found is None else pool.submit(writer.add, batch, found)
        finish()


class _Writer:
    """Writes the rows of one table."""

    def __init__(self, reader: Reader, key: Columns, add: Callable[[Block], None]) -> None:
        self.reader, self.add_block = reader, add
        self.values = [_values(column) for column in reader.columns]
        names = [column.key for column in reader.columns]
        self.key = range(len(key))
        self.leading = [names.index(column.key) for column in reader.leading]

    def add(self, batch: Batch, found: Any) -> None:
        """Adds what was read of a batch. Raises AlikeError, with nothing added, if values can't be told apart."""
        by_user = self.reader.joined(batch, found)
        users = [(address, *by_user[id_]) for id_, (address, _) in batch.users.items() if id_ in by_user]
        if not users:
            return
        addresses, counts, *columns = zip(*users, strict=True)
        rows = sum(counts)
        joined, block = [], []
        for place, (values, parts) in enumerate(zip(self.values, columns, strict=True)):
            if None in parts:
                # Left out by the database, or NULL in a damaged file
                raise AlikeError
            joined.append(self.reader.together(place, parts))
            block.append(values.lines(joined[-1], rows))
            # Lets the thread that reads go on.
            sleep(0)
        if not _increasing([joined[place] for place in self.leading], counts):
            # Rows with the same natural key have no defined order.
            keys = [joined[place].split(CUT.encode()) for place in self.key]
            block = fingerprint_values.sorted_together([_positions(counts), *keys], block)
        quoted = (f"{encode_basestring_ascii(address)}\n".encode() for address in addresses)
        emails = b"".join(address * count for address, count in zip(quoted, counts, strict=True))
        self.add_block([emails, *block])


def _values(column: Any) -> Values:
    match kind(column):
        case "document":
            return fingerprint_values.Documents()
        case "real":
            return fingerprint_values.Reals()
        case "integer":
            return fingerprint_values.Integers()
    return fingerprint_values.Texts(nullable=column.expression.nullable)


def _positions(counts: Sequence[int]) -> list[int]:
    """Of each row the position of its user."""
    return [position for position, count in enumerate(counts) for _ in range(count)]


def _increasing(leading: Sequence[bytes], counts: Sequence[int]) -> bool:
    """Whether each row of a user has a greater key than the one before."""
    rows = sum(counts)
    if len(leading) == 1 and (leading[0] + CUT.encode())[_TIME - 1 :: _TIME] == CUT.encode() * rows:
        import numpy as np

        times = np.frombuffer(leading[0] + CUT.encode(), dtype=f"S{_TIME}")
        greater = times[1:] > times[:-1]
        greater[np.cumsum(counts)[:-1] - 1] = True
        return bool(greater.all())
    keys = list(zip(_positions(counts), *(joined.split(CUT.encode()) for joined in leading), strict=True))
    return all(map(lt, keys, islice(keys, 1, None)))
