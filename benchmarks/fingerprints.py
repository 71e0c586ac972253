"""The fingerprint of a large database, compared with reading it row by row and with fetching the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from unittest import mock

import pharmdb
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


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    for dialect in DIALECTS:
        url = ground.large(dialect)
        if ours(url) != row_by_row(url):
            raise RuntimeError(f"{dialect}: two fingerprints of one database")

        def on(work: Callable[[str], object], url: str = url) -> Callable[[], object]:
            return lambda: work(url)

        fast, slow, floor = alternate(ground.rounds, on(ours), on(row_by_row), on(fetch))
        yield line(
            f"fingerprint of {ground.attempts:,} attempts, {dialect}",
            fast,
            Baseline("the same, row by row", slow, most=0.2),
            Baseline("raw driver, only fetching the rows", floor),
        )
