"""Password hashes: argon2id for new ones; bcrypt hashes of the old system still verify."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from passlib.context import CryptContext

# The longest password that passlib accepts.
LONGEST = 4096
# The old system's bcryptjs hashed only the first 72 bytes.
_BCRYPT_BYTES = 72


@cache
def _context() -> CryptContext:
    from passlib.context import CryptContext

    # The parameters for argon2id in the OWASP Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
    return CryptContext(
        schemes=["argon2", "bcrypt"],
        deprecated=["bcrypt"],
        argon2__type="ID",
        argon2__memory_cost=19_456,
        argon2__time_cost=2,
        argon2__parallelism=1,
    )


def hash_password(password: str) -> str:
    """A new argon2id hash with a random salt."""
    hashed: str = _context().hash(password)
    return hashed


def verify_password(password: str, password_hash: str) -> bool:
    """Whether the password matches the hash. False for a hash of an unknown scheme."""
    from argon2.exceptions import Argon2Error

    secret = password.encode()
    if scheme(password_hash) == "bcrypt":
        secret = secret[:_BCRYPT_BYTES]
    try:
        return bool(_context().verify(secret, password_hash))
    except (ValueError, TypeError, Argon2Error):  # raised by passlib and argon2 for a malformed hash
        return False


def scheme(password_hash: str) -> str:
    """ "argon2", "bcrypt" or "unknown"."""
    return _context().identify(password_hash) or "unknown"
