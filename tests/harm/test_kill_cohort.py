"""kill -9 at random instants of a cohort: whole batches of learners or none, and the next run completes it."""

from __future__ import annotations

from typing import Any

import pytest
from support import killing, raw
from support.databases import Databases

import pharmdb
from pharmdb.cohorts.building import BATCH

# Several transactions.
OPTIONS: Any = {"learners": 3 * BATCH - 100, "days": 7}


@pytest.fixture(scope="module")
def stable(databases: Databases) -> killing.Stable:
    made = killing.Stable({})
    # The first child waits for the imports; a duration measured with it would be far too long.
    made.duration("cohort", databases.migrated("sqlite"), {"learners": 1, "days": 1})
    return made


def _count(url: str, table: str) -> int:
    with raw.session(url) as session:
        return int(session.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_kill_leaves_whole_learners_and_the_next_run_completes_the_cohort(
    databases: Databases, dialect: str, stable: killing.Stable, request: pytest.FixtureRequest
) -> None:
    message = killing.said(request.node.name)
    numbers = killing.dice(request.node.name)
    whole = databases.migrated(dialect)
    duration = stable.duration("cohort", whole, OPTIONS)
    expected = pharmdb.cohort(whole, **OPTIONS).fingerprint
    inside: list[float] = []
    left = []
    for instant in killing.instants(numbers, duration, inside):
        url = databases.migrated(dialect)
        if stable.kill("cohort", url, OPTIONS, instant):
            inside.append(instant)
        killing.wait(url)
        where = f"killed after {instant:.4f} of {duration:.4f} s; {message}"
        there = _count(url, "users")
        assert there in (0, BATCH, 2 * BATCH, OPTIONS["learners"]), where
        assert _count(url, "user_settings") == there, where
        left.append(there)
        report = pharmdb.cohort(url, **OPTIONS)
        assert report.unchanged["users"] == there, where
        assert report.fingerprint == expected, where
    assert inside, f"no kill fell inside the work of {duration:.4f} s; {message}"
    print(f"{len(inside)} of {len(left)} kills inside {duration:.3f} s, leaving {left}; {message}")
