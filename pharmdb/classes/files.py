"""What is taken away: the page as one HTML file, each table as CSV and Parquet. Every file is complete or absent."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from pharmdb import progress, settings
from pharmdb.classes import definitions
from pharmdb.csv_cells import cell
from pharmdb.errors import ExportError, NoRoomError, ParameterError
from pharmdb.exporting import parquet_files

if TYPE_CHECKING:
    import pandas as pd

# By which a page is known to be an earlier report, in its first lines; and a folder, by the file with the definitions.
MARK = '<meta name="generator" content="pharmdb class">'
DEFINITIONS = "definitions"


@dataclass(frozen=True)
class Places:
    """Where the page and the tables go; None if they are not wanted."""

    page: Path | None
    folder: Path | None

    @property
    def written(self) -> tuple[str, ...]:
        """The paths of all files."""
        found = [str(self.page)] if self.page else []
        if self.folder:
            found += [
                str(self.folder / f"{name}.{end}") for name in (DEFINITIONS, *definitions.TABLES) for end in _ENDS
            ]
        return tuple(found)


_ENDS = ("csv", "parquet")


def places(page: str | Path, folder: str | Path) -> Places:
    """The places, relative to settings.home(). Raises ParameterError if anything but an earlier report is there."""
    found = Places(*(settings.home() / Path(one).expanduser() if str(one) else None for one in (page, folder)))
    if found.page and found.page.exists() and not _is_page(found.page):
        raise _foreign("output", "a new file, or an earlier report", found.page)
    if found.folder and found.folder.exists():
        ours = found.folder.is_dir() and (found.folder / f"{DEFINITIONS}.csv").exists()
        if not found.folder.is_dir() or (not ours and any(found.folder.iterdir())):
            raise _foreign("tables", "a new or empty folder, or one with an earlier report's tables", found.folder)
    return found


def require_writable(places: Places) -> None:
    """Raises OSError if the files can't be written, before there is anything to write. Nothing is left behind."""
    for folder in filter(None, (places.page and places.page.parent, places.folder)):
        # The next folder above that exists: those below it are made when there are files for them.
        there = next(above for above in (folder, *folder.parents) if os.path.lexists(above))
        with TemporaryFile(dir=there):
            pass


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(1000)


def _foreign(name: str, expected: str, path: Path) -> ParameterError:
    return ParameterError(
        expected=f"{name} as {expected}", found=f"something else at {path}", note="name another one, or remove it"
    )


def write(tables: dict[str, pd.DataFrame], columns: pd.DataFrame, page: Callable[[], str], places: Places) -> None:
    """Writes the files; each replaces an earlier report's in one step, and only its owner can read it."""
    if places.folder:
        settings.make_private(places.folder)
        all_ = {DEFINITIONS: columns, **tables}
        for name, data in progress.counted(all_.items(), "tables", len(all_), " tables"):
            _replace(places.folder / f"{name}.csv", csv(data).encode())
            _replace(places.folder / f"{name}.parquet", _parquet(data))
    if places.page:
        places.page.parent.mkdir(parents=True, exist_ok=True)
        _replace(places.page, page().encode())


def _replace(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        # What fails while it writes does not say where.
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def csv(data: pd.DataFrame) -> str:
    """RFC 4180; missing values are empty, times are ISO 8601 in UTC. A text that a spreadsheet would take for a formula
    begins with an apostrophe."""
    columns = [_texts(data[name]) for name in data.columns]
    lines = [",".join(data.columns)]
    lines += [",".join("" if value is None else cell(value) for value in row) for row in zip(*columns, strict=True)]
    return "".join(f"{line}\r\n" for line in lines)


def _texts(values: pd.Series) -> list[str | None]:
    """Each value as text, None if it is missing."""
    missing = values.isna().tolist()
    if str(values.dtype).startswith("datetime64[us"):
        found = values.dt.strftime("%Y-%m-%dT%H:%M:%SZ").tolist()
    elif str(values.dtype).startswith("datetime64"):
        found = values.dt.strftime("%Y-%m-%d").tolist()
    else:
        found = [str(value) for value in values.tolist()]
    return [None if none else text for none, text in zip(missing, found, strict=True)]


def _parquet(data: pd.DataFrame) -> bytes:
    """Parquet with the dtypes of the columns; DuckDB writes it."""
    with tempfile.TemporaryDirectory(prefix="pharmdb-class-") as folder, parquet_files.connect() as connection:
        path = Path(folder) / "table.parquet"
        quoted = str(path).replace("'", "''")
        connection.register("found", data)
        connection.execute(f"COPY (SELECT * FROM found) TO '{quoted}' (FORMAT parquet)")
        return path.read_bytes()


@contextmanager
def failing(places: Places) -> Iterator[None]:
    """Raises ExportError or NoRoomError if files can't be written: the report's, or temporary ones."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        where = ", ".join(str(one) for one in (places.page, places.folder) if one) or tempfile.gettempdir()
        kind = NoRoomError if full else ExportError
        raise kind(
            expected=f"room for files in {where}" if full else f"files in {where}",
            found=f"{error.strerror or error}: {error.filename or tempfile.gettempdir()}",
            unchanged="the database, and the files of an earlier report, apart from those that are already replaced",
            note=f"{'free space' if full else 'fix the reported problem'}, then run the same command again",
        ) from error
