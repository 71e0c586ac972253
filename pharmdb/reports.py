"""Building blocks of the commands' reports: dataframes, and an outcome row for people and programs to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SHORT = 12


def wide_tables() -> None:
    """Makes pandas print tables up to 120 characters wide, with values of up to 100 characters."""
    import pandas as pd

    pd.set_option("display.width", 120, "display.max_columns", 20, "display.max_colwidth", 100)


def table(rows: list[tuple[Any, ...]] | list[list[Any]], columns: dict[str, str]) -> pd.DataFrame:
    """A dataframe of these rows; `columns` maps each name to its dtype, which also applies if there are no rows."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def outcome(*, ok: bool, changed: str, fingerprint: str, next: str) -> pd.DataFrame:
    """One row: ok (bool), changed, fingerprint (its first 12 hex digits), next (a command)."""
    return table(
        [(ok, changed, fingerprint[:SHORT], next)],
        {"ok": "bool", "changed": "str", "fingerprint": "str", "next": "str"},
    )
