"""Each learner's first answer to each item, part by part, to be read several times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pharmdb import progress
from pharmdb.classes.intervals import Array
from pharmdb.classes.rasch import Firsts


class FirstAnswers:
    """Parts of (user, item, right), in memory or, given a folder, in files of it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._parts: list[Firsts | Path] = []

    def add(self, user: Array, item: Array, right: Array) -> None:
        """Keeps the first answers of a part: positions in the class, numbers of items, and 1 where it was right."""
        if self._folder is None:
            self._parts.append((user, item, right))
            return
        path = self._folder / f"first-{len(self._parts)}.npz"
        np.savez(path, user=user, item=item, right=right)
        self._parts.append(path)

    def of(self, numbers: Array, what: str = "class") -> Iterator[Firsts]:
        """The parts with items as they are numbered here; -1 leaves an item out. `what` they are read for."""
        for part in progress.counted(self._parts, what, len(self._parts), " parts"):
            if isinstance(part, Path):
                with np.load(part) as stored:
                    user, item, right = (stored[name] for name in ("user", "item", "right"))
            else:
                user, item, right = part
            number = numbers[item]
            kept = number >= 0
            yield user[kept], number[kept], right[kept]
