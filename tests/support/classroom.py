"""A small class with everything that is awkward, and the same numbers computed naively, row by row."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import insert

import pharmdb
from pharmdb.models import Attempt, ProgressByTag, SpacedRepetitionItem, User

# The clocks of Prague go back in this time.
BEGIN = datetime(2025, 10, 1, tzinfo=UTC)
ITEMS = [("question", "q1"), ("case", "q1"), ("question", "unknown"), ("calc", "c9")]
SCORES = (0.0, 30.0, 49.9, 50.0, 72.5, 100.0)
CHOICES = ("a", "b", "c", "=1+1")


@dataclass(frozen=True)
class Row:
    """An attempt. `id` is its place in the order of insertion."""

    id: int
    user: int
    kind: str
    item: str
    choice: str
    score: float
    at: datetime

    @property
    def right(self) -> bool:
        return self.score >= 50


def email(number: int) -> str:
    return f"pupil{number}@school.example"


def rows(count: int = 600, users: int = 8, seed: int = 1) -> list[Row]:
    """In no order of time, with ties, with pauses of exactly half an hour, and with times at the edges of days."""
    draw = random.Random(seed)
    found = []
    for id_ in range(count):
        day, second = draw.randrange(60), draw.choice([0, 1800, 3600, 86_399, draw.randrange(86_400)])
        at = BEGIN + timedelta(days=day, seconds=second, milliseconds=draw.choice([0, 0, 1, 999]))
        user = draw.randrange(users)
        kind, item = draw.choices(ITEMS, (6, 3, 1, 1))[0]
        score = draw.choice(SCORES[:3] if draw.random() * users > user + 1 else SCORES[3:])
        found.append(Row(id_, user, kind, item, draw.choice(CHOICES), score, at))
    return found


def fill(url: str, attempts: list[Row], users: int = 8, *, role: str = "USER") -> dict[int, int]:
    """Adds the learners and their attempts, every other one in a JSON string; user -> id."""
    with pharmdb.writing(pharmdb.target(url)) as connection:
        ids = {}
        for number in range(users):
            row = {"email": email(number), "password_hash": "!", "role": role}
            ids[number] = connection.execute(insert(User).values(**row).returning(User.id)).scalar_one()
        values = [
            {
                "user_id": ids[row.user],
                "entity_type": row.kind,
                "entity_id": row.item,
                "answers": json.dumps({"selected": row.choice}) if row.id % 2 else {"selected": row.choice},
                "score": row.score,
                "feedback": None,
                "created_at": row.at,
            }
            for row in attempts
        ]
        if values:
            connection.execute(insert(Attempt), values)
    return ids


def due(url: str, user_id: int, *times: datetime) -> None:
    with pharmdb.writing(pharmdb.target(url)) as connection:
        for number, at in enumerate(times):
            connection.execute(
                insert(SpacedRepetitionItem).values(
                    user_id=user_id,
                    entity_type="drug",
                    entity_id=f"d{number}",
                    ease_factor=2.5,
                    interval_days=1,
                    next_review_at=at,
                    last_reviewed_at=at - timedelta(days=1),
                )
            )


def progress(url: str, user_id: int, correct: int, wrong: int) -> None:
    tag = {"module": "Question Bank", "course_block": "block-1", "tag": "ACE"}
    with pharmdb.writing(pharmdb.target(url)) as connection:
        row = {"user_id": user_id, "correct_count": correct, "wrong_count": wrong, "last_attempt_at": BEGIN}
        connection.execute(insert(ProgressByTag).values(**tag, **row))


class Naive:
    """The definitions, taken by their words."""

    def __init__(self, attempts: list[Row], zone: str = "UTC") -> None:
        self.rows = sorted(attempts, key=lambda row: (row.user, row.at, row.id))
        self.zone = ZoneInfo(zone)
        self.last = max(self.local(row).date() for row in attempts)

    def local(self, row: Row) -> datetime:
        return row.at.astimezone(self.zone)

    def of(self, user: int) -> list[Row]:
        return [row for row in self.rows if row.user == user]

    @property
    def users(self) -> list[int]:
        return sorted({row.user for row in self.rows})

    def grouped(self, key: Any) -> dict[Any, tuple[int, int, int]]:
        """key(row) -> learners, attempts, correct; rows without a key are left out."""
        groups: dict[Any, list[Row]] = {}
        for row in self.rows:
            for one in key(row):
                groups.setdefault(one, []).append(row)
        return {k: (len({r.user for r in g}), len(g), sum(r.right for r in g)) for k, g in groups.items()}

    def weeks(self) -> dict[date, tuple[int, int, int]]:
        return self.grouped(lambda row: [self.monday(row)])

    def monday(self, row: Row) -> date:
        day = self.local(row).date()
        return day - timedelta(days=day.weekday())

    def gaps(self) -> Iterator[tuple[date, int]]:
        for user in self.users:
            own = self.of(user)
            for before, row in itertools.pairwise(own):
                seconds = int((row.at - before.at) / timedelta(seconds=1))
                if seconds <= 1800:
                    yield self.monday(row), seconds

    def median(self, week: date | None = None) -> float | None:
        found = [seconds for monday, seconds in self.gaps() if week in (None, monday)]
        return float(median(found)) if found else None

    def curve(self) -> dict[int, tuple[int, int, int]]:
        number = {row.id: n for user in self.users for n, row in enumerate(self.of(user))}
        return self.grouped(lambda row: [number[row.id] // 10 * 10 + 1])

    def retention(self) -> dict[int, tuple[int, int, int]]:
        """By days since the previous answer to the same item."""
        away, latest = {}, dict[Any, Row]()
        for row in self.rows:
            key = (row.user, row.kind, row.item)
            if key in latest:
                away[row.id] = (self.local(row).date() - self.local(latest[key]).date()).days
            latest[key] = row
        return self.grouped(lambda row: [away[row.id]] if row.id in away else [])

    def hours(self) -> dict[tuple[int, int], tuple[int, int, int]]:
        return self.grouped(lambda row: [(self.local(row).isoweekday(), self.local(row).hour)])

    def streaks(self, user: int) -> tuple[int, int]:
        """The current one, and the longest."""
        days = {self.local(row).date() for row in self.of(user)}

        def length(day: date) -> int:
            return 1 + length(day - timedelta(days=1)) if day in days else 0

        return max(length(self.last), length(self.last - timedelta(days=1))), max(map(length, days), default=0)

    def firsts(self) -> dict[tuple[int, tuple[str, str]], Row]:
        found: dict[tuple[int, tuple[str, str]], Row] = {}
        for row in self.rows:
            found.setdefault((row.user, (row.kind, row.item)), row)
        return found

    def item(self, item: tuple[str, str]) -> tuple[int, int]:
        """Learners, and those whose first answer was right."""
        own = [row for (_, key), row in self.firsts().items() if key == item]
        return len(own), sum(row.right for row in own)

    def discrimination(self, item: tuple[str, str]) -> float | None:
        """Pearson's correlation, by its textbook formula."""
        firsts = self.firsts()
        pairs = []
        for user in self.users:
            rest = [row.right for (who, key), row in firsts.items() if who == user and key != item]
            if (user, item) in firsts and rest:
                pairs.append((float(firsts[user, item].right), sum(rest) / len(rest)))
        if not pairs:
            return None
        x, y = [a for a, _ in pairs], [b for _, b in pairs]
        mx, my = sum(x) / len(x), sum(y) / len(y)
        sx, sy = sum((a - mx) ** 2 for a in x) ** 0.5, sum((b - my) ** 2 for b in y) ** 0.5
        if sx < 1e-9 or sy < 1e-9:
            return None
        return float(sum((a - mx) * (b - my) for a, b in pairs) / (sx * sy))
