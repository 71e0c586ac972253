"""SM-2, the rule by which review items are spaced, written once: for Python, NumPy and SQL.

Source: P. A. Woźniak, "Optimization of learning" (1990), chapter 3.2, the SM-2 algorithm. With q the grade of an answer
(0 to 5), EF the ease factor and n the number of good answers in a row:

- I(1) = 1, I(2) = 6, I(n) = I(n - 1) * EF in days, rounded up;
- EF' = EF + 0.1 - (5 - q) * (0.08 + (5 - q) * 0.02), from 2.5 and never below 1.3; the next interval is by EF';
- after a grade below 3 the repetitions start from the beginning (n = 0, due again after a day), and EF stays.

Three things are ours. EF is capped at 2.5: SM-2 has no cap, but the application refuses anything outside 1.3 to 2.5. An
interval is at most LONGEST_INTERVAL days. The repetition of weak items on the same day is left out.

Every change of EF is a whole number of hundredths, so EF is kept in hundredths and all arithmetic is exact: SQLite,
PostgreSQL, NumPy and Python agree to the day.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, NamedTuple

# An attempt counts as correct from this score on: the application's rule, and the border between grades 2 and 3.
CORRECT_FROM = 50
# Grade 1 begins at the first of these scores, grade 5 at the last: three equal parts below CORRECT_FROM; above it the
# nearest of 3 (just correct), 4 (half of the rest) and 5 (all of it).
_GRADES_FROM = (50 / 3, 100 / 3, CORRECT_FROM, 62.5, 87.5)
GOOD = 3

# Ease factors, in hundredths.
FIRST_EASE, LEAST_EASE, MOST_EASE = 250, 130, 250
# In days.
FIRST_INTERVAL, SECOND_INTERVAL, LONGEST_INTERVAL = 1, 6, 36_500


class Item(NamedTuple):
    """A review item: ease factor in hundredths, interval in days, good answers in a row.

    The fields are numbers, arrays of numbers, or SQL expressions.
    """

    ease: Any
    interval: Any
    repetitions: Any


# Before its first review.
NEW = Item(FIRST_EASE, FIRST_INTERVAL, 0)


class Arithmetic(NamedTuple):
    """What Python, NumPy and SQL write differently; operators are the same in all of them.

    `where(condition, then, otherwise)` chooses, `least` and `greatest` take two values.
    """

    where: Callable[[Any, Any, Any], Any]
    least: Callable[[Any, Any], Any]
    greatest: Callable[[Any, Any], Any]


PYTHON = Arithmetic(lambda condition, then, otherwise: then if condition else otherwise, min, max)


def grade(score: float) -> int:
    """The grade of an answer, 0 to 5, from its score of 0 to 100; a correct one is 3 or more."""
    return bisect_right(_GRADES_FROM, score)


def review(item: Item, grade: Any, by: Arithmetic = PYTHON) -> Item:
    """The item after an answer of this grade. Its ease and interval are within SM-2's bounds whatever they were."""
    good = grade >= GOOD
    miss = 5 - grade
    change = by.where(good, 10 - miss * (8 + 2 * miss), 0)
    ease = by.greatest(LEAST_EASE, by.least(MOST_EASE, item.ease + change))
    repetitions = by.where(good, item.repetitions + 1, 0)
    # Rounded up; all three languages divide whole numbers above zero alike. The inner bound keeps products small.
    longer = by.least(LONGEST_INTERVAL, (by.least(LONGEST_INTERVAL, item.interval) * ease + 99) // 100)
    interval = by.where(repetitions < 2, FIRST_INTERVAL, by.where(repetitions == 2, SECOND_INTERVAL, longer))
    return Item(ease, interval, repetitions)


def repetitions(interval: Any, last_was_good: bool | None, by: Arithmetic = PYTHON) -> Any:
    """The number of good answers in a row so far, where it isn't stored: 0, 1, or 2 for two and more.

    `review` needs no more than that. It follows from the interval and from whether the last attempt at the item was
    correct; None where there is no attempt, as for an item that the application reviewed by itself.
    """
    if last_was_good is False:
        return 0
    return by.where(interval > FIRST_INTERVAL, 2, int(bool(last_was_good)))
