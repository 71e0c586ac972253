"""Opens an SQLite file for reading, also in a folder that can't be written, where WAL mode can't make its -shm file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from pharmdb.database import sqlite_codes

_UNOPENED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


def may(path: Path, mode: int) -> bool:
    """As os.access, for the effective user; False on a file system that is mounted read-only."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


class _Connection(sqlite3.Connection):
    """A connection, perhaps to a private copy, which is deleted with it."""

    folder: TemporaryDirectory[str] | None = None

    def close(self) -> None:
        super().close()
        if self.folder is not None:
            self.folder.cleanup()


def connect(path: Path, timeout: float, *, of_one_thread: bool = True) -> sqlite3.Connection:
    """A connection that reads the file and sends no BEGIN by itself. Raises sqlite3.OperationalError."""

    def opened(file: Path, options: str) -> _Connection:
        return sqlite3.connect(
            f"file:{quote(str(file))}?{options}",
            uri=True,
            isolation_level=None,
            timeout=timeout,
            check_same_thread=of_one_thread,
            factory=_Connection,
        )

    connection = opened(path, "mode=ro")
    if may(path.parent, os.W_OK):
        return connection
    try:
        connection.execute("PRAGMA schema_version")
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        if sqlite_codes.primary(error) not in _UNOPENED or not may(path, os.R_OK):
            raise
    wal = Path(f"{path}-wal")
    if wal.exists() and wal.stat().st_size:
        return _copied(path, opened)
    # Nobody has the file open: in WAL mode whoever opens it makes a -wal.
    return opened(path, "mode=ro&immutable=1")


def _copied(path: Path, opened: Callable[[Path, str], _Connection]) -> sqlite3.Connection:
    """What a killed process left in the -wal can be applied only to a copy."""
    folder = TemporaryDirectory(prefix="pharmdb-")
    copy = Path(folder.name) / "copy.db"
    try:
        for end in ("", "-wal", "-journal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{end}", f"{copy}{end}")
        connection = opened(copy, "mode=rw")
    except BaseException:
        folder.cleanup()
        raise
    connection.folder = folder
    return connection
