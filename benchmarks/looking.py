"""`inspect` and `doctor` on a large database, compared with one `count(*)` of its attempts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from unittest import mock

from benchmarks.timing import Baseline, alternate, line

ROUNDS = 9


def count(url: str) -> int:
    """Counts the attempts through a new connection, as each command opens one."""
    import pharmdb

    with pharmdb.reading(pharmdb.target(url)) as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar_one())


def inspect(url: str) -> None:
    """Inspects the learner with the largest id, who has attempts, progress and reviews if anybody has."""
    import pharmdb

    with pharmdb.reading(pharmdb.target(url)) as connection:
        email = connection.exec_driver_sql("SELECT email FROM users ORDER BY id DESC LIMIT 1").scalar() or ""
    _ = pharmdb.inspect(url, user_email=email, days=36_500).outcome


def doctor(url: str) -> None:
    """Runs the doctor's checks, whatever they find."""
    import pharmdb

    _ = pharmdb.check(url).checks


def main(folder: Path, targets: Mapping[str, str]) -> Iterator[str]:
    """The lines of the table; `targets` maps each kind of database to the URL of a large one.

    A warm-up round comes first, so that all are measured with the same warm caches; `folder` is used as the folder of
    backups.
    """
    with mock.patch.dict(os.environ, {"PHARMDB_BACKUPS": str(folder)}):
        for dialect, url in targets.items():
            works: list[Callable[[], object]] = [partial(work, url) for work in (count, inspect, doctor)]
            rows = count(url)
            counted, inspected, checked = alternate(ROUNDS, *works)
            for name, seconds in (("inspect", inspected), ("doctor", checked)):
                baseline = Baseline("`count(*)` of attempts", counted, 5)
                yield line(f"{name} at {rows:,} attempts, {dialect}", seconds, baseline)
