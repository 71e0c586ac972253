"""What was done: each statement with its parameters, rows and milliseconds, and without a secret."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, event

from pharmdb.errors import mask

KEPT = 500
LONGEST = 2000
MASKED = "••••••••"
# The modular crypt format: argon2, bcrypt, scrypt, PBKDF2, SHA-crypt.
_HASH = re.compile(r"\$(?:argon2(?:id|i|d)|2[abxy]?|scrypt|pbkdf2[\w-]*|[156y])\$[^\s\"'\\;)}\]]{8,}")
# A column of this name holds a secret, whatever the table.
_SECRET_NAME = re.compile(r"passw|secret|token|api_?key|_hash$|Hash$", re.IGNORECASE)


# Old rows that an upgrade could not take, passwords and all.
_SECRET_COLUMNS = {("upgrade_rejects", "row")}


def is_secret(column: str, table: str = "") -> bool:
    """Whether a column's name, or its table, says that its values are not to be shown."""
    return _SECRET_NAME.search(column) is not None or (table.lower(), column.lower()) in _SECRET_COLUMNS


def mask_hashes(text: str) -> str:
    """The text with every password hash in it replaced."""
    return _HASH.sub(MASKED, text) if "$" in text else text


def masked(text: str) -> str:
    """The text without hashes, and without passwords of URLs and settings."""
    return mask_hashes(mask(text))


@dataclass
class Entry:
    """One statement. `rows` is None where the driver does not say."""

    number: int
    at: str
    statement: str
    parameters: str
    rows: int | None
    ms: float
    error: str = ""


class Journal:
    """The newest 500 statements of one studio; several threads may write to it."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self._number = 0

    def add(self, statement: str, parameters: Any, rows: int | None, ms: float, error: str = "") -> Entry:
        with self._lock:
            self._number += 1
            entry = Entry(
                self._number,
                datetime.now(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00"),
                masked(" ".join(statement.split()))[:LONGEST],
                masked(_shown(parameters))[:LONGEST],
                rows,
                round(ms, 2),
                masked(error),
            )
            self._entries.append(entry)
        return entry

    def since(self, number: int) -> list[Entry]:
        """The entries after this number, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry.number > number]

    @contextmanager
    def watch(self, connection: Connection) -> Iterator[Session]:
        """Every statement of the connection is written down while the block runs."""
        session = Session(connection, self)
        began: list[float] = []

        def before(*_: Any) -> None:
            began.append(time.perf_counter())

        def after(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
            ms = (time.perf_counter() - began.pop()) * 1000
            session.last = self.add(statement, parameters, cursor.rowcount if cursor.rowcount >= 0 else None, ms)

        def failed(context: Any) -> None:
            if began:
                ms = (time.perf_counter() - began.pop()) * 1000
                error = str(context.original_exception).strip().partition("\n")[0]
                self.add(context.statement or "", context.parameters, None, ms, error)

        listeners = (("before_cursor_execute", before), ("after_cursor_execute", after))
        for name, listener in listeners:
            event.listen(connection, name, listener)
        event.listen(connection.engine, "handle_error", failed)
        try:
            yield session
        finally:
            event.remove(connection.engine, "handle_error", failed)
            for name, listener in listeners:
                event.remove(connection, name, listener)


class Session:
    """A connection whose statements are written down."""

    def __init__(self, connection: Connection, journal: Journal) -> None:
        self.connection = connection
        self.journal = journal
        self.last: Entry | None = None

    @property
    def is_sqlite(self) -> bool:
        return self.connection.dialect.name == "sqlite"

    def rows(self, statement: Any) -> list[Row[Any]]:
        """All rows of a statement; the journal says how many, and counts the time to fetch them."""
        began = time.perf_counter()
        found = list(self.connection.execute(statement))
        if self.last is not None:
            self.last.rows = len(found)
            self.last.ms = round((time.perf_counter() - began) * 1000, 2)
        return found

    def first(self, statement: Any) -> Row[Any] | None:
        found = self.rows(statement)
        return found[0] if found else None


def _shown(parameters: Any) -> str:
    """Names are left out of what a driver calls `param_1`; long values are cut."""
    if not parameters:
        return ""
    if isinstance(parameters, dict):
        return ", ".join(f"{name}={_short(value)}" for name, value in parameters.items())
    return ", ".join(_short(value) for value in parameters)


def _short(value: Any) -> str:
    # A hash that was cut could pass for something else.
    text = mask_hashes(repr(value))
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
