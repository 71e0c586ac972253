"""Staged changes and their outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pharmdb.studio_app.cells import Cell


@dataclass(frozen=True)
class Change:
    """One staged change; `id` is the number that the page gave it.

    `values`: column → text, None for NULL. `password` is hashed and stored in the table's password column.
    `before`: column → the cell as it was shown; the change is refused if the database has a different value now.
    `cascade`: for a deletion, the affected rows as they were shown: "table.column" → number of rows.
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
    """Why a change can't be saved: a sentence, and the column that it concerns, if any.

    `kind`: "unfit" (the value does not fit its column), "violation" (of a constraint), "conflict" (somebody else has
    changed the row: `theirs` is the current value) or "gone".
    """

    change: int
    column: str
    kind: Literal["unfit", "violation", "conflict", "gone"]
    sentence: str
    theirs: Cell = None


@dataclass(frozen=True)
class Saved:
    """The outcome of a save: if there are `problems`, nothing was written. `keys`: change → the row's key.

    `warning`: the save succeeded, but something else went wrong. `again`: the changes had already been saved.
    `changes`: the saved changes with a digest each. `differing`: changes that were saved with other values.
    """

    problems: list[Problem]
    keys: dict[int, list[str | None]]
    warning: str = ""
    again: bool = False
    changes: dict[int, str] = field(default_factory=dict)
    differing: tuple[int, ...] = ()
