"""Bulk inserts of attempts with both indexes in place, each into a fresh copy of the same database.

Measured twice: with values ready for the driver, as the database stores them; and from Python values, which each
library converts to what it needs (models, dataframes, JSON).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.sqlite import DATETIME

import pharmdb
from benchmarks import django_baseline, ground
from benchmarks.ground import DIALECTS, Ground, asked_of_pharmdb, driver
from benchmarks.timing import Baseline, alternate, line
from pharmdb.database import bulk, stored_values, targets, transactions
from pharmdb.models import Attempt

USERS = 1000
TABLE: Any = Attempt.__table__
COLUMNS = ("user_id", "entity_type", "entity_id", "answers", "score", "feedback", "created_at")
# The fastest of the sizes tried. For pandas, one executemany per chunk is fastest: method="multi" takes four times as
# long on both databases.
DJANGO_BATCH = 500
PANDAS_CHUNK = 1000

Rows = list[tuple[Any, ...]]
Work = Callable[[str], object]
_START = datetime(2026, 6, 1, 8, tzinfo=UTC)


def values(count: int) -> Rows:
    """Attempts of a thousand users, as Python values in an application."""
    return [
        (
            1 + n % USERS,
            "question",
            f"q{n % 400}",
            {"choice": "ABCDE"[n % 5], "seconds": n % 600, "n": n},
            float(n % 101),
            {"correct": n % 101 >= 50, "topic": f"topic {n % 37}"} if n % 3 else None,
            _START + timedelta(seconds=n),
        )
        for n in range(count)
    ]


_FORM = "%(year)04d-%(month)02d-%(day)02dT%(hour)02d:%(minute)02d:%(second)02d.%(microsecond)03d+00:00"


def stored(rows: Rows) -> Iterator[tuple[Any, ...]]:
    """The same values in a form that both databases accept: documents and times as text."""
    return stored_values.stored(TABLE, COLUMNS, rows)


def ours(rows: Any) -> Work:
    def work(url: str) -> None:
        with transactions.writing(targets.target(url)) as connection:
            bulk.insert(connection, "attempts", COLUMNS, rows() if callable(rows) else rows)

    return work


def raw(rows: Rows) -> Work:
    def work(url: str) -> None:
        with ground.begun(url) as connection:
            ground.insert(connection, "attempts", COLUMNS, rows)
            connection.commit()

    return work


def django(rows: Rows) -> Work:
    def work(url: str) -> None:
        alias = django_baseline.connect(url)
        attempt = django_baseline.models().Attempt
        made = [attempt(**dict(zip(COLUMNS, row, strict=True))) for row in rows]
        attempt.objects.using(alias).bulk_create(made, batch_size=DJANGO_BATCH)
        django_baseline.close()

    return work


def pandas(rows: Rows) -> Work:
    def work(url: str) -> None:
        documents: Any = sa.JSON(none_as_null=True) if url.startswith("sqlite") else JSONB(none_as_null=True)
        # The form that the schema takes; the rows have whole seconds.
        text: Any = DATETIME
        times: Any = text(storage_format=_FORM) if url.startswith("sqlite") else sa.TIMESTAMP(timezone=True)
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        engine = ground.engine(url)
        frame.to_sql(
            "attempts",
            engine,
            if_exists="append",
            index=False,
            chunksize=PANDAS_CHUNK,
            dtype={"answers": documents, "feedback": documents, "created_at": times},
        )
        engine.dispose()

    return work


def sqlite_utils(rows: Rows) -> Work:
    def work(url: str) -> None:
        from sqlite_utils import Database

        with closing(ground.sqlite(url, "IMMEDIATE")) as connection:
            # It converts documents to text itself, but would write times in a form that the schema refuses.
            made = (
                dict(zip(COLUMNS, (*row[:-1], row[-1].isoformat(timespec="milliseconds")), strict=True)) for row in rows
            )
            Database(connection).table("attempts").insert_all(made, batch_size=10_000)

    return work


def base(ground: Ground, dialect: str) -> str:
    """A database at head with users only."""
    url = ground.empty(dialect)
    pharmdb.migrate(url)
    with transactions.writing(targets.target(url)) as connection:
        users = [(n, f"user{n}@example.test", "!") for n in range(1, USERS + 1)]
        bulk.insert(connection, "users", ("id", "email", "password_hash"), users)
    return url


def copied(ground: Ground, url: str) -> str:
    """A fresh copy of a database."""
    if url.startswith("sqlite"):
        copy = ground.empty("SQLite")
        shutil.copyfile(targets.target(url).path, targets.target(copy).path)
        return copy
    return ground.create(f"copy_{ground.number()}", targets.target(url).name)


def baselines(dialect: str, rows: Rows) -> list[tuple[str, Work, float | None]]:
    """The baselines that start from Python values: name, work, and how many times as fast ours must be."""
    found: list[tuple[str, Work, float | None]] = [
        ("Django `bulk_create`", django(rows), 4 if dialect == "SQLite" else 5),
        ("pandas `to_sql`", pandas(rows), None),
    ]
    return [*found, ("sqlite-utils `insert_all`", sqlite_utils(rows), None)] if dialect == "SQLite" else found


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    rows = values(ground.attempts // 10)
    ready = list(stored(rows))
    for dialect in DIALECTS:
        origin = base(ground, dialect)
        own, theirs = _measured(ground, origin, ours(ready), raw(ready))
        yield line(
            f"bulk insert of {len(rows):,} attempts, values ready for the driver, {dialect}",
            own,
            Baseline(driver(dialect), theirs, least=0.8),
            rows=len(rows),
        )
        others = baselines(dialect, rows)
        own, *found = _measured(ground, origin, ours(lambda: stored(rows)), *(work for _, work, _ in others))
        yield line(
            f"bulk insert of {len(rows):,} attempts, from Python values, {dialect}",
            own,
            *(Baseline(name, seconds, least=least) for (name, _, least), seconds in zip(others, found, strict=True)),
            rows=len(rows),
        )


def _measured(ground: Ground, origin: str, *works: Work) -> list[list[float]]:
    urls = [""]

    def before() -> None:
        if urls[0]:
            ground.drop(urls[0])
        urls[0] = copied(ground, origin)
        # Queried here, so that no measurement includes it.
        asked_of_pharmdb(urls[0])

    def on_copy(work: Work) -> Callable[[], object]:
        return lambda: work(urls[0])

    return alternate(ground.rounds, *map(on_copy, works), before=before)
