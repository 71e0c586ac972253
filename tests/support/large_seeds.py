"""Seeds that are too large for one statement."""

from __future__ import annotations

from pathlib import Path

from support import raw
from support.seeds import PROGRESS_HEADER, USERS, folder

EMAIL = "own@example.org"


def large(path: Path, rows: int = 20_000, first: int = 0) -> str:
    """A seed folder with so many progress rows of one user."""
    lines = (f"{EMAIL},questions,block {n % 37},tag {n},{n},{n % 7}\n" for n in range(first, first + rows))
    return folder(path, USERS, f"{PROGRESS_HEADER}\n{''.join(lines)}")


def staged(url: str) -> list[str]:
    """Tables that were only needed for a moment."""
    with raw.session(url) as session:
        if url.startswith("sqlite"):
            sql = "SELECT name FROM sqlite_master WHERE name LIKE '%staged%'"
        else:
            sql = "SELECT relname FROM pg_class WHERE relname LIKE '%staged%'"
        return [name for (name,) in session.execute(sql)]
