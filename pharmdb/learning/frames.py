"""Whole tables as dataframes: the database concatenates each column's values, and NumPy splits them again.

Row by row, the driver would create eight Python objects for each attempt. Here it creates eight for many thousands of
attempts; see joined.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from pharmdb.database import servers, targets
from pharmdb.errors import DamagedError
from pharmdb.learning import joined
from pharmdb.learning.joined import Column
from pharmdb.models import ATTEMPT_ENTITY_TYPES, Attempt, Base, ProgressByTag
from pharmdb.types import DOCUMENT, DOUBLE, UTCDateTime

if TYPE_CHECKING:
    import pandas as pd


def attempts_frame(
    connection: Connection, *, user_id: int | None = None, since: datetime | None = None
) -> pd.DataFrame:
    """Attempts ordered by id: all of them, or those of one user, or those since a timezone-aware time.

    id, user_id (Int64), entity_type (category of question, case, calc), entity_id (str), answers (str, JSON), score
    (Float64, 0 to 100), feedback (str, JSON or missing), created_at (datetime64[us, UTC]). If a JSON string holds JSON,
    as the application stores it, the column has the JSON that it holds.

    Raises ValueError for a `since` without a time zone, DamagedError if a value breaks its column's rules.
    """
    conditions, values = of_attempts(connection, user_id, since)
    return _frame(connection, Attempt, conditions, values, {"entity_type": ATTEMPT_ENTITY_TYPES})


def of_attempts(
    connection: Connection, user_id: int | None, since: datetime | None
) -> tuple[list[str], dict[str, Any]]:
    """SQL conditions and their values for the attempts of one user (or all), since a timezone-aware time (or ever)."""
    values: dict[str, Any] = {} if user_id is None else {"user_id": user_id}
    conditions = [f"{name} = :{name}" for name in values]
    if since is not None:
        conditions.append("created_at >= :since")
        values["since"] = UTCDateTime().process_bind_param(since, connection.dialect)
    return conditions, values


def progress_frame(connection: Connection, *, user_id: int | None = None) -> pd.DataFrame:
    """Progress rows ordered by id: all of them, or those of one user.

    id, user_id, correct_count, wrong_count (Int64), module, course_block, tag (category), last_attempt_at
    (datetime64[us, UTC]).

    Raises DamagedError if a value breaks its column's rules.
    """
    conditions = [] if user_id is None else ["user_id = :user_id"]
    few: dict[str, tuple[str, ...]] = dict.fromkeys(("module", "course_block", "tag"), ())
    return _frame(connection, ProgressByTag, conditions, {"user_id": user_id} if conditions else {}, few)


def _frame(
    connection: Connection, model: type[Base], conditions: list[str], values: dict[str, Any], few: dict[str, Any]
) -> pd.DataFrame:
    import pandas as pd

    columns = [
        Column(
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
        for chunk in joined.chunks(connection, table, columns, conditions, values):
            for part, piece in zip(parts, chunk, strict=True):
                part.append(piece)
        order = _order(parts[[column.name for column in columns].index("id")])
        for number, column in enumerate(columns):
            data[column.name] = _series(column, parts[number], order)
            # Frees a column's pieces before the next column is built.
            parts[number] = []
    except ValueError as error:
        # The constraints allow no such value, so the file is damaged.
        raise DamagedError(
            expected=f"{table} with values that keep the rules of its columns",
            found=str(error),
            command=targets.command(servers.target_of(connection), "pharmdb doctor"),
        ) from error
    return pd.DataFrame(data, copy=False)


def _kind(type_: Any) -> str:
    if type_ is DOCUMENT:
        return "document"
    if type_ is DOUBLE:
        return "real"
    if isinstance(type_, UTCDateTime):
        return "time"
    return "text" if type_.python_type is str else "integer"


def _order(ids: list[Any]) -> Any:
    """The positions of the rows in the order of their ids, or all of them as they are."""
    import numpy as np

    found = np.concatenate(ids) if ids else np.array([], np.int64)
    return slice(None) if (found[1:] > found[:-1]).all() else np.argsort(found)


def _series(column: Column, pieces: list[Any], order: Any) -> Any:
    import numpy as np
    import pandas as pd

    if column.kind in ("integer", "time", "real"):
        dtype: Any = np.float64 if column.kind == "real" else np.int64
        values = (np.concatenate(pieces) if pieces else np.array([], dtype))[order]
        if column.kind == "time":
            return pd.Series(pd.DatetimeIndex(values.view("datetime64[us]")).tz_localize("UTC"), copy=False)
        return pd.array(values, dtype="Float64" if column.kind == "real" else "Int64", copy=False)
    if column.kind == "code":
        codes = (np.concatenate(pieces) if pieces else np.array([], np.int8))[order]
        return pd.Categorical.from_codes(codes, list(column.categories or ()))  # type: ignore[call-overload]
    if column.categories is None:
        texts = (np.concatenate(pieces) if pieces else np.array([], dtype=object))[order]
        if column.nullable:
            texts[texts == joined.NULL] = None
        return pd.array(texts, dtype="str", copy=False)
    known: dict[str, int] = {}
    found = []
    for piece in pieces:
        codes, texts = pd.factorize(piece)
        found.append(np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int32)[codes])
    merged = (np.concatenate(found) if found else np.array([], np.int32))[order]
    return pd.Categorical.from_codes(merged, list(known))  # type: ignore[call-overload]
