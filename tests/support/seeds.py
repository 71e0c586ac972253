"""Seed folders, and what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from pharmdb.database import targets, transactions
from pharmdb.models import ProgressByTag, User
from pharmdb.seeding import seeding

KNOWN_GOOD = "de90afbc368eb4052091f425d42f7633af83fd68695fd83b369e18079dc0ef1b"


USERS_HEADER = "email,password,role,language"


PROGRESS_HEADER = "user_email,module,course_block,tag,correct_count,wrong_count"


USERS = f"{USERS_HEADER}\nown@example.org,Secret-of-mine-1,USER,en\n"


USER_PROGRESS = f"{PROGRESS_HEADER}\nown@example.org,questions,renal,diuretics,0,0\n"


def counts(report: seeding.SeedReport) -> dict[str, tuple[int, int, int]]:
    """Table -> created, updated, unchanged."""
    return {table: (created, updated, unchanged) for table, created, updated, unchanged in report.counts}


def users(url: str) -> dict[str, Any]:
    return {user.email: user for user in _rows(url, User)}


def progress(url: str) -> list[Any]:
    return sorted(_rows(url, ProgressByTag), key=lambda row: (row.module, row.course_block, row.tag))


def _rows(url: str, model: type[Any]) -> list[Any]:
    with transactions.reading(targets.target(url)) as connection:
        return list(connection.execute(select(model.__table__)))


def folder(path: Path, users_csv: str | bytes | None = USERS, progress_csv: str | bytes | None = USER_PROGRESS) -> str:
    """A seed folder with these files; None leaves one out."""
    path.mkdir(exist_ok=True)
    for name, content in (("users.csv", users_csv), ("progress.csv", progress_csv)):
        if content is not None:
            (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def user(**values: str) -> str:
    row = {"email": "own@example.org", "password": "Secret-of-mine-1", "role": "USER", "language": "en"} | values
    return f"{USERS_HEADER}\n{','.join(row.values())}\n"
