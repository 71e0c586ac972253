"""Slices of the tables as Parquet files, one for each bucket of users; DuckDB writes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Boolean, Connection, Double, Integer

from pharmdb.backups import files
from pharmdb.errors import DamagedError
from pharmdb.exporting.pseudonyms import Names
from pharmdb.exporting.slices import Slice
from pharmdb.learning import joined
from pharmdb.learning.joined import Column
from pharmdb.models import Base, DatasetOverride, User
from pharmdb.types import StrictBoolean, UTCDateTime

if TYPE_CHECKING:
    import duckdb

_SETTINGS: dict[str, Any] = {
    # No extension may be downloaded; what is needed is built in.
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # One file for each bucket, and the same bytes for the same rows.
    "threads": "1",
}
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
# What is never exported, and what only with identities.
SECRET, IDENTIFYING = "password_hash", "email"


@dataclass(frozen=True)
class Exported:
    """A column as it is exported: how it is read, and its type in DuckDB's words."""

    name: str
    reads: Column
    type: str

    @property
    def sql(self) -> str:
        """The value as it is written, from the value as it is read."""
        value = f"nullif({self.name}, chr({ord(joined.NULL)}))" if self.reads.nullable else self.name
        if self.reads.kind == "time":
            return f"make_timestamptz({value})"
        return f"CAST({value} AS {self.type})"


def columns(table: str, identities: bool) -> list[Exported]:
    """A table's columns, without password hashes, and without e-mail addresses unless with identities."""
    found = []
    for column in Base.metadata.tables[table].columns:
        if column.name != SECRET and (identities or column.name != IDENTIFYING):
            kind, type_ = _kind_and_type(column.type)
            # The reader's other kinds have no NULL.
            kind = "text" if column.nullable else kind
            found.append(Exported(column.name, Column(column.name, kind, bool(column.nullable)), type_))
    return found


def _kind_and_type(type_: Any) -> tuple[str, str]:
    if isinstance(type_, UTCDateTime):
        return "time", "TIMESTAMPTZ"
    if isinstance(type_, (Boolean, StrictBoolean)):
        return "text", "BOOLEAN"
    if isinstance(type_, Integer):
        return "integer", "BIGINT"
    # JSON stays the text that the database has, in whichever of its two shapes.
    return ("real", "DOUBLE") if isinstance(type_, Double) and not isinstance(type_, JSON) else ("text", "VARCHAR")


def owner(table: str) -> str:
    """The column with the user to whom a row belongs."""
    if table == User.__tablename__:
        return "id"
    return "created_by_id" if table == DatasetOverride.__tablename__ else "user_id"


def time_column(table: str) -> str:
    """The time by which a manifest says what a file covers."""
    names = [column.name for column in columns(table, False) if column.reads.kind == "time"]
    return names[0]


@dataclass(frozen=True)
class File:
    """A Parquet file: its path in the export, its rows, the times that they cover, and what it must be."""

    path: str
    bucket: int
    rows: int
    earliest: str
    latest: str
    size: int
    sha256: str


class Writer:
    """Writes slices into an export's folder, by way of a folder of its own on the same disk."""

    def __init__(self, folder: Path, work: Path, buckets: int, identities: bool, names: Names) -> None:
        self._folder, self._work, self._buckets, self._identities = folder, work, buckets, identities
        self._names = names
        # One slice at a time uses it.
        self._duckdb = connect()

    def read(self, connection: Connection, slice_: Slice) -> Iterator[list[Any]]:
        """The columns of the slice's rows, many rows at a time."""
        read = [column.reads for column in columns(slice_.table, self._identities)]
        return joined.chunks(connection, slice_.table, read, [], {}, (slice_.first, slice_.last))

    def write(self, slice_: Slice, chunks: list[list[Any]]) -> list[File]:
        """Writes what was read of a slice; each file is complete and on disk before it has its name."""
        import numpy as np
        import pandas as pd

        exported = columns(slice_.table, self._identities)
        data = {
            column.name: np.concatenate([chunk[number] for chunk in chunks]) for number, column in enumerate(exported)
        }
        chunks.clear()
        user = owner(slice_.table)
        data[user] = self._names.of(data[user])
        data["bucket"] = data[user] % self._buckets
        frame = pd.DataFrame(data, copy=False)
        if len(frame) != slice_.rows:
            raise DamagedError(
                expected=f"{slice_.rows} rows in {slice_.table} from id {slice_.first} to {slice_.last}",
                found=f"{len(frame)}",
                command=self._names.check,
            )
        self._copy(frame, ", ".join(f"{column.sql} AS {column.name}" for column in exported), user)
        covered = frame.groupby("bucket")[time_column(slice_.table)].agg(["size", "min", "max"])
        return [self._publish(slice_, int(bucket), *map(int, row)) for bucket, *row in covered.itertuples()]

    def _copy(self, frame: Any, select: str, user: str) -> None:
        self._duckdb.register("frame", frame)
        self._duckdb.execute(
            f"COPY (SELECT {select}, bucket FROM frame ORDER BY bucket, {user}, id) TO '{_quoted(self._work)}' "
            "(FORMAT parquet, COMPRESSION zstd, PARTITION_BY (bucket), OVERWRITE)"
        )
        self._duckdb.unregister("frame")

    def _publish(self, slice_: Slice, bucket: int, rows: int, earliest: int, latest: int) -> File:
        (written,) = (self._work / f"bucket={bucket}").glob("*.parquet")
        files.sync(written)
        sha256 = files.sha256(written)
        # The name has the content in it: a file of an older export is never replaced by another one.
        path = f"{slice_.table}/bucket={bucket}/{slice_.number:06d}-{sha256[:16]}.parquet"
        size = written.stat().st_size
        final = self._folder / path
        final.parent.mkdir(parents=True, exist_ok=True)
        written.rename(final)
        files.sync(final.parent)
        return File(path, bucket, rows, _time(earliest), _time(latest), size, sha256)


def _time(microseconds: int) -> str:
    return (EPOCH + microseconds * MICROSECOND).isoformat(timespec="milliseconds")


def connect() -> duckdb.DuckDBPyConnection:
    """DuckDB, in memory and with one thread."""
    import duckdb

    return duckdb.connect(config=_SETTINGS)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
