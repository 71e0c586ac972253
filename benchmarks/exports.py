"""Exports of a large cohort, and progress by tag and day from them: by DuckDB, by Dask's workers, in the database."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import closing
from typing import Any

import pharmdb
from benchmarks import cohorts
from benchmarks import ground as grounds
from benchmarks.ground import DIALECTS, Ground, peak_mib
from benchmarks.timing import Baseline, alternate, line, memory

# The largest database has this many times the attempts of the other parts' large databases.
TIMES = 10
# Fewer rounds than for faster work.
ROUNDS = 2

_EXPORT = """
import pharmdb
pharmdb.export(sys.argv[1], folder=sys.argv[2])
"""


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for dialect in DIALECTS:
            yield from _lines(ground, dialect, ground.attempts * TIMES, client.get_executor(pure=False))


def _lines(ground: Ground, dialect: str, attempts: int, dask: Executor) -> Iterator[str]:
    url, small = (cohorts.made(ground, dialect, size) for size in (attempts, attempts // 10))
    folder = ground.folder / "export"
    rounds = min(ROUNDS, ground.rounds)
    first, raw = alternate(
        rounds,
        lambda: pharmdb.export(url, folder=folder),
        lambda: _csv(ground, url),
        before=lambda: shutil.rmtree(folder, ignore_errors=True),
    )
    pharmdb.export(url, folder=folder)
    (again,) = alternate(rounds, lambda: pharmdb.export(url, folder=folder))
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 2**20
    yield line(
        f"export of a cohort with {attempts:,} attempts, {size:,.0f} MiB, {dialect}",
        first,
        Baseline("attempts as CSV, by the driver", raw),
    )
    yield line(f"the same again, nothing changed, {dialect}", again, Baseline("the first run", first, 0.25))
    peaks = [peak_mib(_EXPORT, of, str(ground.folder / f"export {ground.number()}"))[0] for of in (url, small)]
    yield memory(
        f"peak memory of that export, {dialect}", peaks[0], f"the same with {attempts // 10:,}", peaks[1], most=1.25
    )
    export, expected = pharmdb.exported(folder), in_database(url)
    for found in (export.daily_progress(), export.daily_progress(executor=dask)):
        if not found.equals(expected):
            raise RuntimeError("other sums than the database's")
    works = (export.daily_progress, lambda: export.daily_progress(executor=dask), lambda: in_database(url))
    here, there, database = alternate(rounds, *works)
    work = "progress by tag and day, from the export"
    yield line(f"{work}, {dialect}", here, Baseline("in the database", database, 1.0))
    yield line(f"{work}, two workers of Dask, {dialect}", there, Baseline("in the database", database))
    for used in (url, small):
        ground.drop(used)


def _csv(ground: Ground, url: str) -> None:
    """All attempts as text, as fast as the driver gives them."""
    path = ground.folder / "attempts.csv"
    if url.startswith("sqlite"):
        with closing(grounds.sqlite(url)) as connection, path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(connection.execute("SELECT * FROM attempts"))
        return
    with (
        closing(grounds.postgresql(url)) as server,
        path.open("wb") as file,
        server.cursor() as cursor,
        cursor.copy("COPY attempts TO STDOUT (FORMAT csv)") as copy,
    ):
        file.writelines(copy)


def in_database(url: str) -> Any:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return pharmdb.daily_progress(connection)
