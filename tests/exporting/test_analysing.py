"""Analyses of an export: what the database itself answers, on one machine and on Dask's workers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import func, select
from support.databases import DIALECTS, Databases

import pharmdb
from pharmdb.errors import ExportError
from pharmdb.exporting import parquet_files, slices
from pharmdb.models import MODELS, Attempt


@pytest.fixture(scope="module")
def dask() -> Iterator[Executor]:
    """Two workers, each a process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        yield client.get_executor(pure=False)


@pytest.fixture(scope="module", params=DIALECTS)
def database(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    with databases.dropped(databases.migrated(request.param)) as url:
        pharmdb.cohort(url, learners=20, days=15)
        yield url


@pytest.fixture(scope="module")
def export(database: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "SIZE", 500)
        folder = tmp_path_factory.mktemp("export") / "of learners"
        return pharmdb.exported(pharmdb.export(database, folder=folder, buckets=5).folder)


@pytest.fixture(params=["DuckDB", "Dask"])
def executor(request: pytest.FixtureRequest) -> Executor | None:
    return request.getfixturevalue("dask") if request.param == "Dask" else None


def test_progress_by_day_and_tag_is_the_database_s(database: str, export: Any, executor: Executor | None) -> None:
    with pharmdb.reading(pharmdb.target(database)) as connection:
        middle: datetime = connection.scalars(select(Attempt.created_at).order_by(Attempt.id).offset(100)).first()  # type: ignore[assignment]
        for since in (None, middle, middle + timedelta(days=9999)):
            expected = pharmdb.daily_progress(connection, since=since)
            pd.testing.assert_frame_equal(export.daily_progress(since=since, executor=executor), expected)
    with pytest.raises(ValueError, match="zone"):
        export.daily_progress(since=datetime(2026, 1, 1))  # noqa: DTZ001


def test_the_overview_is_the_database_s(database: str, export: Any, executor: Executor | None) -> None:
    found = export.overview(executor=executor)
    assert found["table"].tolist() == [model.__tablename__ for model in MODELS]
    with pharmdb.reading(pharmdb.target(database)) as connection:
        for model, row in zip(MODELS, found.itertuples(index=False), strict=True):
            columns = model.__table__.c
            user, time = (columns[of(model.__tablename__)] for of in (parquet_files.owner, parquet_files.time_column))
            asked = select(func.count(), func.count(user.distinct()), func.min(time), func.max(time))
            rows, users, *times = connection.execute(asked).one()
            assert list(row[1:]) == [rows, users, *(at.replace(microsecond=0) for at in times)]


def test_a_statement_of_ones_own_sees_all_rows_of_a_user(database: str, export: Any, executor: Executor | None) -> None:
    sql = "SELECT user_id, count(*) AS n, max(a.score) AS best FROM attempts AS a GROUP BY ALL HAVING count(*) >= ?"
    found = export.by_bucket(sql, [2], executor=executor)
    assert found["user_id"].is_unique
    with pharmdb.reading(pharmdb.target(database)) as connection:
        each = select(func.count(), func.max(Attempt.score)).group_by(Attempt.user_id).having(func.count() >= 2)
        assert sorted(found[["n", "best"]].itertuples(index=False, name=None)) == sorted(
            map(tuple, connection.execute(each))
        )


def test_an_export_that_is_gone(export: Any, executor: Executor | None, tmp_path: Path) -> None:
    gone = type(export)(tmp_path / "moved", export.contents)
    with pytest.raises(ExportError):
        gone.overview(executor=executor)
