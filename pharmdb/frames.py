"""Whole tables as dataframes: the database joins each column's values, NumPy takes them apart again.

Row by row the driver would make eight Python objects for each attempt. Here it makes eight for many thousand of them:
PostgreSQL sends numbers as bytes, SQLite as one text, and text is cut at a character that no value holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from pharmdb.models import (
    ATTEMPT_ENTITY_TYPES,
    DOCUMENT,
    DOUBLE,
    Attempt,
    Base,
    ProgressByTag,
    UTCDateTime,
)

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
    """
    conditions, values = [], {}
    if user_id is not None:
        conditions.append("user_id = :user_id")
        values["user_id"] = user_id
    if since is not None:
        conditions.append("created_at >= :since")
        values["since"] = UTCDateTime().process_bind_param(since, connection.dialect)
    return _frame(connection, Attempt, conditions, values, {"entity_type": ATTEMPT_ENTITY_TYPES})


def progress_frame(connection: Connection, *, user_id: int | None = None) -> pd.DataFrame:
    """Progress rows in the order of their ids: all of them, or one user's.

    id, user_id, correct_count, wrong_count (Int64), module, course_block, tag (category), last_attempt_at
    (datetime64[us, UTC]).
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
    parts: list[list[Any]] = [[] for _ in columns]
    for chunk in _chunks(connection, str(model.__tablename__), columns, conditions, values):
        for part, piece in zip(parts, chunk, strict=True):
            part.append(piece)
    data = {}
    for number, column in enumerate(columns):
        data[column.name] = _series(column, parts[number])
        # A column's pieces are let go before the next one is put together.
        parts[number] = []
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
        codes = np.concatenate(pieces) if pieces else np.array([], np.int64)
        return pd.Categorical.from_codes(codes, list(column.categories or ()))  # type: ignore[call-overload]
    if column.categories is None:
        texts = np.concatenate([np.array(piece, dtype=object) for piece in pieces] or [np.array([], dtype=object)])
        if column.nullable:
            texts[texts == _NULL] = None
        return pd.array(texts, dtype="str", copy=False)
    known: dict[str, int] = {}
    found = [np.array([known.setdefault(text, len(known)) for text in piece], dtype=np.int64) for piece in pieces]
    joined = np.concatenate(found) if found else np.array([], np.int64)
    return pd.Categorical.from_codes(joined, list(known))  # type: ignore[call-overload]


def _chunks(
    connection: Connection, table: str, columns: list[_Column], conditions: list[str], values: dict[str, Any]
) -> Iterator[list[Any]]:
    """The columns of CHUNK rows at a time, from one id to the next."""
    sqlite = connection.dialect.name == "sqlite"
    join = _join_sqlite if sqlite else _join_postgresql
    where = " AND ".join(["id > :last", *conditions])
    names = ", ".join(column.name for column in columns)
    sql = (
        f"SELECT count(*), max(id), {', '.join(map(join, columns))} FROM "
        f"(SELECT {names} FROM {table} WHERE {where} ORDER BY id LIMIT {CHUNK}) AS chunk"
    )
    sql = _for_driver(sql, ("last", *values), sqlite)
    split = _split_sqlite if sqlite else _split_postgresql
    driver: Any = connection.connection.driver_connection
    cursor = driver.cursor() if sqlite else driver.cursor(binary=True)
    last = -(2**63)
    while True:
        rows, newest, *joined = cursor.execute(sql, values | {"last": last}).fetchone()
        if not rows:
            return
        chunk = []
        for column, value in zip(columns, joined, strict=True):
            found = split(column, value)
            if len(found) != rows:
                # A value holds the character at which text is cut: this column is read row by row.
                found = _one_by_one(cursor, table, column, where, sqlite, values | {"last": last})
            chunk.append(found)
        yield chunk
        last = newest


def _for_driver(sql: str, names: Iterable[str], sqlite: bool) -> str:
    """The SQL with its parameters as the driver writes them."""
    for name in () if sqlite else names:
        sql = sql.replace(f":{name}", f"%({name})s")
    return sql


def _one_by_one(
    cursor: Any, table: str, column: _Column, where: str, sqlite: bool, values: dict[str, Any]
) -> list[str]:
    cast = column.name if sqlite else f"{column.name}::text"
    sql = f"SELECT {cast} FROM {table} WHERE {where} ORDER BY id LIMIT {CHUNK}"
    sql = _for_driver(sql, values, sqlite)
    return [_NULL if value is None else value for (value,) in cursor.execute(sql, values)]


def _code(column: _Column) -> str:
    """The place of a category among the known ones; a rule of the schema lets no other in."""
    cases = " ".join(f"WHEN '{value}' THEN {code}" for code, value in enumerate(column.categories or ()))
    return f"CASE {column.name} {cases} END"


def _join_sqlite(column: _Column) -> str:
    name = column.name
    if column.kind == "integer":
        return f"group_concat({name}, ' ')"
    if column.kind == "code":
        return f"group_concat({_code(column)}, ' ')"
    if column.kind == "time":
        return f"group_concat({name}, '')"
    if column.kind == "real":
        # 17 digits say every double exactly.
        return f"group_concat(printf('%!.17g', {name}), ' ')"
    value = f"coalesce({name}, char({ord(_NULL)}))" if column.nullable else name
    return f"group_concat({value}, char({ord(_CUT)}))"


def _join_postgresql(column: _Column) -> str:
    name = column.name
    if column.kind == "integer":
        return f"string_agg(int8send({name}), ''::bytea)"
    if column.kind == "code":
        return f"string_agg(int8send({_code(column)}), ''::bytea)"
    if column.kind == "time":
        return f"string_agg(int8send((EXTRACT(EPOCH FROM {name}) * 1000000)::bigint), ''::bytea)"
    if column.kind == "real":
        return f"string_agg(float8send({name}), ''::bytea)"
    value = f"coalesce({name}::text, chr({ord(_NULL)}))" if column.nullable else f"{name}::text"
    return f"string_agg({value}, chr({ord(_CUT)}))"


def _split_sqlite(column: _Column, value: str) -> np.ndarray[Any, Any] | list[str]:
    import numpy as np

    if column.kind in ("integer", "code"):
        return np.fromstring(value, dtype=np.int64, sep=" ")
    if column.kind == "real":
        return np.fromstring(value, dtype=np.float64, sep=" ")
    if column.kind == "time":
        return np.frombuffer(value.encode(), dtype="S26").astype("datetime64[us]").view(np.int64)
    return value.split(_CUT)


def _split_postgresql(column: _Column, value: Any) -> np.ndarray[Any, Any] | list[str]:
    import numpy as np

    if column.kind in ("integer", "code", "time"):
        return np.frombuffer(value, dtype=">i8").astype(np.int64)
    if column.kind == "real":
        return np.frombuffer(value, dtype=">f8").astype(np.float64)
    return str(value).split(_CUT)
