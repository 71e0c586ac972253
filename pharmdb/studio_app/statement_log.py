"""The log of executed statements with parameters, rows and milliseconds, without secrets."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, event

from pharmdb.errors import mask

KEPT = 500
# The most parameters of one repeated statement that are kept, besides the first ones.
MORE = 20
LONGEST = 2000
MASKED = "••••••••"
# The modular crypt format: argon2, bcrypt, scrypt, PBKDF2, SHA-crypt.
_HASH = re.compile(r"\$(?:argon2(?:id|i|d)|2[abxy]?|scrypt|pbkdf2[\w-]*|[156y])\$[^\s\"'\\;)}\]]{8,}")
# Of SQLAlchemy, for a change that may be refused; one that was refused is logged.
_BOOKKEEPING = ("SAVEPOINT ", "RELEASE SAVEPOINT ")
# Columns with such names hold secrets, in every table.
_SECRET_NAME = re.compile(r"passw|secret|token|api_?key|_hash$|Hash$", re.IGNORECASE)
# Rejected rows of an upgrade, which may contain password hashes.
_SECRET_COLUMNS = {("upgrade_rejects", "row")}


def is_secret(column: str, table: str = "") -> bool:
    """Whether a column's values must not be shown, judging by its name and table."""
    return _SECRET_NAME.search(column) is not None or (table.lower(), column.lower()) in _SECRET_COLUMNS


def mask_hashes(text: str) -> str:
    """The text with every password hash masked."""
    return _HASH.sub(MASKED, text) if "$" in text else text


def masked(text: str) -> str:
    """The text with hashes, and passwords in URLs and settings, masked."""
    return mask_hashes(mask(text))


@dataclass
class Entry:
    """One statement; `rows` is None if the driver does not report it.

    A statement that one session repeats, such as the one for each row of a save, is one entry: `times` is how often,
    `rows` and `ms` are the sums, `parameters` are the first ones and `more` the next ones. Each repetition gives it a
    new `number`, and `first` stays.
    """

    number: int
    at: str
    statement: str
    parameters: str
    rows: int | None
    ms: float
    error: str = ""
    times: int = 1
    more: list[str] = field(default_factory=list)
    first: int = 0


class StatementLog:
    """The latest 500 statements of one studio; thread-safe."""

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
                first=self._number,
            )
            self._entries.append(entry)
        return entry

    def add_again(self, entry: Entry, parameters: Any, rows: int | None, ms: float) -> None:
        """Adds to an entry that its statement was run again."""
        with self._lock:
            self._number += 1
            entry.number = self._number
            entry.times += 1
            entry.rows = _sum(entry.rows, rows)
            entry.ms = round(entry.ms + ms, 2)
            if len(entry.more) < MORE:
                entry.more.append(masked(_shown(parameters))[:LONGEST])

    def since(self, number: int) -> list[Entry]:
        """The entries after this number, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry.number > number]

    @contextmanager
    def watch(self, connection: Connection) -> Iterator[Session]:
        """Logs every statement of the connection while the block runs, but for the savepoints around each change."""
        session = Session(connection, self)
        own: dict[str, Entry] = {}
        began: list[float] = []

        def before(*_: Any) -> None:
            began.append(time.perf_counter())

        def after(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
            ms = (time.perf_counter() - began.pop()) * 1000
            if statement.startswith(_BOOKKEEPING):
                return
            rows = cursor.rowcount if cursor.rowcount >= 0 else None
            if statement in own:
                self.add_again(own[statement], parameters, rows, ms)
            else:
                own[statement] = self.add(statement, parameters, rows, ms)
            session.ran(own[statement], rows, ms)

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
    """A connection whose statements are logged."""

    def __init__(self, connection: Connection, statement_log: StatementLog) -> None:
        self.connection = connection
        self.statement_log = statement_log
        # The milliseconds of the latest statement.
        self.ms = 0.0
        self._last: tuple[Entry, int | None] | None = None

    def ran(self, entry: Entry, rows: int | None, ms: float) -> None:
        """Notes the latest statement; `rows` and `ms` are in its entry already."""
        self._last, self.ms = (entry, rows), ms

    def rows(self, statement: Any) -> list[Row[Any]]:
        """All rows of a statement; the log entry includes their number and the time to fetch them."""
        began = time.perf_counter()
        found = list(self.connection.execute(statement))
        if self._last is not None:
            (entry, rows), ms = self._last, (time.perf_counter() - began) * 1000
            entry.rows = (entry.rows or 0) - (rows or 0) + len(found)
            entry.ms = round(entry.ms - self.ms + ms, 2)
            self.ran(entry, len(found), ms)
        return found

    def first(self, statement: Any) -> Row[Any] | None:
        found = self.rows(statement)
        return found[0] if found else None


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)


def _shown(parameters: Any) -> str:
    """The parameters as text: generated names such as `param_1` are left out, and long values are truncated."""
    if not parameters:
        return ""
    if isinstance(parameters, dict):
        return ", ".join(f"{name}={_short(value)}" for name, value in parameters.items())
    return ", ".join(_short(value) for value in parameters)


def _short(value: Any) -> str:
    # Masked before truncating: a truncated hash would not be recognized.
    text = "NULL" if value is None else mask_hashes(repr(value))
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
