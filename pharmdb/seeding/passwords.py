"""Password hashes: bcrypt, which the application verifies, for new ones; argon2 hashes still verify."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import bcrypt

if TYPE_CHECKING:
    from passlib.context import CryptContext

# The most bytes of a password, in UTF-8, that bcrypt reads.
LONGEST = 72
# The fewest characters of a password that somebody chooses.
SHORTEST = 8
# What the hashes begin with that the application can verify.
BCRYPT = ("$2a$", "$2b$", "$2y$")
# In place of a hash: nobody can log in to the account.
BARRED = "!"
# As the application hashes: bcryptjs with a cost of 10.
COST = 10


@cache
def _others() -> CryptContext:
    """The other schemes. Passlib itself tests bcrypt with a dozen hashes before the first one."""
    from passlib.context import CryptContext

    return CryptContext(schemes=["argon2"])


def unfit(password: str) -> str:
    """Why the password can't be hashed: "longer than 72 bytes", …; "" if it can."""
    try:
        encoded = password.encode()
    except UnicodeEncodeError:
        return "not valid Unicode"
    if len(encoded) > LONGEST:
        return f"longer than {LONGEST} bytes"
    return "contains a NUL character" if b"\0" in encoded else ""


def hash_password(password: str) -> str:
    """A new bcrypt hash with a random salt. Raises ValueError if the password is unfit; nothing is truncated."""
    if reason := unfit(password):
        raise ValueError(f"the password is unfit: {reason}")
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)).decode()


def verify_password(password: str, password_hash: str) -> bool:
    """Whether the password matches the hash. False for a hash of an unknown scheme."""
    try:
        if scheme(password_hash) == "bcrypt":
            # The application hashes the first 72 bytes of a longer password.
            return bcrypt.checkpw(password.encode()[:LONGEST], password_hash.encode())
        return _verify_other(password, password_hash)
    except (ValueError, TypeError):  # raised for a malformed hash
        return False


def _verify_other(password: str, password_hash: str) -> bool:
    from argon2.exceptions import Argon2Error

    try:
        return bool(_others().verify(password.encode(), password_hash))
    except Argon2Error:
        return False


def scheme(password_hash: str) -> str:
    """ "argon2", "bcrypt" or "unknown"."""
    return "bcrypt" if password_hash.startswith(BCRYPT) else _others().identify(password_hash) or "unknown"


def kind(password_hash: str) -> str:
    """What the application makes of a hash: it verifies "bcrypt", and nothing with "argon2", "barred" or "unknown"."""
    if password_hash.startswith(BCRYPT):
        return "bcrypt"
    if password_hash == BARRED:
        return "barred"
    return "argon2" if password_hash.startswith("$argon2") else "unknown"
