"""The columns of the seed's CSV files, and the parsers that validate their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pharmdb.csv_reading import text
from pharmdb.database import index_limits
from pharmdb.models import ROLES
from pharmdb.seeding import passwords

LARGEST_COUNT = 2**31 - 1
Row = dict[str, Any]


def _email(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value) or value.count("@") != 1 or not all(value.split("@")):
        raise ValueError("not an e-mail address")
    if value != value.lower():
        raise ValueError("not lower case")
    if index_limits.bytes_above([value]):
        raise ValueError(f"longer than {index_limits.MOST_BYTES} characters, which PostgreSQL can't index")
    return value


def _password(value: str) -> str:
    if reason := passwords.unfit(value):
        raise ValueError(reason)
    return text(value)


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
    number = int(digits[:20])  # for thousands of digits int() raises an error of its own
    if value.startswith("-"):
        number = -number
    if number < 0:
        raise ValueError("negative")
    if number > LARGEST_COUNT:
        raise ValueError(f"above {LARGEST_COUNT}")
    return number


USERS, PROGRESS = "users.csv", "progress.csv"
# file -> its columns with their parsers
FILES: dict[str, dict[str, Callable[[str], Any]]] = {
    USERS: {"email": _email, "password": _password, "role": _role, "language": _language},
    PROGRESS: {
        "user_email": _email,
        "module": text,
        "course_block": text,
        "tag": text,
        "correct_count": _count,
        "wrong_count": _count,
    },
}
