"""Staged changes, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pharmdb.studio_app.cells import Cell


@dataclass(frozen=True)
class Change:
    """One staged change; `id` is the page's own number for it.

    `values`: column → text, None for NULL. `password` is set, hashed, in the table's password column.
    `before`: column → the cell as it was shown; a change is refused where the database holds something else now.
    `cascade`: for a deletion, what it was said to take along: "table.column" → rows.
    """

    id: int
    kind: Literal["update", "insert", "delete"]
    table: str
    key: tuple[str | None, ...] = ()
    values: dict[str, str | None] = field(default_factory=dict)
    before: dict[str, Cell] = field(default_factory=dict)
    password: str | None = None
    cascade: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Why a change can't be saved: a sentence, and the column that it is about, if it is about one.

    `kind`: "unfit" (the value does not fit its column), "violation" (a rule of the database), "conflict" (somebody
    else changed the row: `theirs` is what it holds now) or "gone".
    """

    change: int
    column: str
    kind: Literal["unfit", "violation", "conflict", "gone"]
    sentence: str
    theirs: Cell = None


@dataclass(frozen=True)
class Saved:
    """The outcome of a save: `problems` is empty, or nothing was written. `keys`: change → the row's key.

    `warning` is a sentence where it was saved and something else went wrong; `again`: it had been saved before.
    `changes` are those that were saved, with a digest each; those that were saved in another form are `differing`.
    """

    problems: list[Problem]
    keys: dict[int, list[str | None]]
    warning: str = ""
    again: bool = False
    changes: dict[int, str] = field(default_factory=dict)
    differing: tuple[int, ...] = ()
