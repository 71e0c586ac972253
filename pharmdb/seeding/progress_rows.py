"""The rows of progress.csv, checked, in a private file on disk."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterable, Iterator
from typing import Any


class Progress:
    """The rows of progress.csv in the file's order, each as a tuple of its values in the order of FILES.

    They lie in an SQLite database of their own, which moves from memory to the temporary folder as it grows, and is
    gone with this object or with the process. So the file may change once it was read.
    """

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._rows.close)
        self._count = 0
        self._rows.execute(
            "CREATE TABLE progress (line INTEGER PRIMARY KEY, user_email, module, course_block, tag, correct, wrong)"
        )

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        yield from self._select(
            "SELECT user_email, module, course_block, tag, correct, wrong FROM progress ORDER BY line"
        )

    def fill(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Takes rows of a line and its values; those that came before an exception stay."""
        self._rows.execute("BEGIN")
        try:
            self._count = self._rows.executemany("INSERT INTO progress VALUES (?, ?, ?, ?, ?, ?, ?)", rows).rowcount
        finally:
            # Where the disk is full, SQLite has ended it.
            if self._rows.in_transaction:
                self._rows.execute("COMMIT")

    def again(self) -> Iterator[tuple[Any, ...]]:
        """(line, first line, key …) of each row whose key stands in a line before."""
        key = "user_email, module, course_block, tag"
        try:
            # Sorted once, in C, which is much faster than a key looked up for each row.
            self._rows.execute(f"CREATE UNIQUE INDEX keys ON progress ({key})")
        except sqlite3.IntegrityError:
            firsts = f"SELECT line, min(line) OVER (PARTITION BY {key}) AS first, {key} FROM progress"
            yield from self._select(f"SELECT * FROM ({firsts}) WHERE line > first ORDER BY line")

    def _select(self, sql: str) -> Iterator[tuple[Any, ...]]:
        # Not the cursor itself: a generator that is collected closes what it yields from, here perhaps too late.
        return iter(self._rows.execute(sql).fetchone, None)
