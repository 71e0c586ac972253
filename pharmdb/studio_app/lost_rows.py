"""The rows that deletions took along, kept in a file beside the log of saves, so that a save can be reverted."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from sqlalchemy import or_, select

from pharmdb import settings
from pharmdb.errors import UnavailableError
from pharmdb.schema.cascades import cascaded
from pharmdb.studio_app import rows, values
from pharmdb.studio_app.catalogue import Catalogue, Column, Table
from pharmdb.studio_app.statement_log import MASKED, Session, masked

_ROWS_AT_ONCE = 2000


def text_of(found: Column, value: Any) -> str | None:
    """A value as the log keeps it: text, without secrets."""
    if found.secret:
        return MASKED
    shown = values.shown(value, found.kind)
    return None if shown is None else masked(shown)


class LostRows:
    """Collects the rows of one save. The file is made with the first row, for its owner only."""

    def __init__(self, log: Path, save: str) -> None:
        self.path = path_of(log, save)
        self.counted: dict[str, int] = {}
        self._file: IO[bytes] | None = None
        self._text: io.TextIOWrapper | None = None

    def collect(
        self, session: Session, tables: Catalogue, table: Table, key: Sequence[str | None], change: int
    ) -> None:
        """Keeps the rows that the deletion of a row is about to take along, parents before children.

        Raises UnavailableError if the file can't be written.
        """
        children = {name: each.children for name, each in tables.items()}
        for child, condition in cascaded(children, table.name, or_(rows.named(table, key))):
            own = tables[child.table]
            statement = select(*(c.read for c in own.columns.values())).select_from(own.clause).where(condition)
            for row in session.connection.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE)):
                kept = {c.name: text_of(c, value) for c, value in zip(own.columns.values(), row, strict=True)}
                self._write({"change": change, "table": own.name, "row": kept})
                self.counted[own.name] = self.counted.get(own.name, 0) + 1

    def _write(self, line: dict[str, Any]) -> None:
        try:
            if self._text is None:
                settings.make_private(self.path.parent)
                descriptor = settings.open_private(self.path, os.O_CREAT | os.O_TRUNC)
                self._file = os.fdopen(descriptor, "wb")
                packed: Any = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=4)
                self._text = io.TextIOWrapper(packed, encoding="ascii", newline="\n")
            self._text.write(json.dumps(line) + "\n")
        except OSError as error:
            raise _unwritten(self.path, error) from error

    def finish(self) -> None:
        """Waits until the rows are on disk. Raises UnavailableError if they can't be written."""
        if self._text is None or self._file is None:
            return
        try:
            self._text.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise _unwritten(self.path, error) from error

    def discard(self) -> None:
        """Removes the file of a save that was not made."""
        if self._file is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)


def path_of(log: Path, save: str) -> Path:
    """Where the rows of a save are kept."""
    return log.with_name(f"{log.stem}-rows") / f"{save}.jsonl.gz"


def kept(log: Path, save: str) -> Iterator[dict[str, Any]]:
    """The rows of a save: `change`, `table` and `row`. Raises UnavailableError if the file is missing or damaged."""
    path = path_of(log, save)
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, EOFError, ValueError) as error:
        raise UnavailableError(
            expected=f"the rows that were deleted, in {path}",
            found=str(error),
            note="restore a backup, or the file",
        ) from error


def _unwritten(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        expected=f"to keep the deleted rows in {path}", found=str(error), note=f"make room, and {path.parent} writable"
    )
