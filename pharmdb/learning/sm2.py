"""SM-2, the spaced-repetition algorithm, written once for Python, NumPy and SQL.

Source: P. A. Woźniak, "Optimization of learning" (1990), chapter 3.2. With q the grade of an answer (0 to 5), EF the
ease factor and n the number of good answers in a row:

- I(1) = 1, I(2) = 6, I(n) = I(n - 1) * EF in days, rounded up;
- EF' = EF + 0.1 - (5 - q) * (0.08 + (5 - q) * 0.02), starting at 2.5 and never below 1.3; the next interval uses EF';
- after a grade below 3 the repetitions start again (n = 0, due again after a day), and EF does not change.

This differs from SM-2 in three ways. EF is at most 2.5: SM-2 has no such cap, but the application accepts only 1.3 to
2.5. An interval is at most LONGEST_INTERVAL days. Weak items are not repeated on the same day.

Every change of EF is a whole number of hundredths, so EF is an integer in hundredths and all arithmetic is exact:
SQLite, PostgreSQL, NumPy and Python agree to the day.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, NamedTuple

# The lowest score of a correct attempt: the application's rule, and the boundary between grades 2 and 3.
CORRECT_FROM = 50
# The lowest scores of grades 1 to 5. Scores below CORRECT_FROM are divided equally among grades 0 to 2; above it, a
# score gets the nearest of 3 (50, just correct), 4 (75) and 5 (100).
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


# An item before its first review.
NEW = Item(FIRST_EASE, FIRST_INTERVAL, 0)


class Arithmetic(NamedTuple):
    """The operations that differ between Python, NumPy and SQL; operators are the same in all three.

    `where(condition, then, otherwise)` selects a value; `least` and `greatest` take two values.
    """

    where: Callable[[Any, Any, Any], Any]
    least: Callable[[Any, Any], Any]
    greatest: Callable[[Any, Any], Any]


PYTHON = Arithmetic(lambda condition, then, otherwise: then if condition else otherwise, min, max)


def grade(score: float) -> int:
    """The grade of an answer (0 to 5) for its score (0 to 100); a correct answer has 3 or more."""
    return bisect_right(_GRADES_FROM, score)


def review(item: Item, grade: Any, by: Arithmetic = PYTHON) -> Item:
    """The item after an answer with this grade. Ease and interval end up within bounds, whatever they were."""
    good = grade >= GOOD
    miss = 5 - grade
    change = by.where(good, 10 - miss * (8 + 2 * miss), 0)
    ease = by.greatest(LEAST_EASE, by.least(MOST_EASE, item.ease + change))
    repetitions = by.where(good, item.repetitions + 1, 0)
    # Rounded up; all three languages divide positive integers alike. The inner bound keeps the products small.
    longer = by.least(LONGEST_INTERVAL, (by.least(LONGEST_INTERVAL, item.interval) * ease + 99) // 100)
    interval = by.where(repetitions < 2, FIRST_INTERVAL, by.where(repetitions == 2, SECOND_INTERVAL, longer))
    return Item(ease, interval, repetitions)


def repetitions(interval: Any, last_was_good: bool | None, by: Arithmetic = PYTHON) -> Any:
    """The number of good answers in a row so far, which isn't stored: 0, 1, or 2 for two or more.

    `review` needs no more than that. It follows from the interval and from whether the last attempt at the item was
    correct; None if there is no attempt, as for an item that the application reviewed on its own.
    """
    if last_was_good is False:
        return 0
    return by.where(interval > FIRST_INTERVAL, 2, int(bool(last_was_good)))
