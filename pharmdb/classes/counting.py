"""What is counted in each part of the attempts, and added up over all parts: nothing here grows with the attempts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pharmdb import progress
from pharmdb.classes.first_answers import FirstAnswers
from pharmdb.classes.intervals import Array
from pharmdb.classes.population import Terms
from pharmdb.classes.streaming import Attempts

DAY, WEEK_BEGINS = 86_400_000_000, 3
SECOND = 1_000_000
# A longer time between two attempts is a break (seconds).
BREAK = 1800
# Attempts in a point of the learning curve.
GROUP = 10
# The last day of each span of the retention; the last span has no end.
SPANS = (0, 1, 2, 4, 6, 9, 14, 21, 30, 45)
# The last days of the period, for what a learner does lately.
LATELY = 14


class Tally:
    """Sums by an integer key: attempts, correct ones, and learners, of whom no part shares one with another."""

    def __init__(self) -> None:
        self._found: list[Array] = []

    def add(self, keys: Array, right: Array, user: Array, users: int) -> None:
        """Counts attempts by key; `user` is a number below `users`."""
        if not len(keys):
            return
        there, codes = compact(keys)
        attempts = np.bincount(codes, minlength=len(there))
        correct = np.bincount(codes, right, minlength=len(there)).astype(np.int64)
        pairs = user.astype(np.int64) * len(there) + codes
        if users * len(there) <= 50_000_000:
            seen = np.zeros(users * len(there), dtype=bool)
            seen[pairs] = True
            learners = seen.reshape(users, len(there)).sum(axis=0)
        else:
            learners = np.bincount(np.unique(pairs) % len(there), minlength=len(there))
        self._found.append(np.stack([there, attempts, correct, learners]))

    def sums(self) -> tuple[Array, Array, Array, Array]:
        """Keys in ascending order, and for each the attempts, the correct ones, and the learners."""
        if not self._found:
            empty = np.zeros(0, dtype=np.int64)
            return empty, empty, empty, empty
        joined = np.concatenate(self._found, axis=1)
        keys, places = np.unique(joined[0], return_inverse=True)
        sums = np.zeros((3, len(keys)), dtype=np.int64)
        for row, values in zip(sums, joined[1:], strict=True):
            np.add.at(row, places, values)
        self._found = [np.vstack([keys, sums])]
        return keys, sums[0], sums[1], sums[2]


def compact(keys: Array) -> tuple[Array, Array]:
    """The different keys in ascending order, and the position of each key among them."""
    low = int(keys.min())
    span = int(keys.max()) - low + 1
    if span > 4 * len(keys) + 1_000_000:
        there, codes = np.unique(keys, return_inverse=True)
        return there, codes
    present = np.zeros(span, dtype=bool)
    present[keys - low] = True
    there = np.flatnonzero(present)
    return there + low, (np.cumsum(present) - 1)[keys - low]


@dataclass
class Learners:
    """By position in the class. Times are in microseconds, days since 1970 in the time zone; 0 without an attempt."""

    attempts: Array
    correct: Array
    newest: Array
    last_day: Array
    days: Array
    streak: Array
    longest: Array
    late: Array
    late_correct: Array


@dataclass
class ItemSums:
    """By item. First answers only: learners, right, and what the point-biserial correlation is made of."""

    attempts: Array
    learners: Array
    right: Array
    # Of those who answered another item, too: their number, and the sums of x, r, r² and x r.
    paired: Array
    x: Array
    r: Array
    rr: Array
    xr: Array


@dataclass
class Counts:
    """Everything that the pass over the parts finds."""

    learners: Learners
    items: ItemSums
    answer_learners: Array
    answer_right: Array
    last_day: int
    weeks: Tally = field(default_factory=Tally)
    hours: Tally = field(default_factory=Tally)
    curve: Tally = field(default_factory=Tally)
    retention: Tally = field(default_factory=Tally)
    # Keys: the number of an item's block, or of its tag; -1 is what the catalogue does not have.
    blocks: Tally = field(default_factory=Tally)
    tags: Tally = field(default_factory=Tally)
    # Keys: week × (BREAK + 1) + seconds between two attempts.
    gaps: Tally = field(default_factory=Tally)
    # Of one learner: the keys of `blocks`.
    own_blocks: Tally = field(default_factory=Tally)


@dataclass(frozen=True)
class Labels:
    """By item: the number of its block, and the numbers of its tags, filled up with -2; -1 is not in the catalogue."""

    block: Array
    tags: Array


def count(
    attempts: Attempts, terms: Terms, learners: int, labels: Labels, own: int | None, firsts: FirstAnswers
) -> Counts:
    """Counts all parts. `own` is the position of one learner, or None; `firsts` gets each part's first answers."""
    found = _empty(learners, len(attempts.items), len(attempts.answers), last_day(attempts, terms))
    with progress.counting("count", attempts.count, " attempts") as advance:
        for part in attempts.parts():
            _count_part(found, part, terms, labels, own, firsts)
            advance(len(part))
    return found


def last_day(attempts: Attempts, terms: Terms) -> int:
    """The day of the class's newest attempt, in days since 1970 in the time zone."""
    return int(terms.local(np.array([attempts.newest]))[0] // DAY) if attempts.count else 0


def _empty(learners: int, items: int, answers: int, last: int) -> Counts:
    def zeros(size: int, dtype: Any = np.int64) -> Array:
        return np.zeros(size, dtype=dtype)

    return Counts(
        Learners(*(zeros(learners) for _ in range(9))),
        ItemSums(*(zeros(items) for _ in range(4)), *(zeros(items, np.float64) for _ in range(4))),
        zeros(answers),
        zeros(answers),
        last,
    )


def _count_part(
    found: Counts, part: Array, terms: Terms, labels: Labels, own: int | None, firsts: FirstAnswers
) -> None:
    user, item, right, time = (np.ascontiguousarray(part[name]) for name in ("user", "item", "right", "time"))
    local = terms.local(time)
    day = local // DAY
    here, first, size = np.unique(user, return_index=True, return_counts=True)
    place = np.repeat(np.arange(len(here)), size)
    week = (day + WEEK_BEGINS) // 7

    def tally(into: Tally, keys: Array, where: Any = slice(None)) -> None:
        into.add(keys[where], right[where], place[where], len(here))

    tally(found.weeks, week)
    tally(found.hours, (day + WEEK_BEGINS) % 7 * 24 + local // (3600 * SECOND) % 24)
    number = np.arange(len(user)) - np.repeat(first, size)
    tally(found.curve, number // GROUP)
    tally(found.blocks, labels.block[item])
    # All tags of an attempt at once: a learner counts once for each tag.
    of = labels.tags[item].ravel()
    width = labels.tags.shape[1]
    there = of != -2
    found.tags.add(of[there], np.repeat(right, width)[there], np.repeat(place, width)[there], len(here))
    if own is not None:
        tally(found.own_blocks, labels.block[item], user == own)
    same = place[1:] == place[:-1]
    gap = np.diff(time) // SECOND
    short = np.flatnonzero(same & (gap <= BREAK))
    found.gaps.add(week[1:][short] * (BREAK + 1) + gap[short], right[1:][short], place[1:][short], len(here))
    _learners(found, here, first, size, place, day, right, time)
    _items(found, part, here, place, day, firsts)


def _learners(
    found: Counts, here: Array, first: Array, size: Array, place: Array, day: Array, right: Array, time: Array
) -> None:
    of, last = found.learners, first + size - 1
    of.attempts[here] = size
    of.correct[here] = np.bincount(place, right, minlength=len(here))
    of.newest[here], of.last_day[here] = time[last], day[last]
    late = day > found.last_day - LATELY
    of.late[here] = np.bincount(place[late], minlength=len(here))
    of.late_correct[here] = np.bincount(place[late], right[late], minlength=len(here))
    # Each day of each learner once, in order.
    new = np.ones(len(day), dtype=bool)
    new[1:] = (place[1:] != place[:-1]) | (day[1:] != day[:-1])
    who, when = place[new], day[new]
    of.days[here] = np.bincount(who, minlength=len(here))
    begins = np.ones(len(who), dtype=bool)
    begins[1:] = (who[1:] != who[:-1]) | (when[1:] != when[:-1] + 1)
    starts = np.flatnonzero(begins)
    length = np.diff(np.append(starts, len(who)))
    longest = np.zeros(len(here), dtype=np.int64)
    np.maximum.at(longest, who[starts], length)
    of.longest[here] = longest
    # The last run of each learner counts if it reaches the class's last day, or the day before.
    run = np.append(np.flatnonzero(np.diff(who[starts])), len(starts) - 1)
    of.streak[here] = np.where(of.last_day[here] >= found.last_day - 1, length[run], 0)


def _items(found: Counts, part: Array, here: Array, place: Array, day: Array, firsts: FirstAnswers) -> None:
    item, right = part["item"], part["right"]
    items = len(found.items.attempts)
    pair = place * items + item
    order = np.argsort(pair, kind="stable")
    pair, again = pair[order], np.zeros(len(order), dtype=bool)
    again[1:] = pair[1:] == pair[:-1]
    repeated = np.flatnonzero(again)
    away = day[order][repeated] - day[order][repeated - 1]
    found.retention.add(np.searchsorted(SPANS, away), right[order][repeated], place[order][repeated], len(here))
    found.items.attempts += np.bincount(item, minlength=items)
    opening = order[~again]
    who, what, x = place[opening], item[opening], right[opening].astype(np.int64)
    answer = part["answer"][opening]
    found.answer_learners += np.bincount(answer, minlength=len(found.answer_learners))
    found.answer_right += np.bincount(answer, x, minlength=len(found.answer_learners)).astype(np.int64)
    sums = found.items
    sums.learners += np.bincount(what, minlength=items)
    sums.right += np.bincount(what, x, minlength=items).astype(np.int64)
    # The rest: the share of right first answers to the learner's other items.
    answered = np.bincount(who, minlength=len(here))[who]
    others = answered > 1
    what_, x_ = what[others], x[others]
    rest = (np.bincount(who, x, minlength=len(here))[who][others] - x_) / (answered[others] - 1)
    sums.paired += np.bincount(what_, minlength=items)
    for total, weights in ((sums.x, x_), (sums.r, rest), (sums.rr, rest * rest), (sums.xr, x_ * rest)):
        total += np.bincount(what_, weights, minlength=items)
    firsts.add(here[who].astype(np.int32), what.astype(np.int32), x.astype(np.uint8))


def discrimination(sums: ItemSums) -> Array:
    """The corrected point-biserial correlation of each item: NaN if all, or nobody, answered right, or all rests are
    the same.

    It is Pearson's r of the answer (0 or 1) and the learner's score in the rest of the items (Henrysson, "Correction of
    Item-Total Correlations in Item Analysis", Psychometrika 28, 1963). Learners meet different items, so the rest is a
    share and no sum.
    """
    n = sums.paired.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        cov = sums.xr - sums.x * sums.r / n
        var_x, var_r = sums.x - sums.x**2 / n, sums.rr - sums.r**2 / n
        # Below this it is a rounding error.
        found = cov / np.sqrt(np.where((var_x > 1e-9) & (var_r > 1e-9), var_x * var_r, np.nan))
    return np.clip(found, -1, 1)


def medians(gaps: Tally) -> tuple[float, dict[int, float]]:
    """The median gap in seconds, of all and by week; NaN if there is none."""
    keys, number, _, _ = gaps.sums()
    week, seconds = keys // (BREAK + 1), keys % (BREAK + 1)
    total = np.bincount(seconds, number, minlength=1)
    return _median(total), {
        int(one): _median(np.bincount(seconds[week == one], number[week == one])) for one in np.unique(week)
    }


def _median(histogram: Array) -> float:
    """The median of whole numbers, given how often each occurs."""
    reached = np.cumsum(histogram)
    if not len(reached) or not reached[-1]:
        return float("nan")
    total = int(reached[-1])
    low, high = np.searchsorted(reached, [(total - 1) // 2, total // 2], side="right")
    return float(low + high) / 2


def spans() -> Iterator[str]:
    """The names of the spans of the retention."""
    before = -1
    for end in SPANS:
        yield str(end) if end == before + 1 else f"{before + 1} to {end}"
        before = end
    yield f"{before + 1}+"
