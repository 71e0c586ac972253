"""The lines of a fingerprint, thousands of rows at a time.

The database concatenates the values of each column of a batch; Python splits them again and sorts the lines. While the
database concatenates the next batch, another thread makes the lines of the last one. A batch whose values can't be told
apart in this way, or with long documents, is read row by row.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from json.encoder import encode_basestring_ascii
from operator import itemgetter, lt
from time import sleep
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    Text,
    and_,
    collate,
    exc,
    func,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.orm import InstrumentedAttribute

from pharmdb import progress
from pharmdb.database import dialect, placements
from pharmdb.models import User
from pharmdb.schema import fingerprint_values
from pharmdb.types import DOCUMENT, DOUBLE, UTCDateTime

Columns = Sequence[InstrumentedAttribute[Any]]
# Rows at a time.
BATCH = 10_000
# Batches are not worth it for a table with at most this many rows.
FEW = 5_000
# Batches that the rows of a user who can't be divided may take at once; more are read row by row.
_MOST = 10
# Characters of a document; a batch of longer ones would take too much memory.
LONGEST = 2_000
# Characters of the documents that are kept with their canonical form.
_KEPT = 20_000_000
# The separator between values, and the stand-in for NULL: control characters that text hardly ever contains.
_CUT, _NULL = "\x1e", "\x1f"
# Where the conditions of a part go in a statement.
_BOUNDS = "/* bounds */"


class _AlikeError(Exception):
    """The values of a batch can't be told apart."""


@dataclass
class _Batch:
    """The e-mail address and the number of rows of users, by id.

    Of a single one only the rows `after` a key and up to the key `last`.
    """

    users: dict[int, tuple[str, int]] = field(default_factory=dict)
    rows: int = 0
    after: tuple[Any, ...] = ()
    last: tuple[Any, ...] = ()


def worthwhile(connection: Connection, model: Any) -> bool:
    """Whether a table has enough rows for batches, and isn't distributed over a cluster."""
    few = select(model.id).limit(FEW + 1).subquery()
    if (connection.scalar(select(func.count()).select_from(few)) or 0) <= FEW:
        return False
    return model.__tablename__ not in placements.placements(connection)


def lines(
    connection: Connection,
    model: Any,
    key: Columns,
    rest: Columns,
    users: Any,
    one_by_one: Callable[[ColumnElement[bool]], Iterator[bytes]],
) -> Iterator[bytes]:
    """Yields the lines of a table of rows that belong to users, sorted by `key`, many lines at a time.

    `key` begins with the user's e-mail address. `users`, a condition on users, limits the rows. `one_by_one` yields the
    lines of the rows that meet a condition.
    """
    reader = _READERS[connection.dialect.name](connection, model, key[1:], rest)

    def made(batch: _Batch, task: Future[bytes] | None) -> Iterator[bytes]:
        try:
            if task is None:
                raise _AlikeError
            yield task.result()
        except _AlikeError:
            yield from one_by_one(reader.condition(batch))

    with ThreadPoolExecutor(1) as pool, progress.counting(f"fingerprint of {model.__tablename__}") as advance:
        before: tuple[_Batch, Future[bytes] | None] | None = None
        for batch in reader.batches(users):
            joined = reader.read(batch) if batch.rows <= _MOST * BATCH else None
            now = (batch, None if joined is None else pool.submit(reader.lines, batch, joined))
            if before is not None:
                yield from made(*before)
            before = now
            advance(batch.rows)
        if before is not None:
            yield from made(*before)


class _Reader(ABC):
    """Reads one table."""

    def __init__(self, connection: Connection, model: Any, key: Columns, rest: Columns) -> None:
        self.connection, self.model, self.key, self.columns = connection, model, key, (*key, *rest)
        self.kinds = [_kind(column) for column in self.columns]
        self.reals, self.documents = fingerprint_values.Reals(), fingerprint_values.Documents(_KEPT, {_NULL: "null"})
        # With the user, an index has these in order.
        self.leading = [column for column in key if isinstance(column.type, UTCDateTime)] or list(key)
        self.order = [self.ordered(column) for column in self.leading]
        self.sql = self.statement()

    @abstractmethod
    def ordered(self, column: Any) -> ColumnElement[Any]:
        """A column as the database stores it, in byte order."""

    @abstractmethod
    def statement(self) -> str:
        """SQL for the number of rows of some users, the user of each, and each column's values, concatenated."""

    @abstractmethod
    def read(self, batch: _Batch) -> Sequence[Any] | None:
        """What the statement returns for a batch; None if it fails."""

    @abstractmethod
    def numbers(self, joined: Any) -> list[Any]:
        """The doubles of a column, or their decimals."""

    @abstractmethod
    def times(self, joined: Any, nullable: bool) -> tuple[list[Any], list[str]]:
        """The times of a column to sort by, and as JSON."""

    @property
    def divisible(self) -> bool:
        """Whether an index finds a part of a user's rows by their order."""
        return True

    def batches(self, users: Any) -> Iterator[_Batch]:
        """All users with rows, in the order of their e-mail addresses; the rows of a busy one in parts."""
        counted = select(self.model.user_id, func.count().label("rows")).group_by(self.model.user_id).subquery()
        email = collate(User.email, dialect.of(self.connection).byte_order)
        statement = select(User.id, User.email, counted.c.rows).join(counted, counted.c.user_id == User.id)
        if users is not None:
            statement = statement.where(users)
        batch = _Batch()
        found = self.connection.execute(statement.order_by(email), execution_options={"yield_per": 1000})
        for id_, address, rows in found:
            if batch.rows and batch.rows + rows > BATCH:
                yield batch
                batch = _Batch()
            if rows > 2 * BATCH and self.divisible:
                yield from self._parts(id_, address)
            else:
                batch.users[id_] = address, rows
                batch.rows += rows
        if batch.rows:
            yield batch

    def _parts(self, id_: int, email: str) -> Iterator[_Batch]:
        """The rows of a user in parts, without dividing equal keys."""
        after: tuple[Any, ...] = ()
        while True:
            rest = _Batch({id_: (email, BATCH)}, BATCH, after)
            keys = select(*self.order).where(self.condition(rest)).order_by(*self.order)
            last = self.connection.execute(keys.offset(BATCH - 1).limit(1)).first()
            yield replace(rest, last=tuple(last or ()))
            if last is None:
                return
            after = tuple(last)

    def condition(self, batch: _Batch) -> ColumnElement[bool]:
        """The rows of a batch."""
        found = [self.model.user_id.in_(batch.users)]
        if batch.after:
            found.append(tuple_(*self.order) > tuple_(*batch.after))
        if batch.last:
            found.append(tuple_(*self.order) <= tuple_(*batch.last))
        return and_(*found)

    def bounded(self, batch: _Batch, mark: str) -> tuple[str, list[Any]]:
        """The statement for a batch, and the values of its bounds."""
        names, bounds = ", ".join(column.key for column in self.leading), ""
        values: list[Any] = []
        for comparison, bound in ((">", batch.after), ("<=", batch.last)):
            if bound:
                bounds += f" AND ({names}) {comparison} ({', '.join([mark] * len(bound))})"
                values += bound
        return self.sql.replace(_BOUNDS, bounds), values

    def lines(self, batch: _Batch, joined: Sequence[Any]) -> bytes:
        """The lines of a batch, sorted."""
        rows, ids, *columns = joined
        if not rows:
            return b""
        emails, quoted = self._users(batch, rows, ids)
        keys, written = [emails], [quoted]
        leading: list[list[Any]] = []
        in_key, first = ({column.key for column in columns_} for columns_ in (self.key, self.leading))
        for column, kind, values in zip(self.columns, self.kinds, columns, strict=True):
            plain, as_json = self.values(column, kind, values)
            if len(plain) != rows:
                raise _AlikeError
            written.append(as_json)
            if column.key in in_key:
                keys.append(plain)
            if column.key in first:
                leading.append(plain)
            # Lets the thread that reads go on.
            sleep(0)
        made = map(",".join, zip(*written, strict=True))
        if not _increasing(leading if len(batch.users) == 1 else [emails, *leading]):
            # Rows with the same natural key have no defined order: they are sorted by the text of their lines.
            made = map(itemgetter(-1), sorted(zip(*keys, made, strict=True)))
        return ("[" + "]\n[".join(made) + "]\n").encode()

    @staticmethod
    def _users(batch: _Batch, rows: int, ids: str) -> tuple[list[Any], list[str]]:
        """The e-mail address of each row, and the same as JSON."""
        quoted = {id_: encode_basestring_ascii(email) for id_, (email, _) in batch.users.items()}
        if len(quoted) == 1:
            ((id_, (email, _)),) = batch.users.items()
            return [email] * rows, [quoted[id_]] * rows
        # Most often the database reads one user after the other.
        each = [id_ for id_, (_, number) in sorted(batch.users.items()) for _ in range(number)]
        if _CUT.join(map(str, each)) != ids:
            each = list(map(int, ids.split(_CUT)))
        emails = {id_: email for id_, (email, _) in batch.users.items()}
        return list(map(emails.__getitem__, each)), list(map(quoted.__getitem__, each))

    def values(self, column: Any, kind: str, joined: Any) -> tuple[list[Any], list[str]]:
        """The values of a column to sort by, and the same as JSON."""
        if joined is None:
            # NULL in all rows, in a damaged file
            raise _AlikeError
        if kind == "real":
            numbers = self.numbers(joined)
            return numbers, list(map(self.reals.__getitem__, numbers))
        if kind == "time":
            return self.times(joined, column.expression.nullable)
        if kind == "text":
            plain = joined.split(_CUT)
            return plain, list(map(encode_basestring_ascii, plain))
        plain = joined.split(_CUT)
        return plain, self.documents.written(plain) if kind == "document" else plain


def _increasing(columns: list[list[Any]]) -> bool:
    """Whether each row has a greater key than the one before."""
    rows = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    return all(map(lt, rows, islice(rows, 1, None)))


def _kind(column: Any) -> str:
    if column.type is DOCUMENT:
        return "document"
    if column.type is DOUBLE:
        return "real"
    if isinstance(column.type, UTCDateTime):
        return "time"
    return "text" if isinstance(column.type, String) else "integer"


class _SQLiteReader(_Reader):
    def ordered(self, column: Any) -> ColumnElement[Any]:
        return type_coerce(column, Text)

    def statement(self) -> str:
        joined = [
            f"group_concat({self._value(c, kind)}, '{_CUT}')" for c, kind in zip(self.columns, self.kinds, strict=True)
        ]
        return (
            f"SELECT count(*), group_concat(user_id, '{_CUT}'), {', '.join(joined)} FROM {self.model.__tablename__} "
            f"{self._index()} WHERE user_id IN (SELECT value FROM json_each(?)){_BOUNDS}"
        )

    @staticmethod
    def _value(column: Any, kind: str) -> str:
        # What becomes NULL is left out, and the number of values is then not that of the rows.
        name = str(column.key)
        if kind == "real":
            # 17 digits represent every double exactly; whole numbers have a cheaper form.
            whole, exact = (
                f"CAST({name} AS INTEGER)",
                f"CASE typeof({name}) WHEN 'real' THEN printf('%!.17g', {name}) END",
            )
            return f"CASE WHEN {name} = {whole} THEN {whole} ELSE {exact} END"
        if not column.expression.nullable and kind != "document":
            return name
        left_out = [f"{name} = '{_NULL}'"] if column.expression.nullable else []
        left_out += [f"length({name}) > {LONGEST}"] if kind == "document" else []
        return f"CASE WHEN {' OR '.join(left_out)} THEN NULL ELSE ifnull({name}, '{_NULL}') END"

    def _index(self) -> str:
        """The index that has the rows in order; the planner might take another one."""
        wanted = ["user_id", *(column.key for column in self.leading)]
        sql = "SELECT i.name, c.name FROM pragma_index_list(?) AS i, pragma_index_info(i.name) AS c ORDER BY c.seqno"
        found: dict[str, list[str]] = {}
        for index, column in self.connection.exec_driver_sql(sql, (self.model.__tablename__,)):
            found.setdefault(index, []).append(column)
        return next((f"INDEXED BY {index}" for index, columns in found.items() if columns == wanted), "")

    def read(self, batch: _Batch) -> Sequence[Any] | None:
        sql, values = self.bounded(batch, "?")
        try:
            return self.connection.exec_driver_sql(sql, (json.dumps([*batch.users]), *values)).one()
        except (exc.DataError, exc.OperationalError):
            # Too long for a value of SQLite's, or text of a damaged file that is no UTF-8.
            return None

    def numbers(self, joined: str) -> list[Any]:
        return joined.split(_CUT)

    def times(self, joined: str, nullable: bool) -> tuple[list[Any], list[str]]:
        shown = joined.replace("+00:00", "Z")
        if '"' in joined or "\\" in joined or not joined.isascii():
            raise _AlikeError
        written = f'"{shown}"'.replace(_CUT, f'"{_CUT}"')
        return joined.split(_CUT), (written.replace(f'"{_NULL}"', "null") if nullable else written).split(_CUT)


# PostgreSQL counts microseconds from 2000 on. No time is sent as the bytes in place of NULL.
_EPOCH = 946_684_800_000_000
_NO_TIME = -(2**63) + 1


class _PostgreSQLReader(_Reader):
    @property
    def divisible(self) -> bool:
        # An index has text in the order of the database's collation, not of its bytes.
        return not any(isinstance(column.type, String) for column in self.leading)

    def ordered(self, column: Any) -> ColumnElement[Any]:
        return collate(column, "C") if isinstance(column.type, String) else column

    def statement(self) -> str:
        names = [column.key for column in self.columns]
        documents = {column.key for column, kind in zip(self.columns, self.kinds, strict=True) if kind == "document"}
        read = ", ".join(f"{name}::text" if name in documents else name for name in names)
        joined = ", ".join(self._joined(c, kind) for c, kind in zip(self.columns, self.kinds, strict=True))
        order = ", ".join(f'{c.key} COLLATE "C"' if isinstance(c.type, String) else c.key for c in self.leading)
        return (
            f"SELECT count(*), string_agg(user_id::text, '{_CUT}'), {joined} FROM (SELECT user_id, {read} "
            f"FROM {self.model.__tablename__} WHERE user_id = ANY(%s){_BOUNDS} ORDER BY user_id, {order}) AS batch"
        )

    def _joined(self, column: Any, kind: str) -> str:
        name = column.key
        if kind == "real":
            return f"string_agg(float8send({name}), ''::bytea)"
        if kind == "time":
            return f"string_agg(coalesce(timestamptz_send({name}), int8send({_NO_TIME})), ''::bytea)"
        value = name if kind != "integer" else f"{name}::text"
        if column.expression.nullable:
            value = f"coalesce({value}, '{_NULL}')"
        if kind == "document":
            value = f"CASE WHEN octet_length({name}) > {LONGEST} THEN NULL ELSE {value} END"
        return f"string_agg({value}, '{_CUT}')"

    def read(self, batch: _Batch) -> Sequence[Any] | None:
        sql, values = self.bounded(batch, "%s")
        driver: Any = self.connection.connection.driver_connection
        with driver.cursor(binary=True) as cursor:
            found: Sequence[Any] = cursor.execute(sql, ([*batch.users], *values)).fetchone()
        return found

    def numbers(self, joined: bytes) -> list[Any]:
        import numpy as np

        found: list[Any] = np.frombuffer(joined, dtype=">f8").tolist()
        return found

    def times(self, joined: bytes, nullable: bool) -> tuple[list[Any], list[str]]:
        import numpy as np

        sent = np.frombuffer(joined, dtype=">i8").astype(np.int64)
        shown = np.datetime_as_string((sent + _EPOCH).view("datetime64[us]"), unit="ms").tolist()
        plain: list[Any] = sent.tolist()
        return plain, [f'"{t}Z"' if time != _NO_TIME else "null" for t, time in zip(shown, plain, strict=True)]


_READERS: dict[str, type[_Reader]] = {"sqlite": _SQLiteReader, "postgresql": _PostgreSQLReader}
