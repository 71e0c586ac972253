"""The checked rows of progress.csv, in a temporary database."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterable, Iterator
from typing import Any


class Progress:
    """The rows of progress.csv in the file's order, each as a tuple of its values in the order of FILES.

    They are stored in a temporary SQLite database, which moves from memory to the temporary folder as it grows and is
    deleted with this object or the process. The CSV file may therefore change after it was read.
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
        """Stores rows of a line number and values; rows yielded before an exception are kept."""
        self._rows.execute("BEGIN")
        try:
            self._count = self._rows.executemany("INSERT INTO progress VALUES (?, ?, ?, ?, ?, ?, ?)", rows).rowcount
        finally:
            # If the disk is full, SQLite has already rolled back.
            if self._rows.in_transaction:
                self._rows.execute("COMMIT")

    def duplicates(self) -> Iterator[tuple[Any, ...]]:
        """(line, first line, key …) of each row whose key also occurs in an earlier line."""
        key = "user_email, module, course_block, tag"
        try:
            # One sort in C is much faster than a look-up of each row's key.
            self._rows.execute(f"CREATE UNIQUE INDEX keys ON progress ({key})")
        except sqlite3.IntegrityError:
            firsts = f"SELECT line, min(line) OVER (PARTITION BY {key}) AS first, {key} FROM progress"
            yield from self._select(f"SELECT * FROM ({firsts}) WHERE line > first ORDER BY line")

    def _select(self, sql: str) -> Iterator[tuple[Any, ...]]:
        # Not the cursor itself: a garbage-collected generator closes it, perhaps after the connection was closed.
        return iter(self._rows.execute(sql).fetchone, None)
