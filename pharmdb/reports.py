"""Building blocks of the commands' reports: dataframes, and an outcome row for people and programs to read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pharmdb.plain_table import PlainTable, Rows, framed

if TYPE_CHECKING:
    import pandas as pd

SHORT = 12


@dataclass
class _Tables:
    """How tables are made in this process: plain ones are allowed by the command, and asked for by a notebook."""

    plain_allowed: bool = False
    wide: bool = False


_tables = _Tables()


def wide_tables() -> None:
    """Makes pandas print tables up to 120 characters wide, with values of up to 5,000: no command is cut."""
    _tables.wide = True
    if not _tables.plain_allowed:
        import pandas  # noqa: F401
    widen()


def widen() -> None:
    """Applies `wide_tables` to pandas, if that has been imported since."""
    if _tables.wide and (pandas := sys.modules.get("pandas")):
        pandas.set_option("display.width", 120, "display.max_columns", 20, "display.max_colwidth", 5_000)
        _tables.wide = False


def table(rows: Rows, columns: dict[str, str]) -> pd.DataFrame:
    """A dataframe of these rows; `columns` maps each name to its dtype, which also applies if there are no rows.

    After `wide_tables` in a command's notebook it is a PlainTable, as long as nothing has imported pandas.
    """
    if _tables.plain_allowed and _tables.wide and "pandas" not in sys.modules:
        return cast("pd.DataFrame", PlainTable(rows, columns))
    return framed(rows, columns)


@contextmanager
def without_pandas() -> Iterator[None]:
    """Lets the tables of a notebook that doesn't use pandas itself be plain ones."""
    _tables.plain_allowed = True
    try:
        yield
    finally:
        _tables.plain_allowed = _tables.wide = False


def outcome(*, ok: bool, changed: str, next: str, fingerprint: str = "", sha256: str | None = None) -> pd.DataFrame:
    """One row: ok (bool), changed, fingerprint or sha256 (the first 12 hex digits), next (a command).

    `sha256`, of a backup's file, takes the place of the content's fingerprint.
    """
    name, digits = ("fingerprint", fingerprint) if sha256 is None else ("sha256", sha256)
    return table(
        [(ok, changed, digits[:SHORT], next)],
        {"ok": "bool", "changed": "str", name: "str", "next": "str"},
    )
