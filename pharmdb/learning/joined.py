"""Reads columns of many rows at a time: the database concatenates each column's values, and NumPy splits them again.

PostgreSQL sends numbers as bytes, SQLite as text; text is split at a separator that values hardly ever contain. While
the database concatenates the next chunk, another thread splits the previous one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from pharmdb.database import dialect, placements
from pharmdb.schema import json_values

if TYPE_CHECKING:
    import numpy as np

CHUNK = 50_000
# At most so many rows are concatenated to one value, which PostgreSQL limits to 1 GB.
SPAN = 2**20
# The ids of a whole table.
ALL = (1 - 2**63, 2**63 - 1)
# The separator between values, and the stand-in for NULL: control characters that text hardly ever contains.
_CUT, NULL = "\x1e", "\x1f"


@dataclass(frozen=True)
class Column:
    """A column to read: `kind` is integer, real, time, document, text, or code (a category known in advance)."""

    name: str
    kind: str
    nullable: bool
    # For a categorical column, its values in order; () if they are not known in advance.
    categories: tuple[str, ...] | None = None


def chunks(
    connection: Connection,
    table: str,
    columns: list[Column],
    conditions: list[str],
    values: dict[str, Any],
    ids: tuple[int, int] = ALL,
) -> Iterator[list[Any]]:
    """Yields the columns of about CHUNK rows at a time, each as an array; `columns` contains the id.

    The rows are ordered by id, except those of a table in shards: they come in no order. `conditions` are SQL with
    `values` as `:name` parameters; `ids` are the first and the last id. Raises ValueError if a value does not fit its
    column.
    """
    reader = _reader(connection, table, values)(connection, table, columns, conditions, values, ids)

    def take_apart(joined: Sequence[Any]) -> list[Any]:
        return [reader.split(column, value) for column, value in zip(columns, joined, strict=True)]

    def checked(bounds: dict[str, Any], rows: int, task: Future[list[Any]]) -> list[Any]:
        # More pieces than rows: a value contains the separator, so that column is read row by row.
        return [
            piece if len(piece) == rows else reader.one_by_one(column, bounds, rows)
            for column, piece in zip(columns, task.result(), strict=True)
        ]

    with ThreadPoolExecutor(1) as pool:
        before: tuple[dict[str, Any], int, Future[list[Any]]] | None = None
        for bounds, rows, joined in reader.joined():
            now = (bounds, rows, pool.submit(take_apart, joined))
            if before is not None:
                yield checked(*before)
            before = now
        if before is not None:
            yield checked(*before)


class _Reader(ABC):
    """Reads one table with the driver's own cursor."""

    # Whether a range of ids is cheaper than a subquery with LIMIT; ids may have gaps.
    by_ranges = False

    def __init__(
        self,
        connection: Connection,
        table: str,
        columns: list[Column],
        conditions: list[str],
        values: dict[str, Any],
        ids: tuple[int, int],
    ) -> None:
        self.table, self.columns, self.values = table, columns, values | {"until": ids[1]}
        self.first, self.until = ids
        self.dialect = dialect.of(connection)
        self.driver: Any = connection.connection.driver_connection
        self.cursor = self.open()
        self.conditions = conditions
        self.where = " AND ".join(["id > :last", "id <= :until", *conditions])

    @abstractmethod
    def open(self) -> Any:
        """The cursor."""

    @abstractmethod
    def join(self, column: Column) -> str:
        """The SQL that concatenates all values of a column."""

    @abstractmethod
    def split(self, column: Column, value: Any) -> np.ndarray[Any, Any]:
        """The values of a column, from the value that the SQL of `join` returned."""

    @abstractmethod
    def placed(self, sql: str) -> str:
        """The SQL with parameters in the driver's style."""

    def joined(self) -> Iterator[tuple[dict[str, Any], int, Sequence[Any]]]:
        """For each chunk: its parameters, its number of rows, and each column's values concatenated."""
        whole = self.by_ranges and not self.conditions
        names = ", ".join(column.name for column in self.columns)
        limited = f"(SELECT {names} FROM {self.table} WHERE {self.where} ORDER BY id LIMIT {CHUNK}) AS chunk"
        select = f"SELECT count(*), max(id), {', '.join(map(self.join, self.columns))} FROM "
        by_rows = self.placed(select + limited)
        by_range = f"{self.table} WHERE id > :last AND id <= :upto"
        sql = self.placed(select + by_range) if whole else by_rows
        last = self.first - 1
        while True:
            bounds = self.values | {"last": last, "upto": min(last + CHUNK, self.until)}
            rows, newest, *joined = self.cursor.execute(sql, bounds).fetchone()
            if rows:
                yield bounds, rows, joined
                last = newest
                if rows < CHUNK // 4:
                    # The ids have wide gaps: ranges of ids would give chunks of only a few rows.
                    whole, sql = False, by_rows
                continue
            after = self._next_id(last) if whole else None
            if after is None:
                return
            last = after - 1

    def _next_id(self, last: int) -> int | None:
        sql = self.placed(f"SELECT min(id) FROM {self.table} WHERE id > :last AND id <= :until")
        (found,) = self.cursor.execute(sql, {"last": last, "until": self.until}).fetchone()
        return None if found is None else int(found)

    def one_by_one(self, column: Column, bounds: dict[str, Any], rows: int) -> np.ndarray[Any, Any]:
        """The values of a chunk's column, row by row."""
        text = self.dialect.as_text(column.name)
        sql = self.placed(f"SELECT {text} FROM {self.table} WHERE {self.where} ORDER BY id LIMIT {rows}")
        return _texts(column, (NULL if value is None else value for (value,) in self.cursor.execute(sql, bounds)))


class _SQLiteReader(_Reader):
    # A range of ids needs no subquery, which would take half as long again.
    by_ranges = True

    def open(self) -> Any:
        return self.driver.cursor()

    def placed(self, sql: str) -> str:
        return sql

    def join(self, column: Column) -> str:
        name = column.name
        if column.kind == "integer":
            return f"json_group_array({name})"
        if column.kind == "code":
            return f"group_concat({_code(column)}, '')"
        if column.kind == "time":
            return f"group_concat({name}, '')"
        if column.kind == "real":
            # 17 digits represent every double exactly; whole numbers have a cheaper form.
            whole = f"CAST({name} AS INTEGER)"
            return f"group_concat(CASE WHEN {name} = {whole} THEN {whole} ELSE printf('%!.17g', {name}) END, ' ')"
        value = f"ifnull({name}, '{NULL}')" if column.nullable else name
        return f"group_concat({value}, '{_CUT}')"

    def split(self, column: Column, value: str) -> np.ndarray[Any, Any]:
        import numpy as np

        if column.kind == "integer":
            return np.fromstring(value[1:-1], dtype=np.int64, sep=",")
        if column.kind == "real":
            return np.fromstring(value, dtype=np.float64, sep=" ")
        if column.kind == "time":
            # Without the zone, which is +00:00 everywhere and which NumPy does not read.
            characters = np.frombuffer(value.encode(), dtype=(np.uint8, 29))[:, :23]
            return np.ascontiguousarray(characters).view("S23").ravel().astype("datetime64[us]").view(np.int64)
        return _split_text(column, value)


# PostgreSQL counts microseconds from 2000 on.
_POSTGRESQL_EPOCH = 946_684_800_000_000


class _PostgreSQLReader(_Reader):
    def open(self) -> Any:
        return self.driver.cursor(binary=True)

    def placed(self, sql: str) -> str:
        for name in ("last", "upto", *self.values):
            sql = sql.replace(f":{name}", f"%({name})s")
        return sql

    def join(self, column: Column) -> str:
        name = column.name
        if column.kind == "code":
            return f"string_agg({_code(column)}, '')"
        send = {"integer": "int8send", "time": "timestamptz_send", "real": "float8send"}.get(column.kind)
        if send:
            return f"string_agg({send}({name}), ''::bytea)"
        text = self.dialect.as_text(name)
        value = f"coalesce({text}, '{NULL}')" if column.nullable else text
        return f"string_agg({value}, '{_CUT}')"

    def split(self, column: Column, value: Any) -> np.ndarray[Any, Any]:
        import numpy as np

        if column.kind == "integer":
            return np.frombuffer(value, dtype=">i8").astype(np.int64)
        if column.kind == "real":
            return np.frombuffer(value, dtype=">f8").astype(np.float64)
        if column.kind == "time":
            return np.frombuffer(value, dtype=">i8").astype(np.int64) + _POSTGRESQL_EPOCH
        return _split_text(column, value)


class _ShardsReader(_PostgreSQLReader):
    """Each worker concatenates the values of each of its users, and the coordinator passes them on.

    Ordered chunks, as elsewhere, would have to be sorted and concatenated on the coordinator, row by row. Citus lets a
    worker group its own rows only if the column that decides about the shard is in the key.
    """

    def joined(self) -> Iterator[tuple[dict[str, Any], int, Sequence[Any]]]:
        """Whole groups, as many as give CHUNK rows; for parameters it yields their ids as they were sent."""
        number = [column.name for column in self.columns].index("id")
        sql = self.placed(
            f"SELECT count(*), {', '.join(map(self.join, self.columns))} FROM {self.table} WHERE {self.where} "
            f"GROUP BY {placements.SHARDED_BY}, id / {SPAN}"
        )
        groups = rows = 0
        with self.driver.cursor(name="pharmdb_chunks", binary=True) as cursor:
            cursor.execute(sql, self.values | {"last": self.first - 1})
            # The first group tells how large they are.
            while found := cursor.fetchmany(max(1, CHUNK * groups // rows) if rows else 1):
                counts, *values = zip(*found, strict=True)
                groups, rows = groups + len(counts), rows + sum(counts)
                joined = [_glue(column).join(some) for column, some in zip(self.columns, values, strict=True)]
                yield {"ids": joined[number]}, sum(counts), joined

    def one_by_one(self, column: Column, bounds: dict[str, Any], rows: int) -> np.ndarray[Any, Any]:
        ids = self.split(_ID, bounds["ids"]).tolist()
        sql = f"SELECT id, {self.dialect.as_text(column.name)} FROM {self.table} WHERE id = ANY(%s)"
        found = dict(self.cursor.execute(sql, (ids,)))
        return _texts(column, (NULL if found[id_] is None else found[id_] for id_ in ids))


_ID = Column("id", "integer", False)


def _glue(column: Column) -> Any:
    """What is between the values of a column."""
    if column.kind in ("text", "document"):
        return _CUT
    return "" if column.kind == "code" else b""


def _reader(connection: Connection, table: str, values: dict[str, Any]) -> type[_Reader]:
    if connection.dialect.name == "sqlite":
        return _SQLiteReader
    # One user's rows are in one shard, which can read them in order.
    sharded = placements.placements(connection).get(table) == placements.SHARDED_BY
    return _ShardsReader if sharded and placements.SHARDED_BY not in values else _PostgreSQLReader


def _texts(column: Column, values: Iterable[str]) -> np.ndarray[Any, Any]:
    import numpy as np

    if column.kind == "document":
        values = map(json_values.decoded_text, values)
    return np.array(list(values), dtype=object)


_A = ord("a")


def _code(column: Column) -> str:
    """SQL for a category's letter, by its position; "?" marks an unknown category, which the constraints forbid."""
    cases = " ".join(f"WHEN '{value}' THEN '{chr(_A + code)}'" for code, value in enumerate(column.categories or ()))
    return f"CASE {column.name} {cases} ELSE '?' END"


def _split_text(column: Column, value: str) -> np.ndarray[Any, Any]:
    import numpy as np

    if column.kind == "code":
        return (np.frombuffer(value.encode(), dtype=np.uint8) - _A).astype(np.int8)
    return _texts(column, value.split(_CUT))
