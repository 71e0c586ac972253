"""A seed of a million progress rows, beside the raw driver's bulk insert of the same rows, and its memory."""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks import ground

ROWS = 1_000_000
USERS = 20
ROUNDS = 3
# MiB that a writer's page cache, and a sort of the same size, may take; a small database does not fill them.
CACHE = 128
_COLUMNS = ("user_id", "module", "course_block", "tag", "correct_count", "wrong_count", "last_attempt_at")
_TIME = "2026-01-02 03:04:05.000006"


def _rows(rows: int) -> Iterator[tuple[Any, ...]]:
    """User's number, module, course_block, tag, counts; learner after learner, as an export has them."""
    each = -(-rows // USERS)
    for n in range(rows):
        yield n // each + 1, "questions", f"block {n % each // 40}", f"tag {n % each}", n % 100, n % 7


def write(folder: Path, rows: int) -> Path:
    """A seed folder with so many progress rows."""
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
    """Seconds of the whole verb: files read and checked, users, rows compared and written, counted, fingerprint."""
    import pharmdb

    begin = time.perf_counter()
    pharmdb.seed(url, seed_dir=str(seed_dir))
    return time.perf_counter() - begin


def raw(url: str, rows: int) -> float:
    """Seconds that the driver takes for the same rows, ready as tuples, with our durability; the users are there."""
    ready = [(*row, _TIME) for row in _rows(rows)]
    names = ", ".join(_COLUMNS)
    users = [(n, f"learner{n}@example.test", "!") for n in range(1, USERS + 1)]
    if url.startswith("sqlite"):
        with closing(ground.sqlite(url)) as connection:
            connection.executemany("INSERT INTO users (id, email, password_hash) VALUES (?, ?, ?)", users)
            begin = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT INTO progress_by_tag ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", ready)
            connection.execute("COMMIT")
            return time.perf_counter() - begin
    with ground.postgresql(url, autocommit=False) as postgresql:
        with postgresql.cursor() as cursor:
            cursor.executemany("INSERT INTO users (id, email, password_hash) VALUES (%s, %s, %s)", users)
        postgresql.commit()
        begin = time.perf_counter()
        with postgresql.cursor() as cursor, cursor.copy(f"COPY progress_by_tag ({names}) FROM STDIN") as copy:
            for row in ready:
                copy.write_row(row)
        postgresql.commit()
        return time.perf_counter() - begin


def peak_mib(url: str, seed_dir: Path) -> float:
    """Of a process that does the whole seed, without argon2's 64 MiB for each thread, behind which rows could hide."""
    # A process's ru_maxrss begins with that of the one that started it; VmHWM is its own.
    work = f"pharmdb.seed({url!r}, seed_dir={str(seed_dir)!r})"
    without = "from pharmdb import passwords; passwords.hash_password = lambda password: '!'"
    code = f"import pharmdb; {without}; {work}; print(open('/proc/self/status').read())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    (peak,) = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("VmHWM")]
    return int(peak) / 1024


def main(folder: Path, create: Callable[[str], str], rows: int = ROWS, rounds: int = ROUNDS) -> list[str]:
    """The lines of the table; `create` makes a PostgreSQL database of a name and gives its URL."""
    import pharmdb

    large, small = write(folder / "large", rows), write(folder / "small", rows // 100)
    lines: list[str] = []
    peaks: list[tuple[str, float, float]] = []
    for dialect, make in (("SQLite", lambda name: f"sqlite:///{folder}/{name}.db"), ("PostgreSQL", create)):

        def fresh(name: str, make: Callable[[str], str] = make) -> str:
            url = make(name)
            pharmdb.migrate(url)
            return url

        first, second, peer = [], [], []
        for number in range(rounds):
            url = fresh(f"seed_{number}")
            first.append(ours(url, large))
            second.append(ours(url, large))
            peer.append(raw(fresh(f"seed_raw_{number}"), rows))
            for name in (f"seed_{number}", f"seed_raw_{number}"):
                for end in ("", "-wal", "-shm"):
                    (folder / f"{name}.db{end}").unlink(missing_ok=True)
        theirs = rows / statistics.median(peer)
        for what, found in (("", first), (", again: all there", second)):
            own = rows / statistics.median(found)
            lines.append(
                f"| seed of {rows:,} progress rows{what}, {dialect} | {own:,.0f} rows/s, checked and fingerprinted "
                f"| raw {'executemany' if dialect == 'SQLite' else 'COPY'} of the same rows into an empty table "
                f"| {theirs:,.0f} rows/s | {own / theirs:.2f} | | |"
            )
        least, most = (peak_mib(fresh(f"seed_peak_{source.name}"), source) for source in (small, large))
        peaks.append((dialect, least, most))
    for dialect, least, most in peaks:
        cache = CACHE if dialect == "SQLite" else 0
        met = "met" if most <= 1.1 * least + cache else "**not met**"
        lines.append(
            f"| peak memory of a whole seed, {dialect} | {most:.0f} MiB with {rows:,} progress rows "
            f"| the same with {rows // 100:,} | {least:.0f} MiB | {most / least:.2f} "
            f"| ≤ 1.1{f', and {cache} MiB that SQLite may cache' if cache else ''} | {met} |"
        )
    return lines
