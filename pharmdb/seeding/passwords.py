"""Password hashes: argon2id for new ones; the old system's bcrypt hashes still verify."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from passlib.context import CryptContext

# What passlib takes.
LONGEST = 4096
# The old system's bcryptjs looked at the first 72 bytes and dropped the rest.
_BCRYPT_BYTES = 72


@cache
def _context() -> CryptContext:
    from passlib.context import CryptContext

    # The parameters that the OWASP Password Storage Cheat Sheet gives for argon2id: 19 MiB, 2 passes, 1 lane.
    return CryptContext(
        schemes=["argon2", "bcrypt"],
        deprecated=["bcrypt"],
        argon2__type="ID",
        argon2__memory_cost=19_456,
        argon2__time_cost=2,
        argon2__parallelism=1,
    )


def hash_password(password: str) -> str:
    """A new argon2id hash, with a salt of its own."""
    hashed: str = _context().hash(password)
    return hashed


def verify_password(password: str, password_hash: str) -> bool:
    """Whether the password is the one that was hashed. False for a hash of no known scheme."""
    from argon2.exceptions import Argon2Error

    secret = password.encode()
    if scheme(password_hash) == "bcrypt":
        secret = secret[:_BCRYPT_BYTES]
    try:
        return bool(_context().verify(secret, password_hash))
    except (ValueError, TypeError, Argon2Error):  # what passlib and argon2 raise for a malformed hash
        return False


def scheme(password_hash: str) -> str:
    """ "argon2", "bcrypt" or "unknown"."""
    return _context().identify(password_hash) or "unknown"
