"""A backup that a test takes, and the way back that a report prints."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil  # noqa: F401 - here, because a user without privileges may not be able to read it

import pharmdb
from pharmdb.backups.manifests import Backup
from pharmdb.command import program


def backed_up(url: str = "") -> Backup:
    """Backs this database up, and says what was taken; there has to be something to take."""
    taken = pharmdb.backup(url).backup
    assert taken is not None
    return taken


def entry(**known: Any) -> Backup:
    """What a manifest would say about a backup, as far as it is known here."""
    words = (
        "name",
        "taken_at",
        "target",
        "before_restore_of",
        "dialect",
        "revision",
        "sha256",
    )
    unknown: dict[str, Any] = dict.fromkeys(words, "")
    return Backup(**unknown | {"database": "pharm", "environment": "development", "tables": {}, "size": 1} | known)


def go(command: str) -> None:
    """Types a command that a report or an error prints, letter by letter."""
    name, *words = shlex.split(command)
    assert name == "pharmdb"
    assert program.main(words) == 0


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user to whom permissions apply: root may do anything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
