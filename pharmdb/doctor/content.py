"""Checks of the rows that everybody relies on: the seed and its passwords."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from sqlalchemy import Connection, func, select

from pharmdb.database import upserts
from pharmdb.doctor import remedies, results
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding
from pharmdb.errors import SeedError, UnavailableError
from pharmdb.models import MODELS, User
from pharmdb.schema.fingerprints import fingerprint
from pharmdb.seeding import passwords, seeding


def check_seed(context: Context) -> Iterator[Finding]:
    try:
        seed = seeding.read()
    except UnavailableError as error:
        yield Finding("seed", results.FAIL, error.found, error.next)
        return
    except SeedError as error:
        found = f"faulty seed files: {error.found}"
        yield Finding("seed", results.FAIL, " ".join(found.split()), "git checkout -- data/seed")
        return
    if context.environment == "production":
        yield Finding("seed", results.OK, "not for production")
        return
    missing = seeding.missing(context.connection, seed)
    if missing:
        yield Finding("seed", results.WARN, f"missing: {', '.join(missing)}", "pharmdb seed")
    elif _rows(context.connection, most := len(seed.users) * 2 + len(seed.progress)) == most:
        same = fingerprint(context.connection, seed=True) == seeding.KNOWN_GOOD
        found = "present, at its fingerprint" if same else "present, changed since"
        yield Finding("seed", results.OK, found)
    else:
        yield Finding("seed", results.OK, "present, with other rows beside it")


def _rows(connection: Connection, most: int) -> int:
    """How many rows there are in all; of no table more than one above `most` are counted."""
    total = 0
    for model in MODELS:
        few = select(model.__table__.c.id).limit(most + 1).subquery()
        total += connection.scalar(select(func.count()).select_from(few)) or 0
    return total


def check_default_passwords(context: Context) -> Iterator[Finding]:
    seeded: list[str] = []
    # Where the files of the seed are faulty, the check of the seed has told.
    with suppress(SeedError, UnavailableError):
        known = {row["email"]: row["password"] for row in seeding.read().users}
        seeded = list(known)
        yield _known_passwords(context, known)
    weak = select(func.count()).where(User.password_hash.not_like("$argon2id$%"), User.password_hash != "!")
    count = context.connection.scalar(weak)
    if count:
        # Nobody but its user knows the password of another account.
        ours = any(context.connection.scalar(weak.where(User.email.in_(some))) for some in upserts.chunks(seeded))
        found = f"{count} not argon2id; each is renewed when its user logs in"
        yield Finding("password hashes", results.WARN, found, "pharmdb seed" if ours else "")
    else:
        yield Finding("password hashes", results.OK, "all argon2id")


def _known_passwords(context: Context, known: dict[str, str]) -> Finding:
    stored: dict[str, str] = {}
    for some in upserts.chunks(known):
        query = select(User.email, User.password_hash).where(User.email.in_(some))
        stored |= {row.email: row.password_hash for row in context.connection.execute(query)}
    valid = [email for email in sorted(stored) if passwords.verify_password(known[email], stored[email])]
    if not valid:
        return Finding("default passwords", results.OK, "not in use")
    if context.environment != "production":
        return Finding("default passwords", results.OK, "valid, as documented")
    names = ", ".join(f"'{email}'" for email in valid)
    # Written so that no mask takes the ! for a password.
    remedy = remedies.sql_command(
        context.target, f"UPDATE users SET (password_hash) = (SELECT '!') WHERE email IN ({names})"
    )
    return Finding("default passwords", results.FAIL, f"valid in production: {', '.join(valid)}", remedy)
