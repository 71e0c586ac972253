"""Checks of the content: the seed rows, the default passwords and the password hashes."""

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
    if missing:
        yield Finding("seed", results.WARN, f"missing: {', '.join(missing)}", context.command("seed"))
    elif _rows(context.connection, most := len(seed.users) * 2 + len(seed.progress)) == most:
        same = fingerprint(context.connection, seed=True) == seeding.KNOWN_GOOD
        found = "complete, with the known-good fingerprint" if same else "complete, with changed values"
        yield Finding("seed", results.OK, found)
    else:
        yield Finding("seed", results.OK, "complete, with additional rows")


def _rows(connection: Connection, most: int) -> int:
    """The number of rows in all tables; counting stops at `most` + 1 in each table."""
    total = 0
    for model in MODELS:
        few = select(model.__table__.c.id).limit(most + 1).subquery()
        total += connection.scalar(select(func.count()).select_from(few)) or 0
    return total


def check_default_passwords(context: Context) -> Iterator[Finding]:
    seeded: list[str] = []
    # If the seed files are faulty, the seed check has reported it.
    with suppress(SeedError, UnavailableError):
        known = {row["email"]: row["password"] for row in seeding.read().users}
        seeded = list(known)
        yield _known_passwords(context, known)
    weak = select(func.count()).where(User.password_hash.not_like("$argon2id$%"), User.password_hash != "!")
    count = context.connection.scalar(weak)
    if count:
        # The seed can renew only the hashes of its own users, whose passwords it knows.
        ours = any(context.connection.scalar(weak.where(User.email.in_(some))) for some in upserts.chunks(seeded))
        found = f"{count} not argon2id; each is replaced when its user logs in"
        yield Finding("password hashes", results.WARN, found, context.command("seed") if ours else "")
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
    # In this form the mask for secrets does not mistake the ! for a password.
    remedy = remedies.sql_command(
        context.target, f"UPDATE users SET (password_hash) = (SELECT '!') WHERE email IN ({names})"
    )
    return Finding("default passwords", results.FAIL, f"valid in production: {', '.join(valid)}", remedy)
