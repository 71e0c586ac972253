"""Whole tables as dataframes: the database joins each column's values, NumPy takes them apart again.

Row by row the driver would make eight Python objects for each attempt. Here it makes eight for many thousand of them:
PostgreSQL sends numbers as bytes, SQLite as one text, and text is cut at a character that no value holds. While the
database joins the next values, another thread takes the last ones apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from pharmdb.errors import UnavailableError
from pharmdb.models import ATTEMPT_ENTITY_TYPES, Attempt, Base, ProgressByTag
from pharmdb.types import DOCUMENT, DOUBLE, UTCDateTime

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CHUNK = 50_000
# Between two values, and in place of one that is NULL: control characters that hardly any text holds.
_CUT, _NULL = "\x1e", "\x1f"


def attempts_frame(
    connection: Connection, *, user_id: int | None = None, since: datetime | None = None
) -> pd.DataFrame:
    """Attempts in the order of their ids: all of them, or one user's, or those since an aware time.

    id, user_id (Int64), entity_type (category of question, case, calc), entity_id (str), answers (str, JSON), score
    (Float64, 0 to 100), feedback (str, JSON or missing), created_at (datetime64[us, UTC]).

    Raises ValueError for a `since` without a zone, UnavailableError where a value breaks the rules of its column.
    """
    conditions, values = of_attempts(connection, user_id, since)
    return _frame(connection, Attempt, conditions, values, {"entity_type": ATTEMPT_ENTITY_TYPES})


def of_attempts(
    connection: Connection, user_id: int | None, since: datetime | None
) -> tuple[list[str], dict[str, Any]]:
    """Conditions in SQL and their values, for the attempts of one user (or of all), since an aware time (or ever)."""
    values: dict[str, Any] = {} if user_id is None else {"user_id": user_id}
    conditions = [f"{name} = :{name}" for name in values]
    if since is not None:
        conditions.append("created_at >= :since")
        values["since"] = UTCDateTime().process_bind_param(since, connection.dialect)
    return conditions, values


def progress_frame(connection: Connection, *, user_id: int | None = None) -> pd.DataFrame:
    """Progress rows in the order of their ids: all of them, or one user's.

    id, user_id, correct_count, wrong_count (Int64), module, course_block, tag (category), last_attempt_at
    (datetime64[us, UTC]).

    Raises UnavailableError where a value breaks the rules of its column.
    """
    conditions = [] if user_id is None else ["user_id = :user_id"]
    few: dict[str, tuple[str, ...]] = dict.fromkeys(("module", "course_block", "tag"), ())
    return _frame(connection, ProgressByTag, conditions, {"user_id": user_id} if conditions else {}, few)


def _frame(
    connection: Connection, model: type[Base], conditions: list[str], values: dict[str, Any], few: dict[str, Any]
) -> pd.DataFrame:
    import pandas as pd

    columns = [
        _Column(
            column.name,
            "code" if few.get(column.name) else _kind(column.type),
            bool(column.nullable),
            few.get(column.name),
        )
        for column in model.__table__.columns
    ]
    table = str(model.__tablename__)
    parts: list[list[Any]] = [[] for _ in columns]
    data = {}
    try:
        for chunk in _chunks(connection, table, columns, conditions, values):
            for part, piece in zip(parts, chunk, strict=True):
                part.append(piece)
        for number, column in enumerate(columns):
            data[column.name] = _series(column, parts[number])
            # A column's pieces are let go before the next one is put together.
            parts[number] = []
    except ValueError as error:
        # No rule lets such a value in: the file is damaged.
        raise UnavailableError(
            expected=f"{table} with values as the rules of its columns want them",
            found=str(error),
            next="pharmdb doctor",
        ) from error
    return pd.DataFrame(data, copy=False)


@dataclass(frozen=True)
class _Column:
    name: str
    kind: str
    nullable: bool
    # Of a category: its values in their order; () where they are not known before.
    categories: tuple[str, ...] | None = None


def _kind(type_: Any) -> str:
    if type_ is DOCUMENT:
        return "document"
    if type_ is DOUBLE:
        return "real"
    if isinstance(type_, UTCDateTime):
        return "time"
    return "text" if type_.python_type is str else "integer"


def _series(column: _Column, pieces: list[Any]) -> Any:
    import numpy as np
    import pandas as pd

    if column.kind in ("integer", "time", "real"):
        dtype: Any = np.float64 if column.kind == "real" else np.int64
        joined = np.concatenate(pieces) if pieces else np.array([], dtype)
        if column.kind == "time":
            return pd.Series(pd.DatetimeIndex(joined.view("datetime64[us]")).tz_localize("UTC"), copy=False)
        return pd.array(joined, dtype="Float64" if column.kind == "real" else "Int64", copy=False)
    if column.kind == "code":
        codes = np.concatenate(pieces) if pieces else np.array([], np.int8)
        return pd.Categorical.from_codes(codes, list(column.categories or ()))  # type: ignore[call-overload]
    if column.categories is None:
        texts = np.concatenate(pieces) if pieces else np.array([], dtype=object)
        if column.nullable:
            texts[texts == _NULL] = None
        return pd.array(texts, dtype="str", copy=False)
    known: dict[str, int] = {}
    found = []
    for piece in pieces:
        codes, texts = pd.factorize(piece)
        found.append(np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int32)[codes])
    joined = np.concatenate(found) if found else np.array([], np.int32)
    return pd.Categorical.from_codes(joined, list(known))  # type: ignore[call-overload]


def _chunks(
    connection: Connection, table: str, columns: list[_Column], conditions: list[str], values: dict[str, Any]
) -> Iterator[list[Any]]:
    """The columns of at most CHUNK rows at a time, from one id to the next."""
    sqlite = connection.dialect.name == "sqlite"
    split = _split_sqlite if sqlite else _split_postgresql
    driver: Any = connection.connection.driver_connection
    cursor = driver.cursor() if sqlite else driver.cursor(binary=True)
    where = " AND ".join(["id > :last", *conditions])

    def take_apart(joined: Sequence[Any]) -> list[Any]:
        return [split(column, value) for column, value in zip(columns, joined, strict=True)]

    def checked(bounds: dict[str, Any], rows: int, task: Future[list[Any]]) -> list[Any]:
        # Where a value holds the character at which text is cut, there are more: that column is read row by row.
        return [
            piece if len(piece) == rows else _one_by_one(cursor, table, column, where, sqlite, bounds, rows)
            for column, piece in zip(columns, task.result(), strict=True)
        ]

    with ThreadPoolExecutor(1) as pool:
        before: tuple[dict[str, Any], int, Future[list[Any]]] | None = None
        for bounds, rows, joined in _joined(cursor, table, columns, where, sqlite, values):
            now = (bounds, rows, pool.submit(take_apart, joined))
            if before is not None:
                yield checked(*before)
            before = now
        if before is not None:
            yield checked(*before)


def _joined(
    cursor: Any, table: str, columns: list[_Column], where: str, sqlite: bool, values: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], int, Sequence[Any]]]:
    """For each chunk its parameters, how many rows it has, and each column's values as one."""
    # In the table's own order SQLite needs no subquery, which costs half as much again; ids may have gaps.
    whole = sqlite and where == "id > :last"
    names = ", ".join(column.name for column in columns)
    limited = f"(SELECT {names} FROM {table} WHERE {where} ORDER BY id LIMIT {CHUNK}) AS chunk"
    join = _join_sqlite if sqlite else _join_postgresql
    select = f"SELECT count(*), max(id), {', '.join(map(join, columns))} FROM "
    by_rows = _for_driver(select + limited, values, sqlite)
    sql = f"{select}{table} WHERE id > :last AND id <= :upto" if whole else by_rows
    last = -(2**63)
    while True:
        bounds = values | {"last": last, "upto": min(last + CHUNK, 2**63 - 1)}
        rows, newest, *joined = cursor.execute(sql, bounds).fetchone()
        if rows:
            yield bounds, rows, joined
            last = newest
            if rows < CHUNK // 4:
                # Wide gaps between the ids: by ranges of them each chunk would be a few rows.
                whole, sql = False, by_rows
            continue
        (after,) = cursor.execute(f"SELECT min(id) FROM {table} WHERE id > ?", [last]).fetchone() if whole else (None,)
        if after is None:
            return
        last = after - 1


def _for_driver(sql: str, names: Iterable[str], sqlite: bool) -> str:
    """The SQL with its parameters as the driver writes them."""
    for name in () if sqlite else ("last", *names):
        sql = sql.replace(f":{name}", f"%({name})s")
    return sql


def _one_by_one(
    cursor: Any, table: str, column: _Column, where: str, sqlite: bool, values: dict[str, Any], rows: int
) -> np.ndarray[Any, Any]:
    cast = column.name if sqlite else f"{column.name}::text"
    sql = _for_driver(f"SELECT {cast} FROM {table} WHERE {where} ORDER BY id LIMIT {rows}", values, sqlite)
    return _texts(_NULL if value is None else value for (value,) in cursor.execute(sql, values))


def _texts(values: Iterable[str]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.array(list(values), dtype=object)


def _code(column: _Column) -> str:
    """A letter for a category, by its place among the known ones. No rule lets another in, which would be no letter."""
    cases = " ".join(f"WHEN '{value}' THEN '{chr(_A + code)}'" for code, value in enumerate(column.categories or ()))
    return f"CASE {column.name} {cases} ELSE '?' END"


_A = ord("a")


def _join_sqlite(column: _Column) -> str:
    name = column.name
    if column.kind == "integer":
        return f"json_group_array({name})"
    if column.kind == "code":
        return f"group_concat({_code(column)}, '')"
    if column.kind == "time":
        return f"group_concat({name}, '')"
    if column.kind == "real":
        # 17 digits say every double exactly; a whole number needs no such work.
        whole = f"CAST({name} AS INTEGER)"
        return f"group_concat(CASE WHEN {name} = {whole} THEN {whole} ELSE printf('%!.17g', {name}) END, ' ')"
    value = f"ifnull({name}, '{_NULL}')" if column.nullable else name
    return f"group_concat({value}, '{_CUT}')"


def _join_postgresql(column: _Column) -> str:
    name = column.name
    if column.kind == "integer":
        return f"string_agg(int8send({name}), ''::bytea)"
    if column.kind == "code":
        return f"string_agg({_code(column)}, '')"
    if column.kind == "time":
        return f"string_agg(timestamptz_send({name}), ''::bytea)"
    if column.kind == "real":
        return f"string_agg(float8send({name}), ''::bytea)"
    value = f"coalesce({name}::text, '{_NULL}')" if column.nullable else f"{name}::text"
    return f"string_agg({value}, '{_CUT}')"


def _split_sqlite(column: _Column, value: str) -> np.ndarray[Any, Any]:
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


def _split_postgresql(column: _Column, value: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    if column.kind == "integer":
        return np.frombuffer(value, dtype=">i8").astype(np.int64)
    if column.kind == "real":
        return np.frombuffer(value, dtype=">f8").astype(np.float64)
    if column.kind == "time":
        return np.frombuffer(value, dtype=">i8").astype(np.int64) + _POSTGRESQL_EPOCH
    return _split_text(column, value)


def _split_text(column: _Column, value: str) -> np.ndarray[Any, Any]:
    import numpy as np

    if column.kind == "code":
        return (np.frombuffer(value.encode(), dtype=np.uint8) - _A).astype(np.int8)
    return _texts(value.split(_CUT))
