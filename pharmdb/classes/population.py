"""Who is in the class, and which of their attempts count."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection, select

from pharmdb import settings
from pharmdb.classes.intervals import Array
from pharmdb.database import targets
from pharmdb.errors import ParameterError
from pharmdb.exporting import pseudonyms
from pharmdb.models import User


@dataclass(frozen=True)
class Terms:
    """The parameters of a report; see reporting.class_report."""

    since: str = ""
    until: str = ""
    module: str = ""
    block: str = ""
    users: str = ""
    min_attempts: int = 20
    time_zone: str = "UTC"

    @cached_property
    def zone(self) -> tzinfo:
        """Raises ParameterError if there is no such time zone."""
        if self.time_zone == "UTC":
            return UTC
        try:
            return ZoneInfo(self.time_zone)
        except (OSError, ValueError, LookupError):
            raise ParameterError(
                expected="time_zone as a name of the time zone database, such as Europe/Prague",
                found=f"time_zone={self.time_zone!r}",
                note="without it, days and hours are those of UTC",
            ) from None

    @cached_property
    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """From when on, and until before when attempts count."""
        since, until = self._day("since"), self._day("until")
        if since and until and until < since:
            raise ParameterError(
                expected="since not after until",
                found=f"since={self.since!r}, until={self.until!r}",
                note="both days are included",
            )
        return (self._midnight(since, 0) if since else None, self._midnight(until, 1) if until else None)

    def _midnight(self, day: date, later: int) -> datetime | None:
        """When a day begins, or a later one; None at the ends of the calendar, where nothing is before or after it."""
        try:
            return datetime.combine(day + timedelta(days=later), time.min, self.zone).astimezone(UTC)
        except OverflowError:
            return None

    def _day(self, name: str) -> date | None:
        value = getattr(self, name)
        try:
            return date.fromisoformat(value) if value else None
        except (TypeError, ValueError):
            raise ParameterError(
                expected=f"{name} as a day, in the form 2026-01-31",
                found=f"{name}={value!r}",
                note="both days are included; empty: from the first attempt, to the newest one",
            ) from None

    def local(self, microseconds: Array) -> Array:
        """Times since 1970 in UTC as the clock shows them in the time zone, also in microseconds."""
        if self.zone is UTC:
            return microseconds
        import pandas as pd

        times = pd.DatetimeIndex(np.asarray(microseconds, dtype=np.int64).view("datetime64[us]")).tz_localize("UTC")
        there = times.tz_convert(self.zone).tz_localize(None)
        found: Array = there.to_numpy().astype("datetime64[us]").view(np.int64)
        return found


@dataclass(frozen=True)
class Population:
    """The class: ids in ascending order. `words` says who they are, without an address."""

    ids: Array
    words: str
    all_users: bool
    _emails: list[str] = field(repr=False, default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def places(self, user_ids: Array) -> Array:
        """The position of each id in the class, or -1."""
        if not len(self.ids):
            return np.full(len(user_ids), -1, dtype=np.int32)
        near = np.minimum(np.searchsorted(self.ids, user_ids), len(self.ids) - 1)
        return np.where(self.ids[near] == user_ids, near, -1).astype(np.int32)

    def place_of(self, email: str) -> int | None:
        """The position of a learner in the class."""
        found = email.strip().lower()
        return self._emails.index(found) if found in self._emails else None

    def names(self, secret: bytes) -> list[str]:
        """How each learner is named: by the same pseudonym as in an export, or by e-mail if there is no secret."""
        if not secret:
            return list(self._emails)
        return [f"learner-{pseudonyms.pseudonym(secret, id_):016x}" for id_ in self.ids.tolist()]


def find(connection: Connection, target: targets.Target, users: str) -> Population:
    """The users with the role USER; or, of all, those in a file of e-mail addresses, or whom a pattern matches."""
    rows = connection.execute(select(User.id, User.email, User.role).order_by(User.id))
    if not users:
        return _population([(id_, email) for id_, email, role in rows if role == "USER"], "all users that are no ADMIN")
    path = settings.home() / Path(users).expanduser()
    pattern = Path(users).name.lower()
    if not path.is_file() and ("@" in pattern or "*" in pattern):
        found = [(id_, email) for id_, email, _ in rows if fnmatchcase(email, pattern)]
        if not found:
            raise _nobody(target, "a pattern that matches an e-mail address, such as *@school.example", "no match")
        return _population(found, "the users whose e-mail address matches the pattern", some=True)
    lines, others = _addresses(target, path)
    wanted = {email for _, email in lines}
    found = [(id_, email) for id_, email, _ in rows if email in wanted]
    known = {email for _, email in found}
    words = f"{len(found)} of {len(wanted)} users in the file"
    words += _numbered("nobody has the address", [line for line, email in lines if email not in known])
    words += _numbered("no address", others)
    if not found:
        raise _nobody(target, "a file with the e-mail addresses of users, one in each line", words)
    return _population(found, words, some=True)


def _population(rows: list[tuple[int, str]], words: str, some: bool = False) -> Population:
    ids = np.array([id_ for id_, _ in rows], dtype=np.int64)
    return Population(ids, words, not some, [email for _, email in rows])


def _addresses(target: targets.Target, path: Path) -> tuple[list[tuple[int, str]], list[int]]:
    """(line, address) of each line of the file, and the lines that have none and are no heading or comment.

    The error repeats nothing of what is in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = "no such file, and no @ or * as in a pattern"
        if not isinstance(error, FileNotFoundError):
            found = error.strerror or str(error) if isinstance(error, OSError) else "a file that is not in UTF-8"
        raise ParameterError(
            expected="users as a text file in UTF-8, an e-mail address in each line, or a pattern: *@school.example",
            found=found,
            command=targets.command(target, "pharmdb class"),
            note="without it, all users that are no ADMIN are the class",
        ) from None
    lines = [(number, line.strip().strip("\"';,").strip().lower()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    # The first one may be a heading.
    return [one for one in lines if "@" in one[1]], [number for number, line in lines[1:] if "@" not in line]


def _numbered(words: str, lines: list[int]) -> str:
    if not lines:
        return ""
    return f"; {words} in line {', '.join(map(str, lines[:20]))}{' …' if len(lines) > 20 else ''}"


def _nobody(target: targets.Target, expected: str, found: str) -> ParameterError:
    return ParameterError(expected=expected, found=found, command=targets.command(target, "pharmdb class"))


def members(connection: Connection, population: Population) -> tuple[str, dict[str, Any]]:
    """An SQL condition for rows of the class's users, and its values."""
    return among(connection, "user_id", "members", population.ids.tolist())


def among(connection: Connection, expression: str, name: str, values: list[Any]) -> tuple[str, dict[str, Any]]:
    """An SQL condition for an expression that is one of many values, as the one parameter `name`."""
    if connection.dialect.name == "sqlite":
        return f"{expression} IN (SELECT value FROM json_each(:{name}))", {name: json.dumps(values)}
    return f"{expression} = ANY(:{name})", {name: values}
