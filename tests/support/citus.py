"""A Citus cluster, where PHARMDB_TEST_CITUS_URL names a coordinator's database; its content is thrown away."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import pharmdb
from pharmdb.database import transactions
from pharmdb.schema import dropping

# Read before the tests clear their environment.
URL = os.environ.get("PHARMDB_TEST_CITUS_URL", "")
LEARNERS = 20
LEARNER = "learner000001@cohort.invalid"


def emptied() -> str:
    """The URL of the cluster's database, without a table; skips the test where there is no cluster.

    Dropping the schema instead would take a part of the extension along.
    """
    if not URL:
        pytest.skip("PHARMDB_TEST_CITUS_URL names no coordinator of a Citus cluster")
    with transactions.changing_schema(pharmdb.target(URL)) as connection:
        dropping.drop_everything(connection)
    return URL


def filled(url: str) -> None:
    """Makes a database with a few learners on one server, the coordinator."""
    pharmdb.reset(url, backup=False)
    pharmdb.cohort(url, learners=LEARNERS, days=10)


@pytest.fixture
def citus() -> str:
    """A database with a few learners on one server, the coordinator."""
    url = emptied()
    filled(url)
    return url


@pytest.fixture(scope="module")
def distributed() -> Iterator[str]:
    """A distributed database with a few learners; its tests don't mind what others have written."""
    url = emptied()
    filled(url)
    pharmdb.distribute(url, dry_run=False)
    yield url
    emptied()


def mark(url: str) -> str:
    """The fingerprint of the content."""
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return pharmdb.fingerprint(connection)
