"""The fingerprint of a large database, compared with reading it row by row and with fetching the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

import pharmdb
from benchmarks import cohorts
from benchmarks.ground import DIALECTS, Ground, begun
from benchmarks.timing import Baseline, alternate, line
from pharmdb.database import targets, transactions
from pharmdb.schema import fingerprint_batches

# All columns of a fingerprint, in its order; PostgreSQL sends documents as text, which the driver doesn't parse.
_ROWS = """
SELECT u.email, a.created_at, a.entity_type, a.entity_id, a.score, CAST(a.answers AS TEXT), CAST(a.feedback AS TEXT)
  FROM users AS u {join} attempts AS a ON a.user_id = u.id ORDER BY u.email, a.created_at
"""


def ours(url: str) -> str:
    with transactions.reading(targets.target(url)) as connection:
        return pharmdb.fingerprint(connection)


def row_by_row(url: str) -> str:
    """The same value, as of a table with few rows."""
    with mock.patch.object(fingerprint_batches, "worthwhile", return_value=False):
        return ours(url)


def fetch(url: str) -> int:
    """The number of attempts, each fetched by the raw driver with its user's e-mail address."""
    # The order of the join in which SQLite needs no sort.
    sql = _ROWS.format(join="CROSS JOIN" if url.startswith("sqlite") else "JOIN")
    with begun(url) as connection:
        cursor = connection.cursor() if url.startswith("sqlite") else connection.cursor(name="attempts")
        found = 0
        cursor.execute(sql)
        while rows := cursor.fetchmany(1000):
            found += len(rows)
        return found


def _line(ground: Ground, what: str, url: str, *works: tuple[str, Callable[[str], object], float | None]) -> str:
    if ours(url) != row_by_row(url):
        raise RuntimeError(f"{what}: two fingerprints of one database")
    fast, *others = alternate(ground.rounds, *(partial(work, url) for work in (ours, *(work for _, work, _ in works))))
    baselines = [Baseline(name, each, most=most) for (name, _, most), each in zip(works, others, strict=True)]
    return line(f"fingerprint of {what}", fast, *baselines)


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    for dialect in DIALECTS:
        yield _line(
            ground,
            f"{ground.attempts:,} attempts, {dialect}",
            ground.large(dialect),
            ("the same, row by row", row_by_row, 0.2),
            ("raw driver, only fetching the rows", fetch, None),
        )
        cohort = cohorts.made(ground, dialect, ground.attempts)
        yield _line(
            ground,
            f"a cohort with {ground.attempts:,} attempts and as many other rows, {dialect}",
            cohort,
            ("the same, row by row", row_by_row, None),
        )
        ground.drop(cohort)
