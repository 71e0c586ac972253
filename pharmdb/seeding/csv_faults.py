"""Faults of the CSV files: the first of each file are told in full, the others counted."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import Any

# So many faults of one file are told in full; the others are counted.
MOST_FAULTS = 1000
Problem = tuple[str, int, str, str, str]
# How faults of one line are ordered.
VALUE, AGAIN, UNKNOWN = range(3)


class Faults:
    """Of each file the first MOST_FAULTS by line, and how many there are in all."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], list[Problem]] = {}
        self._counts: Counter[tuple[str, int]] = Counter()
        self._closed: set[str] = set()

    @property
    def count(self) -> int:
        return self._counts.total()

    def add(self, file: str, line: int, column: str, value: str, reason: str, kind: int = VALUE) -> None:
        """Of one kind they come in the order of lines."""
        if file in self._closed:
            return
        self._counts[file, kind] += 1
        kept = self._kept.setdefault((file, kind), [])
        if len(kept) < MOST_FAULTS:
            kept.append((file, line, column, value, reason))

    def forget(self, file: str, kind: int) -> None:
        """As if no fault of this kind had been found in the file."""
        self._counts.pop((file, kind), None)
        self._kept.pop((file, kind), None)

    def only(self, *problem: Any) -> None:
        """Whatever else is wrong with this file, or will be found, is no matter."""
        for kind in (VALUE, AGAIN, UNKNOWN):
            self.forget(problem[0], kind)
        self.add(*problem)
        self._closed.add(problem[0])

    def problems(self) -> list[Problem]:
        """By file and line."""
        found: list[Problem] = []
        for file in sorted({file for file, _ in self._kept}):
            of_file = [p for kind in (VALUE, AGAIN, UNKNOWN) for p in self._kept.get((file, kind), ())]
            found += sorted(of_file, key=itemgetter(1))[:MOST_FAULTS]
        return found
