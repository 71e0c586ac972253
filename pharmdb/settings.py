"""Where things lie and what the environment says: the project's folders and the PHARMDB_* variables."""

from __future__ import annotations

import os
from pathlib import Path

from pharmdb.errors import ParameterError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent
# What pharmdb brings along: notebooks, migrations, data. A wheel holds them within the package.
SOURCE = _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else _PACKAGE / "bundled"

ENVIRONMENTS = ("development", "test", "production")


def is_checkout() -> bool:
    """Whether pharmdb runs from a checkout, whose revisions may be written; not from an installed wheel."""
    return (SOURCE / "pyproject.toml").is_file()


def home() -> Path:
    """Where the database, backups and runs lie: PHARMDB_HOME, else the checkout, else the caller's folder."""
    named = os.environ.get("PHARMDB_HOME")
    if named:
        return Path(named).expanduser().absolute()
    return SOURCE if is_checkout() else Path.cwd()


def notebooks() -> Path:
    """The folder of the notebooks, each of them a command."""
    return SOURCE / "notebooks"


def runs() -> Path:
    """The folder of the run files and the statement log."""
    return home() / "runs"


def statement_log() -> Path:
    """What the studio saved: one JSON object a line."""
    return runs() / "studio.jsonl"


def backups() -> Path:
    """The folder of the backups: PHARMDB_BACKUPS (relative to the home, ~ is expanded), else data/backups."""
    return home() / Path(os.environ.get("PHARMDB_BACKUPS") or "data/backups").expanduser()


def data(name: str) -> Path:
    """A folder of data that pharmdb brings along: seed or catalogue."""
    return SOURCE / "data" / name


def lock_timeout() -> float:
    """Seconds to wait for a lock: PHARMDB_LOCK_TIMEOUT, or 30. Raises ParameterError for what is no such number."""
    value = os.environ.get("PHARMDB_LOCK_TIMEOUT") or "30"
    try:
        seconds = float(value)
        if not 0 < seconds <= 86_400:
            raise ValueError(value)
    except ValueError:
        raise ParameterError(
            expected="PHARMDB_LOCK_TIMEOUT as a number of seconds above 0",
            found=f"PHARMDB_LOCK_TIMEOUT={value!r}",
            next="unset PHARMDB_LOCK_TIMEOUT",
        ) from None
    return seconds
