"""The seed command: upserts the checked rows of data/seed/*.csv. Learners' work is never overwritten."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from sqlalchemy import Connection, Table, select
from sqlalchemy.exc import IntegrityError, NotSupportedError

from pharmdb import progress, reports, settings
from pharmdb.database import environments, locks, storable, targets, transactions, upserts
from pharmdb.errors import ProtectedError, RevisionError
from pharmdb.models import ProgressByTag, User, UserSettings
from pharmdb.schema import revisions
from pharmdb.schema.fingerprints import fingerprint
from pharmdb.seeding import csv_files, csv_values, passwords, progress_rows

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SEED_DIRECTORY = settings.data("seed")
# The documented default accounts; their passwords are public.
DEFAULT_ACCOUNTS = {"demo@pharmtrainer.test", "admin@pharmtrainer.test"}
DEFAULT_PASSWORDS = {"Password123!", "AdminPassword123!"}
# The seed fingerprint of a database that contains data/seed and nothing else.
KNOWN_GOOD = "de90afbc368eb4052091f425d42f7633af83fd68695fd83b369e18079dc0ef1b"
# At most this many missing rows are listed.
NAMED = 20


# table, key, action, detail
Operation = tuple[str, str, str, str]
_USERS, _SETTINGS, _PROGRESS = (cast(Table, model.__table__) for model in (User, UserSettings, ProgressByTag))
_PROGRESS_KEY = ("user_id", "module", "course_block", "tag")


class Seed(NamedTuple):
    """The checked rows of the seed files."""

    directory: Path
    users: list[csv_values.Row]
    progress: progress_rows.Progress


class Password(NamedTuple):
    """The decision about one user's hash: the hash that was read, the one to store, and why."""

    seen: str | None
    stored: str
    detail: str


def read(seed_dir: str | Path = "") -> Seed:
    """The rows of users.csv and progress.csv in `seed_dir` (default data/seed; relative to settings.home()).

    Raises SeedError with the faults by file, line, column, value and reason: the first 1,000 of each file and the
    number of further ones. Raises UnavailableError if the disk of the temporary folder is full.
    """
    directory = settings.home() / Path(seed_dir).expanduser() if seed_dir else SEED_DIRECTORY
    return Seed(directory, *csv_files.read(directory))


# -- passwords --------------------------------------------------------------------------------------


def hash_passwords(seed: Seed, stored: Mapping[str, str]) -> dict[str, Password]:
    """The hash to store for each user, given the stored hashes. Deliberately slow: call it before taking a lock.

    A hash that verifies is kept, whatever its scheme; one that doesn't verify is reset.
    """

    def decide(row: csv_values.Row) -> tuple[str, Password]:
        email, password = row["email"], row["password"]
        seen = stored.get(email)
        if seen is None:
            return email, Password(None, passwords.hash_password(password), "")
        if not passwords.verify_password(password, seen):
            return email, Password(seen, passwords.hash_password(password), "password reset to the documented one")
        return email, Password(seen, seen, "")

    # bcrypt and argon2 release the GIL.
    with ThreadPoolExecutor() as pool:
        try:
            decided = pool.map(decide, seed.users)
            return dict(progress.counted(decided, "hash passwords", len(seed.users), " users"))
        finally:
            # After an interruption nobody waits for thousands of hashes.
            pool.shutdown(cancel_futures=True)


def _stored_hashes(connection: Connection, seed: Seed) -> dict[str, str]:
    return dict(_of_users(connection, seed, User.email, User.password_hash))


def _of_users(connection: Connection, seed: Seed, *columns: Any) -> Iterator[Any]:
    """These columns of the seed's users that exist in the database."""
    for emails in upserts.chunks(row["email"] for row in seed.users):
        yield from connection.execute(select(*columns).where(User.email.in_(emails)))


# -- the database -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SeedReport:
    """What a seed did.

    `tables`: table, created, updated, unchanged (int64). `operations`: table, key, action, detail (str), one row for
    each seed row; for a table with more than 1,000 of them the first 1,000 (created, then updated, then unchanged) and
    for each action with further rows one row with the key "and … more". `fingerprint`: the seed fingerprint, 64 hex
    digits. `outcome`: one row.
    """

    target: str
    counts: tuple[tuple[str, int, int, int], ...]
    log: tuple[Operation, ...] = field(repr=False)
    fingerprint: str

    @property
    def tables(self) -> pd.DataFrame:
        columns = {"table": "str", "created": "int64", "updated": "int64", "unchanged": "int64"}
        return reports.table(list(self.counts), columns)

    @property
    def operations(self) -> pd.DataFrame:
        return reports.table(list(self.log), {"table": "str", "key": "str", "action": "str", "detail": "str"})

    @property
    def changed(self) -> str:
        return f"{sum(c[1] for c in self.counts)} rows created, {sum(c[2] for c in self.counts)} updated"

    @property
    def outcome(self) -> pd.DataFrame:
        return reports.outcome(
            ok=True,
            changed=self.changed,
            fingerprint=self.fingerprint,
            next=targets.command(self.target, "pharmdb doctor"),
        )


def seed(database_url: str = "", *, seed_dir: str = "") -> SeedReport:
    """Creates the missing seed rows and renews password hashes and last_attempt_at; changes nothing else.

    A user's hash is written only if the documented password doesn't match it. Raises SeedError for faulty files,
    ProtectedError for the default accounts in production, RevisionError if the schema isn't at head,
    UnavailableError, LockedError.
    """
    target = targets.target(database_url)
    rows = read(seed_dir)
    with transactions.reading(target) as connection:
        revisions.require_head(connection, target)
        refuse_known_passwords(connection, rows)
        stored = _stored_hashes(connection, rows)
    hashes = hash_passwords(rows, stored)
    with transactions.writing(target) as connection:
        locks.take_advisory_lock(connection)
        revisions.require_head(connection, target)
        refuse_known_passwords(connection, rows)
        environments.ensure_id(connection)
        return apply(connection, target, rows, hashes)


def missing(connection: Connection, rows: Seed) -> list[str]:
    """The seed rows missing in the database, as readable text: "users demo@…".

    Lists at most NAMED of them; a last entry then says how many more there are.
    """
    ids = dict(_of_users(connection, rows, User.email, User.id))
    found = [f"users {row['email']}" for row in rows.users if row["email"] not in ids]
    settings: set[int] = set()
    for some in upserts.chunks(ids.values()):
        settings |= set(connection.scalars(select(UserSettings.user_id).where(UserSettings.user_id.in_(some))))
    found += [f"user_settings {email}" for email, id_ in ids.items() if id_ not in settings]
    total = len(found)
    for chunk in upserts.chunks(rows.progress):
        # A missing user's id is NULL, which no row has; any number may be somebody's id.
        keys = [(ids.get(row[0]), *row[1:4]) for row in chunk]
        there = upserts.existing(connection, _PROGRESS, _PROGRESS_KEY, keys)
        for row, key in zip(chunk, keys, strict=True):
            if key not in there:
                total += 1
                if total <= NAMED:
                    found.append(f"progress_by_tag {row[0]} {'/'.join(row[1:4])}")
    return found if total <= NAMED else [*found[:NAMED], f"and {total - NAMED} more"]


def refuse_known_passwords(connection: Connection, rows: Seed) -> None:
    """Raises ProtectedError if the default accounts or their public passwords would be written to production."""
    if environments.environment(connection) != "production":
        return
    refused = [r["email"] for r in rows.users if r["email"] in DEFAULT_ACCOUNTS or r["password"] in DEFAULT_PASSWORDS]
    if rows.directory.resolve() == SEED_DIRECTORY.resolve():
        # Even if the files were edited: their passwords are in the repository.
        refused = [row["email"] for row in rows.users]
    if refused:
        raise ProtectedError(
            expected="no default account and no documented password in production",
            found=", ".join(refused),
            note="seed accounts of your own from another folder, with --seed-dir",
        )


def apply(
    connection: Connection,
    target: targets.Target,
    rows: Seed,
    hashes: Mapping[str, Password],
    *,
    only_missing: bool = False,
    mark: bool = True,
) -> SeedReport:
    """Upserts the rows inside the caller's transaction; decides again if a hash has changed since `hashes` was made.

    With `only_missing`, existing rows are not changed at all. Without `mark` the report has no fingerprint, which
    would read every row of the database.
    """
    limits = storable.limits(connection)
    if limits.text:
        # Read again, for the lines of what this database can't store.
        csv_files.read(rows.directory, limits)
    stored = {} if only_missing else _stored_hashes(connection, rows)
    if changed := {e for e, password in hashes.items() if not only_missing and stored.get(e) != password.seen}:
        again = rows._replace(users=[row for row in rows.users if row["email"] in changed])
        hashes = {**hashes, **hash_passwords(again, stored)}
    now = datetime.now(UTC)
    counts: list[tuple[str, int, int, int]] = []
    operations: list[Operation] = []

    def upsert(
        table: Table,
        columns: tuple[str, ...],
        values: Iterable[tuple[Any, ...]],
        describe: Callable[[upserts.Key], tuple[str, str]],
        **options: Any,
    ) -> None:
        try:
            rows = progress.counted(values, f"write {table.name}")
            done = upserts.upsert(connection, table, columns, rows, **options)
        except (IntegrityError, NotSupportedError) as error:
            # The rows were checked, so the violated constraint is not one of ours, and neither is a rule of PostgreSQL.
            raise RevisionError(
                expected=f"{table.name} with the constraints of revision {revisions.head()}",
                found=f"{table.name}: {str(error.orig).splitlines()[0]}",
                unchanged="everything was rolled back",
                command=targets.command(target, "pharmdb doctor"),
            ) from error
        counts.append((table.name, *done.counts))
        operations.extend(_operations(table.name, done, describe))

    users = [(row["email"], hashes[row["email"]].stored, row["role"]) for row in rows.users]
    upsert(
        _USERS,
        ("email", "password_hash", "role"),
        users,
        lambda key: (key[0], hashes[key[0]].detail),
        key=("email",),
        update=() if only_missing else ("password_hash",),
    )
    ids = dict(_of_users(connection, rows, User.email, User.id))
    emails = {id_: email for email, id_ in ids.items()}
    settings = [(ids[row["email"]], row["language"]) for row in rows.users]
    upsert(_SETTINGS, ("user_id", "language"), settings, lambda key: (emails[key[0]], ""), key=("user_id",))
    upsert(
        _PROGRESS,
        (*_PROGRESS_KEY, "correct_count", "wrong_count"),
        ((ids[email], *values) for email, *values in rows.progress),
        lambda key: (f"{emails[key[0]]} {'/'.join(key[1:])}", ""),
        key=_PROGRESS_KEY,
        same={"last_attempt_at": now},
        update=() if only_missing else ("last_attempt_at",),
    )
    for table, name, action, detail in operations:
        log.info("%s: %s %s %s", table, action, name, detail)
    return SeedReport(str(target), tuple(counts), tuple(operations), fingerprint(connection, seed=True) if mark else "")


def _operations(
    table: str, done: upserts.Upserted, describe: Callable[[upserts.Key], tuple[str, str]]
) -> Iterator[Operation]:
    """One operation for each reported row; then, for each action, the number of further rows."""
    more = Counter(dict(zip(upserts.ACTIONS, done.counts, strict=True)))
    for key, action in done.shown:
        name, detail = describe(key)
        yield table, name, action, detail
        more[action] -= 1
    for action, rows in more.items():
        if rows > 0:
            yield table, f"and {rows:,} more", action, ""
