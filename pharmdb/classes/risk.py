"""Which learners may need help: three rules, each with the words in which a teacher reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pharmdb.classes.counting import LATELY, Learners
from pharmdb.classes.intervals import wilson

if TYPE_CHECKING:
    import pandas as pd

# Percentage points below the class that make "far behind".
FAR = 10
# Attempts within the last days that say anything.
LEAST_LATELY = 10

INACTIVE, FALLING, BEHIND = "inactive", "falling", "far behind"
RULES = {
    INACTIVE: f"no attempt in the last {LATELY} days",
    FALLING: f"accuracy of the last {LATELY} days below the one before, and their 95 % intervals don't overlap",
    BEHIND: f"even the upper end of the accuracy's 95 % interval is over {FAR} points below the class's accuracy",
}
# The order of the rules in the table.
ORDER = (BEHIND, FALLING, INACTIVE)


def found(learners: Learners, names: list[str], last_day: int, least: int) -> list[tuple[str, str, str, str]]:
    """(learner, risk, rule, found in words) of each learner to whom a rule applies: the rules in ORDER, the worst
    learners first."""
    rows: list[tuple[str, str, str, str]] = []
    share = np.divide(learners.correct, learners.attempts, out=np.zeros(len(names)), where=learners.attempts > 0)
    for risk in ORDER:
        places = applies(risk, learners, last_day, least)
        worst = learners.last_day if risk == INACTIVE else share
        for place in places[np.argsort(worst[places], kind="stable")].tolist():
            rows.append((names[place], risk, RULES[risk], _words(risk, learners, place, last_day)))
    return rows


def applies(risk: str, learners: Learners, last_day: int, least: int) -> np.ndarray:
    """The positions of the learners to whom a rule applies."""
    attempts, correct = learners.attempts, learners.correct
    if risk == INACTIVE:
        return np.flatnonzero((attempts == 0) | (learners.last_day <= last_day - LATELY))
    if risk == FALLING:
        before, before_correct = attempts - learners.late, correct - learners.late_correct
        enough = (learners.late >= LEAST_LATELY) & (before >= LEAST_LATELY)
        _, now = wilson(learners.late_correct, learners.late)
        then, _ = wilson(before_correct, before)
        return np.flatnonzero(enough & (now < then))
    _, high = wilson(correct, attempts)
    total = attempts.sum()
    whole = correct.sum() / total if total else 0.0
    return np.flatnonzero((attempts >= max(least, 1)) & (high < whole - FAR / 100))


def _words(risk: str, learners: Learners, place: int, last_day: int) -> str:
    attempts, correct = int(learners.attempts[place]), int(learners.correct[place])
    if risk == INACTIVE:
        if not attempts:
            return "no attempt in the period"
        return f"{last_day - int(learners.last_day[place])} days without an attempt"
    if risk == FALLING:
        late, right = int(learners.late[place]), int(learners.late_correct[place])
        return f"{_percent(right, late)} of {late} attempts, before {_percent(correct - right, attempts - late)}"
    whole = _percent(int(learners.correct.sum()), int(learners.attempts.sum()))
    return f"{_percent(correct, attempts)} of {attempts} attempts, the class {whole}"


def _percent(correct: int, total: int) -> str:
    return f"{100 * correct / total:.1f} %"


def by_learner(rows: pd.DataFrame, names: list[str]) -> list[str]:
    """For each learner the rules that apply, together."""
    risks: dict[str, str] = {}
    for learner, risk in zip(rows["learner"], rows["risk"], strict=True):
        risks[learner] = f"{risks[learner]}, {risk}" if learner in risks else risk
    return [risks.get(name, "") for name in names]
