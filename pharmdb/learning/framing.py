"""The result of any statement as a dataframe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Boolean, Connection, Double, Integer, Select

from pharmdb.schema import json_values
from pharmdb.types import StrictBoolean, UTCDateTime

if TYPE_CHECKING:
    import pandas as pd

Statement = Select[*tuple[Any, ...]]


def frame(connection: Connection, statement: Statement) -> pd.DataFrame:
    """The rows of a statement as a dataframe, with fixed dtypes even if there are no rows.

    Times are datetime64[us, UTC], text is str; integers are Int64, floats Float64, booleans boolean (all nullable).
    JSON is Python's values (object), also if a JSON string holds it, as the application stores it.
    """
    import pandas as pd

    result = connection.execute(statement)
    data = pd.DataFrame(result.fetchall(), columns=list(result.keys()), dtype=object)
    for column, selected in zip(data.columns, statement.selected_columns, strict=True):
        if isinstance(selected.type, JSON):
            # As a list, because `map` would make one type of several.
            data[column] = pd.Series([json_values.decoded(value) for value in data[column]], dtype=object)
        data[column] = data[column].astype(_dtype(selected.type))  # type: ignore[call-overload]
    return data


def _dtype(type_: Any) -> str:
    if isinstance(type_, UTCDateTime):
        return "datetime64[us, UTC]"
    if isinstance(type_, (StrictBoolean, Boolean)):
        return "boolean"
    if isinstance(type_, Integer):
        return "Int64"
    if isinstance(type_, Double):
        return "Float64"
    return "object" if isinstance(type_, JSON) else "str"
