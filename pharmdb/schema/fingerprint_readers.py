"""How a database joins the values of each column of a fingerprint, for thousands of rows at a time."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, Text, and_, collate, exc, func, select, tuple_, type_coerce
from sqlalchemy.orm import InstrumentedAttribute

from pharmdb.database import dialect
from pharmdb.models import User
from pharmdb.schema import fingerprint_tables
from pharmdb.schema.fingerprint_values import CUT, NULL, AlikeError
from pharmdb.types import UTCDateTime, kind

Columns = Sequence[InstrumentedAttribute[Any]]
# Of each user, by id, the number of rows and each column's values.
Joined = dict[int, Sequence[Any]]
# Bytes of a document or a text; a batch of longer ones would take too much memory.
LONGEST = 2_000
# The separator between users.
_NEXT = "\x1d"
# Where the conditions of a part go in a statement.
_BOUNDS = "/* bounds */"
# Where PostgreSQL is told how many rows a part has, with all of equal keys, and how many at most.
_PART, _FIRST = "/* part */", "/* first */"


@dataclass
class Batch:
    """The e-mail address and the number of rows of users, by id, in the order of the addresses.

    A part has only the rows of a single one `after` a key and up to the key `last`.
    """

    users: dict[int, tuple[str, int]] = field(default_factory=dict)
    rows: int = 0
    after: tuple[Any, ...] = ()
    last: tuple[Any, ...] = ()
    part: bool = False


class Reader(ABC):
    """Reads one table, about `size` rows at a time."""

    def __init__(self, connection: Connection, model: Any, key: Columns, rest: Columns, size: int) -> None:
        self.connection, self.model, self.columns, self.size = connection, model, (*key, *rest), size
        # With the user, an index has these in order.
        self.leading = [column for column in key if isinstance(column.type, UTCDateTime)] or list(key)
        self.order = [self.ordered(column) for column in self.leading]
        wanted = ["user_id", *(column.key for column in self.leading)]
        self.index = fingerprint_tables.index_of(connection, model.__tablename__, wanted)
        self.sql = self.statement()

    @abstractmethod
    def ordered(self, column: Any) -> ColumnElement[Any]:
        """A column as the database stores it, in byte order."""

    @abstractmethod
    def statement(self) -> str:
        """SQL for each of some users: id, number of rows, and each column's values, joined."""

    def planned(self) -> AbstractContextManager[None]:
        """Sets what the statements need of the database."""
        return nullcontext()

    @abstractmethod
    def read(self, batch: Batch) -> Any:
        """What the statement returns for a batch; None if that is too much."""

    @abstractmethod
    def joined(self, batch: Batch, found: Any) -> Joined:
        """What was read of a batch, by user. Raises AlikeError if the users' values can't be told apart."""

    def together(self, place: int, parts: Sequence[bytes]) -> bytes:
        """The values that were read of a column for several users, as text with CUT between them."""
        return CUT.encode().join(parts)

    @property
    def divisible(self) -> bool:
        """Whether an index finds a part of a user's rows by their order: otherwise each part would read all of them."""
        return self.index is not None

    def batches(self, users: Any) -> Iterator[Batch]:
        """All users with rows, in the order of their e-mail addresses; the rows of a busy one in parts."""
        counted = select(self.model.user_id, func.count().label("rows")).group_by(self.model.user_id).subquery()
        email = dialect.of(self.connection).by_bytes(self.connection, User.email)
        statement = select(User.id, User.email, counted.c.rows).join(counted, counted.c.user_id == User.id)
        if users is not None:
            statement = statement.where(users)
        batch = Batch()
        found = self.connection.execute(statement.order_by(email), execution_options={"yield_per": 1000})
        for id_, address, rows in found:
            if batch.rows and batch.rows + rows > self.size:
                yield batch
                batch = Batch()
            if rows > 2 * self.size and self.divisible:
                yield from self._parts(id_, address)
            else:
                batch.users[id_] = address, rows
                batch.rows += rows
        if batch.rows:
            yield batch

    def _parts(self, id_: int, email: str) -> Iterator[Batch]:
        """The rows of a user in parts, without dividing equal keys."""
        after: tuple[Any, ...] = ()
        while True:
            part = Batch({id_: (email, self.size)}, self.size, after, part=True)
            self.bound(part)
            yield part
            if not part.last:
                return
            after = part.last

    @abstractmethod
    def bound(self, part: Batch) -> None:
        """Sets the last key of a part, unless it is the last part or reading it tells the key."""

    def condition(self, batch: Batch) -> ColumnElement[bool]:
        """The rows of a batch."""
        found = [self.model.user_id.in_(batch.users)]
        if batch.after:
            found.append(tuple_(*self.order) > tuple_(*batch.after))
        if batch.last:
            found.append(tuple_(*self.order) <= tuple_(*batch.last))
        return and_(*found)

    def bounded(self, batch: Batch, mark: str) -> tuple[str, list[Any]]:
        """The statement for a batch, and the values of its bounds."""
        names, bounds = ", ".join(column.key for column in self.leading), ""
        values: list[Any] = []
        for comparison, bound in ((">", batch.after), ("<=", batch.last)):
            if bound:
                bounds += f" AND ({names}) {comparison} ({', '.join([mark] * len(bound))})"
                values += bound
        return self.sql.replace(_BOUNDS, bounds), values


def exact_decimal(name: str) -> str:
    """SQL of SQLite for the decimal of a double; NULL, which is left out, where it would not be exact."""
    # 17 digits represent a double exactly, but SQLite's are right only for those of a usual size. Whole numbers have a
    # cheaper form.
    whole = f"CAST({name} AS INTEGER)"
    exact = f"CASE WHEN typeof({name}) = 'real' AND abs({name}) BETWEEN 1e-5 AND 1e9 THEN printf('%!.17g', {name}) END"
    return f"CASE WHEN {name} = {whole} THEN {whole} ELSE {exact} END"


class _SQLiteReader(Reader):
    def ordered(self, column: Any) -> ColumnElement[Any]:
        return type_coerce(column, Text)

    def bound(self, part: Batch) -> None:
        keys = select(*self.order).where(self.condition(part)).order_by(*self.order)
        part.last = tuple(self.connection.execute(keys.offset(part.rows - 1).limit(1)).first() or ())

    def statement(self) -> str:
        # As bytes: text would be decoded, and encoded again.
        joined = ", ".join(f"CAST(group_concat({self._value(column)}, '{CUT}') AS BLOB)" for column in self.columns)
        # The planner might take another index, which has the rows in another order.
        quote = self.connection.dialect.identifier_preparer.quote_identifier
        indexed = f"INDEXED BY {quote(self.index)}" if self.index else ""
        return (
            f"SELECT user_id, count(*), {joined} FROM {self.model.__tablename__} {indexed} "
            f"WHERE user_id IN (SELECT value FROM json_each(?)){_BOUNDS}"
        )

    def _of_several(self, sql: str) -> str:
        """The statement for several users; also in a single row, because each costs a wait for the other thread."""
        names = [f"joined_{n}" for n in range(len(self.columns))]
        together = ", ".join(f"CAST(group_concat({name}, '{_NEXT}') AS BLOB)" for name in names)
        each = f"WITH each (user_id, number, {', '.join(names)}) AS ({sql} GROUP BY user_id)"
        return f"{each} SELECT group_concat(user_id), group_concat(number), {together} FROM each"

    @staticmethod
    def _value(column: Any) -> str:
        name = str(column.key)
        if kind(column) == "real":
            return exact_decimal(name)
        return f"ifnull({name}, '{NULL}')" if column.expression.nullable else name

    def read(self, batch: Batch) -> Any:
        sql, values = self.bounded(batch, "?")
        if len(batch.users) > 1:
            sql = self._of_several(sql)
        driver: Any = self.connection.connection.driver_connection
        usual = driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST * self.size)
        try:
            return self.connection.exec_driver_sql(sql, (json.dumps([*batch.users]), *values)).one()
        except exc.DataError:
            # Too long
            return None
        finally:
            driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, usual)

    def joined(self, batch: Batch, found: Any) -> Joined:
        ids, rows, *columns = found
        if ids is None:
            return {}
        if None in columns:
            raise AlikeError
        if len(batch.users) == 1:
            return {ids: (rows, *columns)}
        parts = (column.split(_NEXT.encode()) for column in columns)
        try:
            users = list(zip(map(int, ids.split(",")), map(int, rows.split(",")), *parts, strict=True))
        except ValueError:
            # A value with the separator, or a user whose values were all left out
            raise AlikeError from None
        return {id_: found for id_, *found in users}


# PostgreSQL counts microseconds from this time on. No time is sent as the bytes in place of NULL.
_ZERO = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH = 946_684_800_000_000
_NO_TIME = -(2**63) + 1
# Milliseconds
_SECOND, _DAY = 1_000, 86_400_000


class _PostgreSQLReader(Reader):
    def __init__(self, connection: Connection, model: Any, key: Columns, rest: Columns, size: int) -> None:
        super().__init__(connection, model, key, rest, size)
        self.times = {place for place, column in enumerate(self.columns) if kind(column) == "time"}

    def planned(self) -> AbstractContextManager[None]:
        # Without statistics, PostgreSQL would sort each batch.
        slow = ("enable_seqscan", "enable_bitmapscan", "enable_sort")
        return dialect.of(self.connection).planning_without(self.connection, *slow)

    @property
    def divisible(self) -> bool:
        # An index has text in the order of the database's collation, not of its bytes.
        return super().divisible and not any(isinstance(column.type, String) for column in self.leading)

    def ordered(self, column: Any) -> ColumnElement[Any]:
        return collate(column, "C") if isinstance(column.type, String) else column

    def bound(self, part: Batch) -> None:
        pass

    def statement(self) -> str:
        read = ", ".join(f"{c.key}::text AS {c.key}" if kind(c) == "document" else c.key for c in self.columns)
        joined = ", ".join(map(self._joined, self.columns))
        order = ", ".join(f'{c.key} COLLATE "C"' if isinstance(c.type, String) else c.key for c in self.leading)
        return (
            f"SELECT user_id, count(*), {joined} FROM ({_PART}SELECT user_id, {read} FROM {self.model.__tablename__} "
            f"WHERE user_id = ANY(%s){_BOUNDS} ORDER BY user_id, {order}{_FIRST}) AS batch GROUP BY user_id"
        )

    @staticmethod
    def _joined(column: Any) -> str:
        name = column.key
        if kind(column) == "time":
            sent = f"timestamptz_send({name})"
            sent = f"coalesce({sent}, int8send({_NO_TIME}))" if column.expression.nullable else sent
            return f"string_agg({sent}, ''::bytea)"
        value = name if kind(column) in ("text", "document") else f"{name}::text"
        if column.expression.nullable:
            value = f"coalesce({value}, '{NULL}')"
        if isinstance(column.type, String) or kind(column) == "document":
            value = f"CASE WHEN octet_length({name}) > {LONGEST} THEN NULL ELSE {value} END"
        return f"string_agg({value}, '{CUT}')"

    def together(self, place: int, parts: Sequence[bytes]) -> bytes:
        return _times(b"".join(parts)) if place in self.times else super().together(place, parts)

    def read(self, batch: Batch) -> Any:
        sql, values = self.bounded(batch, "%s")
        # There can be any number of rows of one moment.
        most = 2 * self.size
        if batch.part:
            sql = sql.replace(_PART, "SELECT * FROM (")
            sql = sql.replace(_FIRST, f" FETCH FIRST {batch.rows} ROWS WITH TIES) AS part LIMIT {most + 1}")
        driver: Any = self.connection.connection.driver_connection
        with driver.cursor(binary=True) as cursor:
            result = cursor.execute(sql, ([*batch.users], *values)).pgresult
        rows = int.from_bytes(result.get_value(0, 1)) if batch.part and result.ntuples else 0
        if batch.part and rows >= batch.rows:
            (place,) = (self.columns.index(column) for column in self.leading)
            sent = result.get_value(0, 2 + place)[-8:]
            batch.last = (_ZERO + timedelta(microseconds=int.from_bytes(sent, signed=True)),)
        return result if rows <= most else None

    def joined(self, batch: Batch, found: Any) -> Joined:
        # The bytes as they came: what has megabytes is not decoded.
        rows = [[found.get_value(row, place) for place in range(found.nfields)] for row in range(found.ntuples)]
        # Nothing forbids an id below 0.
        return {int.from_bytes(id_, signed=True): (int.from_bytes(count), *columns) for id_, count, *columns in rows}


def _times(sent: bytes) -> bytes:
    """Times as SQLite stores them, with CUT between them."""
    import numpy as np

    microseconds = np.frombuffer(sent, dtype=">i8").astype(np.int64)
    missing = microseconds == _NO_TIME
    milliseconds = (np.where(missing, 0, microseconds) + _EPOCH) // 1000
    days, rest = np.divmod(milliseconds, _DAY)
    seconds, thousandths = np.divmod(rest, _SECOND)
    clocks, fractions = _clock()
    dates, place = np.unique(days, return_inverse=True)
    made = np.empty(len(days), dtype=[("date", "S10"), ("clock", "S9"), ("fraction", "S11")])
    made["date"] = np.datetime_as_string(dates.astype("datetime64[D]"))[place]
    made["clock"], made["fraction"] = clocks[seconds], fractions[thousandths]
    text = made.tobytes()[:-1]
    if not missing.any():
        return text
    cut = CUT.encode()
    return cut.join(NULL.encode() if no else time for time, no in zip(text.split(cut), missing, strict=True))


@cache
def _clock() -> tuple[Any, Any]:
    """Each second of a day as text, and each millisecond of a second with the zone and CUT."""
    import numpy as np

    seconds = np.arange(86_400).astype("datetime64[s]")
    clocks = np.array([time[10:] for time in np.datetime_as_string(seconds).tolist()], dtype="S9")
    return clocks, np.array([f".{n:03}+00:00{CUT}" for n in range(1000)], dtype="S11")


READERS: dict[str, type[Reader]] = {"sqlite": _SQLiteReader, "postgresql": _PostgreSQLReader}
