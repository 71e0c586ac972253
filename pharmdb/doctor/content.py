"""Checks of the content: the seed rows, the default passwords and the password hashes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, func, inspect, select

from pharmdb import progress
from pharmdb.accounts import lookup as accounts
from pharmdb.database import servers, targets, upserts
from pharmdb.doctor import remedies, results, sampling
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding
from pharmdb.errors import SeedError, UnavailableError
from pharmdb.models import MODELS, User
from pharmdb.schema import json_values
from pharmdb.schema.fingerprints import fingerprint
from pharmdb.seeding import passwords, seeding
from pharmdb.types import DOCUMENT


def check_seed(context: Context) -> Iterator[Finding]:
    try:
        seed = seeding.read()
    except UnavailableError as error:
        yield Finding("seed", results.FAIL, error.found, error.command, error.note)
        return
    except SeedError as error:
        found = f"faulty seed files: {error.found}"
        yield Finding("seed", results.FAIL, " ".join(found.split()), "git checkout -- data/seed")
        return
    if context.environment == "production":
        yield Finding("seed", results.OK, "not needed in production")
        return
    missing = seeding.missing(context.connection, seed)
    if missing and _came_from_an_old_database(context.connection):
        # Seeding would set passwords that are in use back to the documented ones.
        yield Finding("seed", results.OK, "not expected: the accounts are those of the old database")
    elif missing:
        yield Finding("seed", results.WARN, f"missing: {', '.join(missing)}", context.command("seed"))
    elif _rows(context.connection, most := len(seed.users) * 2 + len(seed.progress)) == most:
        same = fingerprint(context.connection, seed=True) == seeding.KNOWN_GOOD
        found = "complete, with the known-good fingerprint" if same else "complete, with changed values"
        yield Finding("seed", results.OK, found)
    else:
        yield Finding("seed", results.OK, "complete, with additional rows")


def _came_from_an_old_database(connection: Connection) -> bool:
    if not inspect(connection).has_table("pharmdb_upgrades"):
        return False
    return connection.exec_driver_sql("SELECT 1 FROM pharmdb_upgrades LIMIT 1").first() is not None


def _rows(connection: Connection, most: int) -> int:
    """The number of rows in all tables; counting stops at `most` + 1 in each table."""
    total = 0
    for model in MODELS:
        few = select(model.__table__.c.id).limit(most + 1).subquery()
        total += connection.scalar(select(func.count()).select_from(few)) or 0
    return total


def check_json_shapes(context: Context) -> Iterator[Finding]:
    """Which JSON columns have values as well as JSON strings, which the application writes: a note, not a fault."""
    mixed: list[str] = []
    checked: list[sampling.Rows] = []
    is_string = json_values.IS_STRING[context.connection.dialect.name]
    for model in MODELS:
        table: Any = model.__table__
        columns = [column.name for column in table.columns if column.type is DOCUMENT]
        if not columns:
            continue
        rows = sampling.Rows(table.name) if context.whole else sampling.all_or_some(context.connection, table.name)
        checked.append(rows)
        counts = ", ".join(f"count({x}), count(*) FILTER (WHERE {is_string.format(x=x)})" for x in columns)
        found = list(context.connection.exec_driver_sql(f"SELECT {counts} {rows.source}").one())
        for column, total, strings in zip(columns, found[::2], found[1::2], strict=True):
            if 0 < strings < total:
                mixed.append(f"{table.name}.{column} has {total - strings} plain values and {strings} JSON strings")
    shapes = f"{'; '.join(mixed)}; both are read alike" if mixed else "one in each column"
    yield results.passed(context.target, "JSON shapes", shapes, checked)


def check_default_passwords(context: Context) -> Iterator[Finding]:
    seeded: list[str] = []
    # If the seed files are faulty, the seed check has reported it.
    with suppress(SeedError, UnavailableError):
        known = {row["email"]: row["password"] for row in seeding.read().users}
        seeded = list(known)
        yield _known_passwords(context, known)
    yield _hashes(context, seeded)


def _hashes(context: Context, seeded: list[str]) -> Finding:
    """Whether the application, which has bcrypt only, can verify every hash; "!" bars an account on purpose."""
    bcrypt = func.substr(User.password_hash, 1, 4).in_(passwords.BCRYPT)
    argon2 = User.password_hash.startswith("$argon2", autoescape=True)
    unverified = (~bcrypt, User.password_hash != passwords.BARRED)
    barred = select(func.count()).select_from(User).where(*unverified)
    unknown = barred.where(~argon2)
    count, others = context.connection.scalar(barred) or 0, context.connection.scalar(unknown) or 0
    if not count:
        return Finding("password hashes", results.OK, "all bcrypt")
    kinds = [f"{n} {kind}" for n, kind in ((count - others, "argon2"), (others, "of an unknown form")) if n]
    found = f"{count} account{'s' if count > 1 else ''} can't log in to the application: {', '.join(kinds)}"
    # The seed keeps an argon2 hash that verifies, and knows the passwords of its own users only.
    ours = others and any(context.connection.scalar(unknown.where(User.email.in_(s))) for s in upserts.chunks(seeded))
    if ours:
        return Finding("password hashes", results.WARN, found, context.command("seed"))
    first = context.connection.scalars(select(User.email).where(*unverified).order_by(User.email).limit(1)).one()
    name = servers.server_name(context.connection, context.target) if context.environment == "production" else ""
    remedy = targets.command(context.target, accounts.command(first, "set-password", name))
    listed = targets.command(context.target, "pharmdb account")
    note = f"the first is {first}; to list them: {listed}" if count > 1 else ""
    return Finding("password hashes", results.WARN, found, remedy, note)


def _valid(known: dict[str, str], stored: dict[str, str], *, every: bool) -> list[str]:
    """The accounts whose stored hash is that of the known password; only the first of them, unless `every`."""
    valid: list[str] = []
    # bcrypt and argon2 release the GIL.
    with ThreadPoolExecutor() as pool:
        verified = pool.map(lambda email: passwords.verify_password(known[email], stored[email]), sorted(stored))
        counted = progress.counted(verified, "verify passwords", len(stored), " users")
        for email, is_known in zip(sorted(stored), counted, strict=True):
            valid += [email] if is_known else []
            if valid and not every:
                pool.shutdown(cancel_futures=True)
                break
    return valid


def _known_passwords(context: Context, known: dict[str, str]) -> Finding:
    stored: dict[str, str] = {}
    for some in upserts.chunks(known):
        query = select(User.email, User.password_hash).where(User.email.in_(some))
        stored |= {row.email: row.password_hash for row in context.connection.execute(query)}
    valid = _valid(known, stored, every=context.environment == "production")
    if not valid:
        return Finding("default passwords", results.OK, "not in use")
    if context.environment != "production":
        return Finding("default passwords", results.OK, "valid, as documented")
    names = ", ".join(f"'{email}'" for email in valid)
    # In this form the mask for secrets does not mistake the ! for a password.
    remedy = remedies.sql_command(
        context.target, f"UPDATE users SET (password_hash) = (SELECT '!') WHERE email IN ({names})"
    )
    return Finding("default passwords", results.FAIL, f"valid in production: {', '.join(valid)}", remedy)
