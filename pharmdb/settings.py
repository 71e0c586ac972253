"""The project's folders and the PHARMDB_* environment variables."""

from __future__ import annotations

import os
from pathlib import Path

from pharmdb.errors import ParameterError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent
# The folder of the notebooks, migrations and data that ship with pharmdb. A wheel has them inside the package.
SOURCE = _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else _PACKAGE / "bundled"

ENVIRONMENTS = ("development", "test", "production")


def is_checkout() -> bool:
    """Whether pharmdb runs from a checkout, where new revisions can be written, rather than an installed wheel."""
    return (SOURCE / "pyproject.toml").is_file()


def home() -> Path:
    """The folder of the database, backups and runs: PHARMDB_HOME, else the checkout, else the working directory."""
    named = os.environ.get("PHARMDB_HOME")
    if named:
        return Path(named).expanduser().absolute()
    return SOURCE if is_checkout() else Path.cwd()


def notebooks() -> Path:
    """The folder of the notebooks; each notebook is a command."""
    return SOURCE / "notebooks"


def runs() -> Path:
    """The folder of the run files and the statement log."""
    return home() / "runs"


def statement_log() -> Path:
    """The log of the statements that the studio has executed: one JSON object per line."""
    return runs() / "studio.jsonl"


def backups() -> Path:
    """The folder of the backups: PHARMDB_BACKUPS (relative to the home, ~ is expanded), else data/backups."""
    return home() / Path(os.environ.get("PHARMDB_BACKUPS") or "data/backups").expanduser()


def studio() -> Path:
    """The folder of the tokens with which the pages of the studio are opened."""
    return home() / "data" / "studio"


def make_private(folder: Path) -> None:
    """Creates a folder that only its owner can enter; an existing one keeps its mode."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_private(path: Path, flags: int) -> int:
    """Opens a file for writing, as os.open does; only its owner can use a new one, an existing one keeps its mode."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)


def write_once(path: Path, text: str) -> None:
    """Writes a private file that is complete as soon as it has its name. If there is one already, that one counts."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(open_private(new, os.O_TRUNC), "w", encoding="utf-8") as file:
        file.write(text)
    try:
        # Not a rename: if another process is faster, its text counts.
        os.link(new, path)
    except FileExistsError:
        pass
    finally:
        new.unlink()


def exports() -> Path:
    """The folder of the exports: PHARMDB_EXPORTS (relative to the home, ~ is expanded), else data/exports."""
    return home() / Path(os.environ.get("PHARMDB_EXPORTS") or "data/exports").expanduser()


def data(name: str) -> Path:
    """A folder of the data that ships with pharmdb: seed or catalogue."""
    return SOURCE / "data" / name


def lock_timeout() -> float:
    """Seconds to wait for a lock: PHARMDB_LOCK_TIMEOUT, or 30. Raises ParameterError for an invalid value."""
    value = os.environ.get("PHARMDB_LOCK_TIMEOUT") or "30"
    try:
        seconds = float(value)
        if not 0 < seconds <= 86_400:
            raise ValueError(value)
    except ValueError:
        raise ParameterError(
            expected="PHARMDB_LOCK_TIMEOUT as a number of seconds above 0",
            found=f"PHARMDB_LOCK_TIMEOUT={value!r}",
            command="unset PHARMDB_LOCK_TIMEOUT",
        ) from None
    return seconds
