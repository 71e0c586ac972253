"""A console statement and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pharmdb.database import targets
from pharmdb.studio_app.tokens import Token

ROWS_SHOWN = 1000


@dataclass(frozen=True)
class Result:
    """A statement's result: its first rows, `more` if there were others; `changed`: rows written, if any.

    `numeric`: for each column, whether its values are numbers.
    `warning` is a sentence if it wrote, but the log of saves could not be completed. `trial`: nothing was kept.
    """

    columns: list[str]
    rows: list[list[str | None]]
    more: bool
    changed: int | None
    ms: float
    plan: str = ""
    warning: str = ""
    trial: bool = False
    numeric: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class Typed:
    """A console statement, its first word in capitals, its parameters' values, and the most rows to return."""

    target: targets.Target
    text: str
    tokens: list[Token]
    first: str
    values: Mapping[str, str | None] = field(default_factory=dict)
    most: int = ROWS_SHOWN
