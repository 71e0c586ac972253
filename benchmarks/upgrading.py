"""An upgrade of as many attempts beside a raw loop that reads, converts and writes, and accounts for nothing."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import ground as grounds
from benchmarks.ground import DIALECTS, Ground
from pharmdb import database

USERS = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def build(path: Path, attempts: int) -> None:
    """An old file at stage 4; every document is another one, as learners' answers are."""
    from legacy import make, row

    users = [row("users", n, email=f"learner{n}@example.test") for n in range(1, USERS + 1)]
    make(f"sqlite:///{path}", 4, users)
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {attempts})"
    answers = "'choice', json_array(char(97 + n % 5)), 'seconds', n % 600, 'question', 'q' || n"
    feedback = "'right', json(iif(n % 2, 'true', 'false')), 'hint', 'see note ' || n"
    # A JSON string whose content is JSON.
    twice = "json_quote(json_object({}) || '')"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            f'{numbers} INSERT INTO "Attempt" '
            '("userId", "entityType", "entityId", answers, score, feedback, "createdAt") '
            f"SELECT 1 + n % {USERS}, 'question', 'q' || (n % 400), {twice.format(answers)}, n % 101, "
            f"{twice.format(feedback)}, 1735689600000 + n * 1000 FROM numbers"
        )
        connection.commit()


_READ = 'SELECT id, "userId", "entityType", "entityId", answers, score, feedback, "createdAt" FROM "Attempt"'
_COLUMNS = "id, user_id, entity_type, entity_id, answers, score, feedback, created_at"


def _converted(source: Path) -> Any:
    with closing(sqlite3.connect(source)) as connection:
        for id_, user, kind, entity, answers, score, feedback, created in connection.execute(_READ):
            time_ = _EPOCH + timedelta(milliseconds=created)
            yield (
                *(id_, user, kind, entity, json.dumps(json.loads(json.loads(answers))), score),
                *(json.dumps(json.loads(json.loads(feedback))), time_.strftime("%Y-%m-%d %H:%M:%S.%f")),
            )


def raw(source: Path, url: str) -> None:
    """The users are there already; the target has all its indexes and rules."""
    if url.startswith("sqlite"):
        with closing(grounds.sqlite(url)) as target:
            # As pharmdb's own writer has it here.
            target.execute("PRAGMA foreign_keys = OFF")
            target.execute("BEGIN IMMEDIATE")
            target.executemany(f"INSERT INTO attempts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _converted(source))
            target.execute("COMMIT")
        return
    with (
        closing(grounds.postgresql(url)) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY attempts ({_COLUMNS}) FROM STDIN") as copy,
    ):
        for row in _converted(source):
            copy.write_row(row)


def prepare(url: str) -> None:
    """A target at head with the users in it."""
    import pharmdb

    pharmdb.migrate(url)
    with database.writing(database.target(url)) as connection:
        for n in range(1, USERS + 1):
            connection.exec_driver_sql(f"INSERT INTO users (id, email, password_hash) VALUES ({n}, 'l{n}@x.test', '!')")


def copy_alone(source: Path, url: str) -> None:
    """The upgrade without its backups and its doctor: read, convert, write, account, compare."""
    from pharmdb import prisma
    from pharmdb.accounting import Account
    from pharmdb.upgrading import _empty

    place, target = database.target(f"sqlite:///{source}"), database.target(url)
    with database.watching(place) as reader, database.changing_schema(target) as writer:
        _empty(writer)
        recognition = prisma.recognize(reader, "source")
        Account(reader, place, recognition, to_postgresql=not target.is_sqlite, writer=writer).run()


def peak_mib(source: Path, url: str) -> float:
    """Of a process that does the whole upgrade."""
    # A process's ru_maxrss begins with that of the one that started it; VmHWM is its own.
    code = f"import pharmdb; pharmdb.upgrade({str(source)!r}, {url!r}); print(open('/proc/self/status').read())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    (peak,) = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("VmHWM")]
    return int(peak) / 1024


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    # The old files are made as the tests make them.
    sys.path.insert(0, str(database.ROOT / "tests"))
    source = ground.folder / "old.db"
    build(source, ground.attempts)
    for dialect in DIALECTS:
        rates = []
        for work in (copy_alone, raw):
            url = ground.empty(dialect)
            prepare(url)
            begin = time.perf_counter()
            work(source, url)
            rates.append(ground.attempts / (time.perf_counter() - begin))
            ground.drop(url)
        ours, peer = rates
        met = "met" if ours >= 0.5 * peer else "**not met**"
        yield (
            f"| upgrade of {ground.attempts:,} attempts, SQLite → {dialect} | {ours:,.0f} rows/s, accounted for "
            f"| raw loop: read, convert, write | {peer:,.0f} rows/s | {ours / peer:.2f} | ≥ 0.5 | {met} |"
        )
    few = ground.attempts // 100
    small = ground.folder / "small.db"
    build(small, few)
    peaks = [peak_mib(file, f"sqlite:///{ground.folder}/peak_{file.name}") for file in (small, source)]
    yield (
        f"| peak memory of a whole upgrade | {peaks[1]:.0f} MiB with {ground.attempts:,} attempts "
        f"| the same with {few:,} | {peaks[0]:.0f} MiB | {peaks[1] / peaks[0]:.2f} | flat | |"
    )
