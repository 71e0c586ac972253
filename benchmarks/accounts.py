"""A seed of many accounts, compared with hashing their passwords and nothing else: bcrypt is slow by design."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt

import pharmdb
from benchmarks.ground import DIALECTS, Ground
from benchmarks.timing import Baseline, alternate, line
from pharmdb.seeding import passwords


def password(number: int) -> str:
    return f"Secret-of-mine-{number}"


def write(folder: Path, accounts: int) -> Path:
    """Creates a seed folder with this many accounts."""
    folder.mkdir()
    with (folder / "users.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("email", "password", "role", "language"))
        writer.writerows((f"learner{n}@example.test", password(n), "USER", "en") for n in range(accounts))
    (folder / "progress.csv").write_text("user_email,module,course_block,tag,correct_count,wrong_count\n")
    return folder


def hashing(accounts: int) -> None:
    """Hashes as many passwords on all cores, at the cost that the application has."""

    def one(number: int) -> bytes:
        return bcrypt.hashpw(password(number).encode(), bcrypt.gensalt(passwords.COST))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(accounts)))


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    accounts = max(4, ground.attempts // 2000)
    folder = write(ground.folder / "accounts", accounts)
    for dialect in DIALECTS:
        urls: list[str] = []

        def before(dialect: str = dialect, urls: list[str] = urls) -> None:
            urls[:] = [ground.empty(dialect)]
            pharmdb.migrate(urls[0])

        def seed(urls: list[str] = urls) -> None:
            pharmdb.seed(urls[0], seed_dir=str(folder))

        ours, floor = alternate(max(1, ground.rounds - 3), seed, lambda: hashing(accounts), before=before)
        yield line(
            f"seed of {accounts:,} new accounts, {dialect}",
            ours,
            Baseline("hashing alone, on all cores", floor, most=1.1),
        )
