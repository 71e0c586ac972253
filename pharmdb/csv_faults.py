"""Faults in the CSV files: the first of each file are reported in full, the others only counted."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import Any

# The number of faults per file that are reported in full.
MOST_FAULTS = 1000
Problem = tuple[str, int, str, str, str]
# The kinds of faults, in the order in which those of one line are reported.
VALUE, AGAIN, UNKNOWN = range(3)


class Faults:
    """The first MOST_FAULTS faults of each file by line, and the number of all faults."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], list[Problem]] = {}
        self._counts: Counter[tuple[str, int]] = Counter()
        self._closed: set[str] = set()

    @property
    def count(self) -> int:
        return self._counts.total()

    def add(self, file: str, line: int, column: str, value: str, reason: str, kind: int = VALUE) -> None:
        """Adds a fault; those of one kind must be added in the order of lines."""
        if file in self._closed:
            return
        self._counts[file, kind] += 1
        kept = self._kept.setdefault((file, kind), [])
        if len(kept) < MOST_FAULTS:
            kept.append((file, line, column, value, reason))

    def forget(self, file: str, kind: int) -> None:
        """Removes all faults of this kind in the file."""
        self._counts.pop((file, kind), None)
        self._kept.pop((file, kind), None)

    def only(self, *problem: Any) -> None:
        """Replaces all faults of the file by this one; later ones are ignored."""
        for kind in (VALUE, AGAIN, UNKNOWN):
            self.forget(problem[0], kind)
        self.add(*problem)
        self._closed.add(problem[0])

    def problems(self) -> list[Problem]:
        """The reported faults, sorted by file and line."""
        found: list[Problem] = []
        for file in sorted({file for file, _ in self._kept}):
            of_file = [p for kind in (VALUE, AGAIN, UNKNOWN) for p in self._kept.get((file, kind), ())]
            found += sorted(of_file, key=itemgetter(1))[:MOST_FAULTS]
        return found
