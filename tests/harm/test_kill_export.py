"""kill -9 at random instants of an export: the old export or the new one, and the next run brings the new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from support import killing, raw
from support.databases import Databases

import pharmdb
from pharmdb.exporting.analysing import Export
from pharmdb.models import Attempt


@pytest.fixture(scope="module")
def stable(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> killing.Stable:
    made = killing.Stable({})
    # The first child waits for the imports; a duration measured with it would be far too long.
    folder = str(tmp_path_factory.mktemp("first"))
    made.duration("export", databases.migrated("sqlite"), {"folder": folder})
    return made


def test_a_kill_leaves_the_old_export_or_the_new_one(
    seeded: str, stable: killing.Stable, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    message = killing.said(request.node.name)
    numbers = killing.dice(request.node.name)
    pharmdb.cohort(seeded, learners=20, days=10)
    options: dict[str, Any] = {"folder": str(tmp_path / "export")}
    duration = stable.duration("export", seeded, options)
    inside: list[float] = []
    for instant in killing.instants(numbers, duration, inside):
        old = pharmdb.exported(options["folder"]).contents
        with raw.session(seeded) as session, raw.transaction(session):
            session.execute("UPDATE attempts SET score = 100 - score")
        if stable.kill("export", seeded, options, instant):
            inside.append(instant)
        where = f"killed after {instant:.4f} of {duration:.4f} s; {message}"
        # Verified: each file is there as it was written.
        left = pharmdb.exported(options["folder"])
        assert left.contents == old or instant not in inside or total(left) == stored(seeded), where
        pharmdb.export(seeded, **options)
        new = pharmdb.exported(options["folder"])
        assert total(new) == stored(seeded), where
        assert {str(path) for path in new.folder.rglob("*.parquet")} == set(new.files["path"]), where
    assert inside, f"no kill fell inside the work of {duration:.4f} s; {message}"


def total(export: Export) -> tuple[int, float]:
    parts = export.by_bucket("SELECT count(*) AS n, sum(score) AS score FROM attempts")
    return int(parts["n"].sum()), round(float(parts["score"].sum()), 3)


def stored(url: str) -> tuple[int, float]:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        number, score = connection.execute(select(func.count(), func.sum(Attempt.score))).one()
    return number, round(score, 3)
