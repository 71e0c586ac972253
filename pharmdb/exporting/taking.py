"""The export command: one snapshot of the database as Parquet files; a run goes on where the last one stopped."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import shlex
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import Connection

from pharmdb import progress, reports, settings
from pharmdb.arguments import checked
from pharmdb.database import environments, targets
from pharmdb.database.identities import of as identity_of
from pharmdb.errors import ExportError, LockedError, NoRoomError, ParameterError, ProtectedError
from pharmdb.exporting import contents, parquet_files, pseudonyms, slices
from pharmdb.exporting.contents import Contents, Part
from pharmdb.exporting.parquet_files import Writer
from pharmdb.exporting.slices import Slice
from pharmdb.models import MODELS
from pharmdb.schema import revisions

if TYPE_CHECKING:
    import pandas as pd

BUCKETS = 16
MOST_BUCKETS = 4096
_WORK, _LOCK = ".work", ".lock"


@dataclass(frozen=True)
class ExportReport:
    """`tables`: table (str), rows, written, kept (int64, rows in files that were written, or kept as they were)."""

    target: str
    folder: str
    contents: Contents = field(repr=False)
    written: frozenset[Slice] = field(repr=False)

    @property
    def tables(self) -> pd.DataFrame:
        rows = []
        for model in MODELS:
            found = [part.slice for part in self.contents.parts if part.slice.table == model.__tablename__]
            all_, written = (sum(slice_.rows for slice_ in some) for some in (found, self.written & set(found)))
            rows.append((model.__tablename__, all_, written, all_ - written))
        return reports.table(rows, {"table": "str"} | dict.fromkeys(("rows", "written", "kept"), "int64"))

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, changed, kept (str), next (a command that reads the export)."""
        tables = self.tables
        changed = f"{tables['written'].sum()} rows written, {tables['kept'].sum()} kept"
        code = f"import pharmdb; print(pharmdb.exported({self._named}).daily_progress())"
        return reports.table(
            [(True, changed, f"python -c {shlex.quote(code)}")], {"ok": "bool", "changed": "str", "next": "str"}
        )

    @property
    def _named(self) -> str:
        """The folder as an argument; nothing if it is the default one."""
        try:
            default = str(default_folder(targets.target()))
        except ParameterError:
            default = ""
        return "" if self.folder == default else repr(self.folder)


def default_folder(target: targets.Target) -> Path:
    """The folder of a database's export: its name in PHARMDB_EXPORTS."""
    return settings.exports() / quote(target.name, safe="")


@checked
def export(
    database_url: str = "", *, folder: str | Path = "", buckets: int = BUCKETS, identities: bool = False
) -> ExportReport:
    """Exports one snapshot of all tables to a folder, as Parquet files in buckets of users, with a manifest.

    The folder is PHARMDB_EXPORTS/<database>, or another one (relative to settings.home()). A user's rows are all in the
    bucket `user % buckets`. Users are exported under pseudonyms and without e-mail addresses; with `identities` under
    their ids and with them. Password hashes are never exported. JSON columns are the text that is stored.

    What an earlier run has written is kept if the database proves that it is still the same; see slices.py. If the run
    is killed, the previous export stays as it was.

    Raises ParameterError, ProtectedError for identities of a production database, RevisionError if the schema isn't at
    head, LockedError if another run writes to the folder, ExportError, NoRoomError, UnavailableError.
    """
    target = targets.target(database_url)
    if not 1 <= buckets <= MOST_BUCKETS:
        raise ParameterError(
            expected=f"buckets as a whole number from 1 to {MOST_BUCKETS}",
            found=f"buckets={buckets!r}",
            command=targets.command(target, f"pharmdb export --buckets {BUCKETS}"),
        )
    place = settings.home() / Path(folder).expanduser() if str(folder) else default_folder(target)
    with slices.snapshot(target) as (connection, history):
        revisions.require_head(connection, target)
        if identities and environments.environment(connection) == "production":
            raise ProtectedError(
                expected="pseudonyms in an export of a production database",
                found="identities=True",
                command=targets.command(target, "pharmdb export"),
            )
        with _failing(place), alone(place):
            secret = b"" if identities else pseudonyms.key()
            terms = {
                "format": contents.FORMAT,
                "database": _database(connection, target),
                "revision": revisions.head(),
                "buckets": buckets,
                "pseudonyms": hashlib.sha256(secret).hexdigest()[:16] if secret else "",
                "slice": slices.SIZE,
            }
            return _taken(connection, target, place, history, terms, secret)


def _database(connection: Connection, target: targets.Target) -> str:
    """Which database it is, whichever of its servers is asked: a standby has its primary's number."""
    found = identity_of(connection, target)
    return f"{found.machine} {found.place}"


def _taken(
    connection: Connection, target: targets.Target, place: Path, history: str, terms: dict[str, Any], secret: bytes
) -> ExportReport:
    previous = contents.find(place)
    if previous and previous.terms["database"] != terms["database"]:
        raise ParameterError(
            expected=f"a folder for the export of {target}",
            found=f"{place} holds the export of another database",
            note="name another folder, or remove this one",
        )
    planned = slices.of(connection, history)
    kept = list(_kept(place, previous, terms, planned))
    missing = [slice_ for slice_ in planned if slice_ not in {part.slice for part in kept}]
    parts = kept
    if missing or previous is None or previous.terms != terms or {p.slice for p in previous.parts} != set(planned):
        writer = Writer(
            place, place / _WORK, terms["buckets"], not secret, pseudonyms.Names(connection, target, secret)
        )
        with closing(contents.Notes(place, terms, kept)) as notes:
            parts = kept + list(_written(connection, writer, missing, notes))
        order = {slice_: number for number, slice_ in enumerate(planned)}
        columns = {
            model.__tablename__: {c.name: c.type for c in parquet_files.columns(model.__tablename__, not secret)}
            for model in MODELS
        }
        taken_at = datetime.now(UTC).isoformat(timespec="seconds")
        previous = Contents(terms, taken_at, columns, tuple(sorted(parts, key=lambda part: order[part.slice])))
        contents.publish(place, previous)
    _tidy(place, previous)
    return ExportReport(str(target), str(place), previous, frozenset(missing))


def _kept(place: Path, previous: Contents | None, terms: dict[str, Any], planned: list[Slice]) -> Iterator[Part]:
    """The parts on disk that are what would be written now."""
    known = {part.slice: part for part in contents.unfinished(place, terms)}
    if previous and previous.terms == terms:
        known |= {part.slice: part for part in previous.parts}
    for slice_ in planned:
        if slice_.version and slice_ in known and not any(contents.damaged(place, known[slice_])):
            yield known[slice_]


def _written(connection: Connection, writer: Writer, missing: list[Slice], notes: contents.Notes) -> Iterator[Part]:
    """Reads one slice while the previous one is written."""
    with (
        progress.counting("export", sum(slice_.rows for slice_ in missing)) as advance,
        ThreadPoolExecutor(1) as pool,
    ):

        def done(slice_: Slice, task: Future[list[parquet_files.File]]) -> Part:
            part = Part(slice_, tuple(task.result()))
            notes.add(part)
            advance(slice_.rows)
            return part

        before: tuple[Slice, Future[list[parquet_files.File]]] | None = None
        for slice_ in missing:
            chunks = list(writer.read(connection, slice_))
            if before is not None:
                yield done(*before)
            before = slice_, pool.submit(writer.write, slice_, chunks)
        if before is not None:
            yield done(*before)


def _tidy(place: Path, current: Contents) -> None:
    """Removes what does not belong to the export."""
    (place / contents.UNFINISHED).unlink(missing_ok=True)
    shutil.rmtree(place / _WORK, ignore_errors=True)
    for model in MODELS:
        for path in (place / model.__tablename__).glob("bucket=*/*.parquet"):
            if path.relative_to(place).as_posix() not in current.paths:
                path.unlink(missing_ok=True)


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Only one run at a time writes to a folder, which must be a new, an empty or an export's one."""
    ours = (contents.MANIFEST, contents.UNFINISHED, _LOCK)
    if place.exists() and any(place.iterdir()) and not any((place / name).exists() for name in ours):
        raise ParameterError(
            expected=f"{place} to be empty, or an earlier export",
            found=f"{next(place.iterdir()).name} in it, and no {contents.MANIFEST}",
            note="name another folder",
        )
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                expected=f"{place} to be free",
                found="another export writes to it",
                note="run the same command again once it has ended, or name another folder",
            ) from None
        yield


@contextmanager
def _failing(place: Path) -> Iterator[None]:
    """Raises ExportError or NoRoomError if files can't be written."""
    import duckdb

    try:
        yield
    except (OSError, duckdb.Error) as error:
        at = place if place.exists() else place.parent
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        # DuckDB has no code for a full disk.
        full = full or (isinstance(error, duckdb.IOException) and shutil.disk_usage(at).free < 2**20)
        kind = NoRoomError if full else ExportError
        raise kind(
            expected=f"room for the export in {place}" if full else f"an export in {place}",
            found=str(error).splitlines()[0],
            unchanged="the database, and the previous export, if there is one",
            note=f"{'free space' if full else 'fix the reported problem'}, then run the same command again: "
            "it goes on where it stopped",
        ) from error
