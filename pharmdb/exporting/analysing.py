"""Analyses of an export: DuckDB reads each bucket, here or on other machines, and the buckets' results are merged."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pharmdb import reports, settings
from pharmdb.arguments import checked
from pharmdb.database import targets
from pharmdb.errors import ExportError
from pharmdb.exporting import contents, parquet_files, taking
from pharmdb.learning import daily
from pharmdb.learning.sm2 import CORRECT_FROM
from pharmdb.types import milliseconds

if TYPE_CHECKING:
    import duckdb
    import pandas as pd


@dataclass(frozen=True)
class Export:
    """A complete export.

    `executor`, in its methods, is any executor of the standard library's interface, such as `client.get_executor()` of
    a Dask client: there is one task for each bucket. Each machine needs pharmdb, and the folder under the same path.
    Without one, the buckets are read by the cores of this machine.
    """

    folder: Path
    contents: contents.Contents = field(repr=False)

    @property
    def files(self) -> pd.DataFrame:
        """table, path (str), bucket, rows (int64), earliest, latest (UTC times), size (int64, bytes), sha256 (str)."""
        rows = [
            (part.slice.table, str(self.folder / file.path), *list(vars(file).values())[1:])
            for part in self.contents.parts
            for file in part.files
        ]
        whole = dict.fromkeys(("bucket", "rows"), "int64")
        times = dict.fromkeys(("earliest", "latest"), "datetime64[us, UTC]")
        return reports.table(rows, {"table": "str", "path": "str"} | whole | times | {"size": "int64", "sha256": "str"})

    def by_bucket(self, sql: str, values: Sequence[Any] = (), *, executor: Executor | None = None) -> pd.DataFrame:
        """The rows of a DuckDB statement, executed once for each bucket, in which it sees the tables by their names.

        All rows of a user are in one bucket. A statement that groups by user has each user once in the result; of other
        groups it has parts, which the caller adds up.

        Raises ExportError if a file can't be read.
        """
        import duckdb
        import pandas as pd

        paths: dict[int, dict[str, list[str]]] = {}
        for part in self.contents.parts:
            for file in part.files:
                tables = paths.setdefault(file.bucket, {})
                tables.setdefault(part.slice.table, []).append(str(self.folder / file.path))
        # Without any row, the statement still says which columns there are.
        work = [(self.contents.columns, tables, sql, tuple(values)) for tables in paths.values()] or [
            (self.contents.columns, {}, sql, tuple(values))
        ]
        own = ThreadPoolExecutor(os.cpu_count()) if executor is None else nullcontext(executor)
        try:
            with own as used:
                found = list(used.map(of_bucket, *map(list, zip(*work, strict=True))))
        except (duckdb.IOException, OSError) as error:
            raise ExportError(
                expected=f"the files of the export in {self.folder}, on each machine",
                found=str(error).splitlines()[0],
                note="if it was replaced meanwhile, read the new one",
            ) from error
        return pd.concat(found, ignore_index=True)

    def daily_progress(
        self, *, since: datetime | None = None, catalogue: str | Path = "", executor: Executor | None = None
    ) -> pd.DataFrame:
        """What `pharmdb.daily_progress` computes in the database: correct and wrong attempts by day (UTC) and tag.

        Raises ValueError for a `since` without a time zone; CatalogueError, ExportError.
        """
        first = milliseconds(since).isoformat() if since is not None else "0001-01-01 00:00:00+00"
        counted = self.by_bucket(_DAILY, [first], executor=executor)
        counted = counted.groupby(daily.COUNTED[:3], as_index=False, sort=False)[daily.COUNTED[3:]].sum()
        return daily.by_tag(counted, catalogue)

    def overview(self, *, executor: Executor | None = None) -> pd.DataFrame:
        """table (str), rows, users (int64, with rows in it), earliest, latest (UTC, rounded down to the second).

        Read from the files. Raises ExportError.
        """
        sql = " UNION ALL ".join(
            _OVERVIEW.format(table=table, user=parquet_files.owner(table), time=parquet_files.time_column(table))
            for table in self.contents.columns
        )
        parts = self.by_bucket(sql, executor=executor).groupby("table", sort=False)
        merged = parts.agg({"rows": "sum", "users": "sum", "earliest": "min", "latest": "max"}).reset_index()
        times = {
            name: merged[name].astype("Int64").astype("datetime64[us, UTC]").dt.floor("s")
            for name in ("earliest", "latest")
        }
        return merged.assign(**times).astype({"table": "str", "rows": "int64", "users": "int64"})


_DAILY = f"""
    SELECT CAST(created_at AS DATE) AS day, entity_type, entity_id,
           CAST(count(*) FILTER (WHERE score >= {CORRECT_FROM}) AS BIGINT) AS correct_count, count(*) AS attempts
    FROM attempts WHERE created_at >= CAST(? AS TIMESTAMPTZ) GROUP BY ALL
"""
_OVERVIEW = """
    SELECT '{table}' AS "table", count(*) AS rows, count(DISTINCT {user}) AS users,
           epoch_us(min({time})) AS earliest, epoch_us(max({time})) AS latest FROM {table}
"""


def of_bucket(
    columns: Mapping[str, Mapping[str, str]], paths: Mapping[str, Sequence[str]], sql: str, values: Sequence[Any]
) -> pd.DataFrame:
    """The rows of a statement over one bucket's files. It runs on whatever machine the executor has chosen."""
    with _engine().cursor() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table, types in columns.items():
            if table not in sql:
                continue
            if table in paths:
                files = ", ".join("'" + path.replace("'", "''") + "'" for path in paths[table])
                connection.execute(f"CREATE TEMP VIEW {table} AS SELECT * FROM read_parquet([{files}])")
            else:
                typed = ", ".join(f"{name} {type_}" for name, type_ in types.items())
                connection.execute(f"CREATE TEMP TABLE {table} ({typed})")
        return connection.execute(sql, list(values)).df()


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    """One for each process: a cursor is made in a thousandth of the time, and has tables of its own."""
    return parquet_files.connect()


@checked
def exported(folder: str | Path = "", *, verify: bool = True) -> Export:
    """The export in a folder (relative to settings.home()); by default that of the database in PHARMDB_URL.

    Raises ExportError if there is none or, with `verify`, if a file is missing or its SHA-256 is another one.
    """
    place = settings.home() / Path(folder).expanduser() if str(folder) else taking.default_folder(targets.target())
    command = f"pharmdb export --folder {shlex.quote(str(place))}" if str(folder) else "pharmdb export"
    found = contents.find(place)
    if found is None:
        raise ExportError(expected=f"an export in {place}", found="no manifest", command=command)
    faults = [fault for part in found.parts for fault in contents.damaged(place, part)] if verify else []
    if faults:
        raise ExportError(
            expected=f"the files of the export in {place} as they were written",
            found="; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else ""),
            command=command,
            note="this writes them again",
        )
    return Export(place, found)
