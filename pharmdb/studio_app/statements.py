"""A statement of the console, and what it gave."""

from __future__ import annotations

from dataclasses import dataclass

from pharmdb.database import targets
from pharmdb.studio_app.tokens import Token

ROWS_SHOWN = 1000


@dataclass(frozen=True)
class Result:
    """What a statement gave: at most 1,000 rows, `more` if there were others; `changed` rows where it wrote.

    `warning` is a sentence where it wrote and the log of saves does not say so.
    """

    columns: list[str]
    rows: list[list[str | None]]
    more: bool
    changed: int | None
    ms: float
    plan: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Typed:
    """A statement of the console, and its first word in capitals."""

    target: targets.Target
    text: str
    tokens: list[Token]
    first: str
