"""data/seed/*.csv -> validated rows -> one upsert per table -> report. Learners' work is never overwritten."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Table, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from pharmdb import database, passwords, reports, revisions
from pharmdb.errors import ProtectedError, RevisionError, SeedError
from pharmdb.fingerprints import fingerprint
from pharmdb.models import ROLES, Base, ProgressByTag, User, UserSettings

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SEED_DIRECTORY = database.ROOT / "data" / "seed"
# The guide's accounts; their passwords are known to everybody.
DEFAULT_ACCOUNTS = {"demo@pharmtrainer.test", "admin@pharmtrainer.test"}
DEFAULT_PASSWORDS = {"Password123!", "AdminPassword123!"}
# The seed fingerprint of a database that holds data/seed and nothing else.
KNOWN_GOOD = "64e201d4a7bd7a958552328d08d4dd9a6dc089157d9b793574ff59e46ae38f21"
LARGEST_COUNT = 2**31 - 1

Problem = tuple[str, int, str, str, str]
Row = dict[str, Any]


class Seed(NamedTuple):
    """Validated seed rows, as the files hold them."""

    directory: Path
    users: list[Row]
    progress: list[Row]


class Password(NamedTuple):
    """What is to become of one user's hash: the one that was looked at, the one to store, and why."""

    seen: str | None
    stored: str
    detail: str


# -- the files --------------------------------------------------------------------------------------


def _email(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value) or value.count("@") != 1 or not all(value.split("@")):
        raise ValueError("not an e-mail address")
    if value != value.lower():
        raise ValueError("an e-mail address is lower case")
    return value


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("empty")
    if value != value.strip():
        raise ValueError("white space around it")
    return value


def _password(value: str) -> str:
    if len(value.encode()) > passwords.LONGEST:
        raise ValueError(f"longer than {passwords.LONGEST} bytes")
    return _text(value)


def _role(value: str) -> str:
    if value not in ROLES:
        raise ValueError(f"not a role: {' or '.join(ROLES)}")
    return value


def _language(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,5}", value):
        raise ValueError("not two to five letters")
    return value


def _count(value: str) -> int:
    if not re.fullmatch(r"-?[0-9]+", value):
        raise ValueError("not a whole number")
    digits = value.lstrip("-").lstrip("0") or "0"
    number = int(digits[:20])  # int() refuses thousands of digits in words of its own
    if value.startswith("-"):
        number = -number
    if number < 0:
        raise ValueError("negative")
    if number > LARGEST_COUNT:
        raise ValueError(f"above {LARGEST_COUNT}")
    return number


# file -> (its columns with their parsers, the columns that are its key)
FILES: dict[str, tuple[dict[str, Callable[[str], Any]], tuple[str, ...]]] = {
    "users.csv": ({"email": _email, "password": _password, "role": _role, "language": _language}, ("email",)),
    "progress.csv": (
        {
            "user_email": _email,
            "module": _text,
            "course_block": _text,
            "tag": _text,
            "correct_count": _count,
            "wrong_count": _count,
        },
        ("user_email", "module", "course_block", "tag"),
    ),
}


def read(seed_dir: str | Path = "") -> Seed:
    """The rows of users.csv and progress.csv in `seed_dir` (default data/seed; relative to the project's root).

    Raises SeedError with every fault by file, line, column, value and reason.
    """
    directory = database.ROOT / (seed_dir or SEED_DIRECTORY)
    problems: list[Problem] = []
    for path in sorted(directory.glob("*.csv")):
        if path.name not in FILES:
            problems.append((path.name, 0, "", path.name, f"not a seed file: {', '.join(FILES)}"))
    rows = {name: _read_file(directory / name, problems) for name in FILES}
    users, progress = rows["users.csv"], rows["progress.csv"]
    emails = {row["email"] for row in users or () if "email" in row}
    for row in progress or ():
        # Of users that could not be read, nothing is known.
        if users is not None and "user_email" in row and row["user_email"] not in emails:
            problems.append(("progress.csv", row["line"], "user_email", row["user_email"], "no such user in users.csv"))
    if problems or users is None or progress is None:
        raise SeedError(sorted(problems, key=lambda p: (p[0], p[1])), directory=str(directory))
    return Seed(directory, users, progress)


def _read_file(path: Path, problems: list[Problem]) -> list[Row] | None:
    """The parsed rows, each with the line where it starts; a value with a fault is left out of its row.

    None if the file could not be read to its end.
    """
    columns, key = FILES[path.name]
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
        problems.append((path.name, 0, "", str(path), reason))
        return None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problems.append((path.name, line, "", repr(error.object[error.start : error.end]), "not UTF-8"))
        return None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    seen: dict[tuple[Any, ...], int] = {}
    try:
        header = next(reader, None)
        if header is None:
            problems.append((path.name, 1, "", "", "the file is empty"))
            return None
        if not set(header) & set(columns):
            # Perhaps a row, with a password in it: not shown.
            problems.append((path.name, 1, "", "", f"no header line: {','.join(columns)}"))
            return None
        faults = [(c, "unknown column") for c in header if c not in columns]
        faults += [(c, "missing column") for c in columns if c not in header]
        faults += [(c, "column given twice") for c in dict.fromkeys(header) if header.count(c) > 1]
        if faults:
            problems += [(path.name, 1, column, column, reason) for column, reason in faults]
            return None
        end = reader.line_num
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not cells:
                continue
            if len(cells) != len(header):
                # Which of them is the password can't be known.
                shown = "***" if "password" in columns else ",".join(cells)
                problems.append((path.name, line, "", shown, f"{len(cells)} values for {len(header)} columns"))
                continue
            row = _parse(path.name, line, dict(zip(header, cells, strict=True)), columns, problems)
            rows.append(row)
            if all(column in row for column in key):
                first = seen.setdefault(tuple(row[column] for column in key), line)
                if first != line:
                    value = ", ".join(row[column] for column in key)
                    problems.append((path.name, line, key[-1], value, f"the key of line {first} again"))
    except csv.Error as error:
        problems.append((path.name, reader.line_num, "", "", f"not CSV: {error}"))
        return None
    return rows


def _parse(
    file: str, line: int, cells: Row, columns: Mapping[str, Callable[[str], Any]], problems: list[Problem]
) -> Row:
    row: Row = {"line": line}
    for column, parse in columns.items():
        try:
            if "\0" in cells[column]:
                raise ValueError("holds a NUL character")
            row[column] = parse(cells[column])
        except ValueError as error:
            shown = "***" if column == "password" else cells[column]
            problems.append((file, line, column, shown, str(error)))
    return row


# -- passwords --------------------------------------------------------------------------------------


def hash_passwords(seed: Seed, stored: Mapping[str, str]) -> dict[str, Password]:
    """What to store for each user, given the hashes that are stored now. Slow on purpose: call it outside a lock.

    A hash that verifies is left alone; one of an old scheme is renewed; one that doesn't verify is set back.
    """

    def decide(row: Row) -> tuple[str, Password]:
        email, password = row["email"], row["password"]
        seen = stored.get(email)
        if seen is None:
            return email, Password(None, passwords.hash_password(password), "")
        if not passwords.verify_password(password, seen):
            return email, Password(seen, passwords.hash_password(password), "password set back to the documented one")
        old = passwords.scheme(seen)
        if old != "argon2":
            return email, Password(seen, passwords.hash_password(password), f"{old} hash renewed as argon2id")
        return email, Password(seen, seen, "")

    # argon2 and bcrypt release the interpreter's lock.
    with ThreadPoolExecutor() as pool:
        return dict(pool.map(decide, seed.users))


def _stored_hashes(connection: Connection, seed: Seed) -> dict[str, str]:
    rows = connection.execute(
        select(User.email, User.password_hash).where(User.email.in_([row["email"] for row in seed.users]))
    )
    return {row.email: row.password_hash for row in rows}


# -- the database -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SeedReport:
    """What a seed did.

    `tables`: table, created, updated, unchanged (int64). `operations`: table, key, action, detail (str), one row for
    each seed row. `fingerprint`: the seed fingerprint, 64 hex digits. `outcome`: one row.
    """

    target: str
    counts: tuple[tuple[str, int, int, int], ...]
    log: tuple[tuple[str, str, str, str], ...] = field(repr=False)
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
            next=database.command(self.target, "pharmdb inspect"),
        )


def seed(database_url: str = "", *, seed_dir: str = "") -> SeedReport:
    """Creates what is missing of the seed and renews last_attempt_at of its progress rows; changes nothing else.

    Raises SeedError for faulty files, ProtectedError for the default accounts in production, RevisionError where
    the schema isn't at head, UnavailableError, LockedError.
    """
    target = database.target(database_url)
    rows = read(seed_dir)
    with database.reading(target) as connection:
        revisions.require_head(connection, target)
        refuse_known_passwords(connection, rows)
        stored = _stored_hashes(connection, rows)
    hashes = hash_passwords(rows, stored)
    with database.writing(target) as connection:
        if not target.is_sqlite:
            database.take_advisory_lock(connection)
        revisions.require_head(connection, target)
        refuse_known_passwords(connection, rows)
        return apply(connection, target, rows, hashes)


def missing(connection: Connection, rows: Seed) -> list[str]:
    """The seed rows that the database lacks, as "users demo@…", for a person to read."""
    emails = [row["email"] for row in rows.users]
    ids = {row.email: row.id for row in connection.execute(select(User.id, User.email).where(User.email.in_(emails)))}
    settings = set(connection.scalars(select(UserSettings.user_id).where(UserSettings.user_id.in_(ids.values()))))
    progress = set(
        connection.execute(
            select(ProgressByTag.user_id, ProgressByTag.module, ProgressByTag.course_block, ProgressByTag.tag).where(
                ProgressByTag.user_id.in_(ids.values())
            )
        )
    )
    found = [f"users {email}" for email in emails if email not in ids]
    found += [f"user_settings {email}" for email in emails if email in ids and ids[email] not in settings]
    for row in rows.progress:
        names = (row["module"], row["course_block"], row["tag"])
        if (ids.get(row["user_email"]), *names) not in progress:
            found.append(f"progress_by_tag {row['user_email']} {'/'.join(names)}")
    return found


def refuse_known_passwords(connection: Connection, rows: Seed) -> None:
    """Raises ProtectedError where the default accounts or their well-known passwords would reach production."""
    if database.environment(connection) != "production":
        return
    refused = [r["email"] for r in rows.users if r["email"] in DEFAULT_ACCOUNTS or r["password"] in DEFAULT_PASSWORDS]
    if rows.directory.resolve() == SEED_DIRECTORY.resolve():
        # Whatever stands there now: its passwords are in the repository for everybody to read.
        refused = [row["email"] for row in rows.users]
    if refused:
        raise ProtectedError(
            expected="no default account and no documented password in production",
            found=", ".join(refused),
            next="pharmdb seed --seed-dir=… with accounts of your own",
        )


def apply(
    connection: Connection, target: database.Target, rows: Seed, hashes: Mapping[str, Password], mark: bool = True
) -> SeedReport:
    """Upserts the rows inside the caller's transaction; looks again at a hash that changed since `hashes` was made.

    Without `mark` the report has no fingerprint, which takes a look at every row of the database.
    """
    stored = _stored_hashes(connection, rows)
    if any(stored.get(email) != password.seen for email, password in hashes.items()):
        hashes = hash_passwords(rows, stored)
    now = datetime.now(UTC)
    counts: list[tuple[str, int, int, int]] = []
    operations: list[tuple[str, str, str, str]] = []

    def upsert(
        model: type[Base],
        values: list[Row],
        key: tuple[str, ...],
        update: tuple[str, ...],
        keys: list[str],
        details: Iterable[str] | None = None,
    ) -> None:
        try:
            existing, written = _upsert(connection, model.__table__, values, key, update)  # type: ignore[arg-type]
        except IntegrityError as error:
            # The rows were checked; so it is a rule that is not ours.
            raise RevisionError(
                expected=f"{model.__tablename__} with the rules of revision {revisions.head()}",
                found=str(error.orig).splitlines()[0],
                unchanged="everything was rolled back",
                next=database.command(target, "pharmdb doctor"),
            ) from error
        actions = []
        for value, name, detail in zip(values, keys, details or [""] * len(values), strict=True):
            id_ = tuple(value[column] for column in key)
            action = "unchanged" if id_ not in written else "updated" if id_ in existing else "created"
            actions.append(action)
            operations.append((model.__tablename__, name, action, detail))
            log.info("%s: %s %s %s", model.__tablename__, action, name, detail)
        counts.append((model.__tablename__, *(actions.count(a) for a in ("created", "updated", "unchanged"))))

    emails = [row["email"] for row in rows.users]
    upsert(
        User,
        [{"email": r["email"], "password_hash": hashes[r["email"]].stored, "role": r["role"]} for r in rows.users],
        ("email",),
        ("password_hash",),
        emails,
        [hashes[email].detail for email in emails],
    )
    ids = {e: i for i, e in connection.execute(select(User.id, User.email).where(User.email.in_(emails)))}
    upsert(
        UserSettings,
        [{"user_id": ids[row["email"]], "language": row["language"]} for row in rows.users],
        ("user_id",),
        (),
        emails,
    )
    names = ("module", "course_block", "tag")
    upsert(
        ProgressByTag,
        [
            {"user_id": ids[row["user_email"]], "last_attempt_at": now}
            | {column: row[column] for column in (*names, "correct_count", "wrong_count")}
            for row in rows.progress
        ],
        ("user_id", *names),
        ("last_attempt_at",),
        [f"{row['user_email']} {'/'.join(row[name] for name in names)}" for row in rows.progress],
    )
    return SeedReport(str(target), tuple(counts), tuple(operations), fingerprint(connection, seed=True) if mark else "")


def _upsert(
    connection: Connection, table: Table, values: list[Row], key: tuple[str, ...], update: tuple[str, ...]
) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """Writes the rows whose `update` columns differ, and gives the keys that were there and those that were written."""
    if not values:
        return set(), set()
    columns = [table.c[column] for column in key]
    firsts = {value[key[0]] for value in values}
    existing = {tuple(row) for row in connection.execute(select(*columns).where(columns[0].in_(firsts)))}
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(table)
    if update:
        insert = insert.on_conflict_do_update(
            index_elements=columns,
            set_={column: insert.excluded[column] for column in update},
            # An equal row is not written: no new row version, no index work, and RETURNING leaves it out.
            where=or_(*(table.c[column].is_distinct_from(insert.excluded[column]) for column in update)),
        )
    else:
        insert = insert.on_conflict_do_nothing(index_elements=columns)
    written = {tuple(row) for row in connection.execute(insert.returning(*columns), values)}
    return existing, written
