"""A seed of a million progress rows and its memory, compared with the raw driver's bulk insert of the same rows."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pharmdb
from benchmarks.ground import CACHE, DIALECTS, Ground, begun, driver, insert, peak_mib
from benchmarks.timing import Baseline, line, memory

USERS = 20
_COLUMNS = ("user_id", "module", "course_block", "tag", "correct_count", "wrong_count", "last_attempt_at")
_TIME = "2026-01-02T03:04:05.006+00:00"


def _rows(rows: int) -> Iterator[tuple[Any, ...]]:
    """User number, module, course_block, tag, counts; grouped by learner, as in an export."""
    each = -(-rows // USERS)
    for n in range(rows):
        yield n // each + 1, "questions", f"block {n % each // 40}", f"tag {n % each}", n % 100, n % 7


def write(folder: Path, rows: int) -> Path:
    """Creates a seed folder with this many progress rows."""
    folder.mkdir()
    with (folder / "users.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("email", "password", "role", "language"))
        writer.writerows((f"learner{n}@example.test", "Secret-of-mine-1", "USER", "en") for n in range(1, USERS + 1))
    with (folder / "progress.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("user_email", "module", "course_block", "tag", "correct_count", "wrong_count"))
        writer.writerows((f"learner{user}@example.test", *rest) for user, *rest in _rows(rows))
    return folder


def ours(url: str, seed_dir: Path) -> float:
    """Seconds of the whole command: read and check files, create users, compare and write rows, count, fingerprint."""
    begin = time.perf_counter()
    pharmdb.seed(url, seed_dir=str(seed_dir))
    return time.perf_counter() - begin


def raw(url: str, rows: int) -> float:
    """Seconds that the driver takes for the same rows as tuples, with our durability settings; the users exist."""
    ready = [(*row, _TIME) for row in _rows(rows)]
    users = [(n, f"learner{n}@example.test", "!") for n in range(1, USERS + 1)]
    with begun(url) as connection:
        insert(connection, "users", ("id", "email", "password_hash"), users)
        begin = time.perf_counter()
        insert(connection, "progress_by_tag", _COLUMNS, ready)
        connection.commit()
        return time.perf_counter() - begin


# Without argon2's 64 MiB per thread, which could hide the memory of the rows.
_SEED = """
import pharmdb
from pharmdb.seeding import passwords
passwords.hash_password = lambda password: "!"
pharmdb.seed(sys.argv[1], seed_dir=sys.argv[2])
"""


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    rows, few = ground.attempts, ground.attempts // 100
    large, small = write(ground.folder / "large", rows), write(ground.folder / "small", few)

    def fresh(dialect: str) -> str:
        url = ground.empty(dialect)
        pharmdb.migrate(url)
        return url

    for dialect in DIALECTS:
        first, second, baseline = [], [], []
        for _ in range(max(1, ground.rounds - 3)):
            urls = fresh(dialect), fresh(dialect)
            first.append(ours(urls[0], large))
            second.append(ours(urls[0], large))
            baseline.append(raw(urls[1], rows))
            for url in urls:
                ground.drop(url)
        for what, seconds in (("", first), (", run again with nothing missing", second)):
            yield line(
                f"seed, checked and fingerprinted, of {rows:,} progress rows{what}, {dialect}",
                seconds,
                Baseline(f"{driver(dialect)} of the same rows into an empty table", baseline),
                rows=rows,
            )
    for dialect in DIALECTS:
        least, most = (peak_mib(_SEED, fresh(dialect), str(folder))[0] for folder in (small, large))
        yield memory(
            f"peak memory of a whole seed, {dialect}, {rows:,} progress rows",
            most,
            f"the same with {few:,}",
            least,
            most=1.1,
            more=CACHE if dialect == "SQLite" else 0,
        )
