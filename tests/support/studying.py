"""A learner at work: the demo user answers questions on some days of the last months."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

import pharmdb
from pharmdb.learning.attempts import Tag
from pharmdb.models import User

# Days ago, and the scores of that day; each tag in turn.
DAYS = {61: (20, 40, 80), 47: (60, 30, 90), 33: (70, 100), 20: (45, 85, 95, 60), 9: (100, 75), 2: (90, 55, 100)}
TAGS = (
    Tag("questions", "cardiology", "hypertension"),
    Tag("questions", "cardiology", "arrhythmias"),
    Tag("cases", "pulmonary", "asthma"),
    Tag("calculations", "pharmacokinetics", "dosing"),
)
KINDS = {"questions": "question", "cases": "case", "calculations": "calc"}


def study(url: str = "", email: str = "demo@pharmtrainer.test") -> int:
    """Records the answers, and says how many they are. They are the same whenever it is run, seen from then."""
    began = datetime.now(UTC) - timedelta(hours=1)
    answers = [(ago, score) for ago, scores in DAYS.items() for score in scores]
    with pharmdb.writing(pharmdb.target(url)) as connection:
        user = connection.scalars(select(User.id).where(User.email == email)).one()
        for number, (ago, score) in enumerate(answers):
            tag = TAGS[number % len(TAGS)]
            pharmdb.record_attempt(
                connection,
                user,
                KINDS[tag.module],
                f"{tag.tag}-{number % 3 + 1}",
                answers={"choice": "B"},
                score=score,
                tags=[tag],
                at=began - timedelta(days=ago) + timedelta(milliseconds=number),
            )
    return len(answers)
