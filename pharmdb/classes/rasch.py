"""Difficulties and abilities in the Rasch model, from each learner's first answers.

P(right) = 1 / (1 + exp(-(ability - difficulty))): Rasch, "Probabilistic Models for Some Intelligence and Attainment
Tests", 1960; also called 1PL. Learners meet different items, and only few of all.

Difficulties are pairwise conditional estimates: of two items of which a learner got exactly one right, which one it was
does not depend on the ability (Choppin, "Item Bank Using Sample-Free Calibration", Nature 219, 1968; Zwinderman,
"Pairwise Parameter Estimation in Rasch Models", Applied Psychological Measurement 19, 1995). So one streaming pass
counts who won against whom, and the estimates maximize that likelihood, by Newton's method. A learner's pairs depend on
each other, so the standard errors are those of a composite likelihood (Varin, Reid and Firth, "An Overview of Composite
Likelihood Methods", Statistica Sinica 21, 2011). Estimates exist where each item can be reached from each other one by
wins (Ford, "Solution of a Ranking Problem from Binary Comparisons", 1957).

Abilities are weighted likelihood estimates (Warm, Psychometrika 54, 1989), which are finite also if all is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from pharmdb.classes.intervals import Array

# First answers of some learners, none of whom is in another part: user, item, right.
Firsts = tuple[Array, Array, Array]
# More items would take more memory than the attempts: the square of this, a few times.
MOST_ITEMS = 1000
_LEARNERS_AT_ONCE = 2000


def difficulties(parts: Callable[[], Iterable[Firsts]], items: int) -> tuple[Array, Array]:
    """The difficulties of the items 0 to `items` - 1 in logits, with mean 0, and their standard errors.

    NaN for an item that can't be compared with the others: everybody, or nobody, got it right, or the learners who met
    it met no other one.
    """
    logits, errors = np.full(items, np.nan), np.full(items, np.nan)
    wins = np.zeros((items, items))
    for right, wrong, weight in _blocks(parts(), items):
        wins += (right * weight).T @ wrong
    kept = _comparable(wins)
    if len(kept) < 2:
        return logits, errors
    easiness = _maximum(wins[np.ix_(kept, kept)])
    logits[kept] = -easiness
    errors[kept] = _errors(parts, items, kept, easiness, wins[np.ix_(kept, kept)])
    return logits, errors


def _blocks(parts: Iterable[Firsts], items: int) -> Iterator[tuple[Array, Array, Array]]:
    """For some learners at a time: (learner, item) is 1 if the answer was right, or wrong; and each learner's weight.

    A learner with n items has up to n²/4 pairs, which hold n answers' worth of knowledge: so each counts 1/n.
    """
    for user, item, right in parts:
        there, place = np.unique(user, return_inverse=True)
        order = np.argsort(place, kind="stable")
        place, item, right = place[order], item[order], right[order].astype(bool)
        for begin in range(0, len(there), _LEARNERS_AT_ONCE):
            low, high = np.searchsorted(place, (begin, begin + _LEARNERS_AT_ONCE))
            count = min(_LEARNERS_AT_ONCE, len(there) - begin)
            matrices = np.zeros((2, count, items), dtype=np.float32)
            matrices[right[low:high].astype(int) ^ 1, place[low:high] - begin, item[low:high]] = 1
            number = np.maximum(matrices.sum(axis=(0, 2)), 1)
            yield matrices[0], matrices[1], (1 / number)[:, None].astype(np.float32)


def _comparable(wins: Array) -> Array:
    """The largest set of items in which each one can be reached from each other one by wins."""
    beats = wins > 0
    left = np.flatnonzero(beats.any(axis=0) & beats.any(axis=1))
    best = left[:0]
    while len(left) > len(best):
        # The one with the most opponents is in the largest set, if anything is.
        start = left[np.argmax((beats | beats.T)[np.ix_(left, left)].sum(axis=1))]
        found = np.intersect1d(_reached(beats, start), _reached(beats.T, start))
        best = found if len(found) > len(best) else best
        left = np.setdiff1d(left, found)
    return best


def _reached(edges: Array, start: int) -> Array:
    seen = np.zeros(len(edges), dtype=bool)
    seen[start] = True
    newest = np.array([start])
    while len(newest):
        newest = np.flatnonzero(edges[newest].any(axis=0) & ~seen)
        seen[newest] = True
    return np.flatnonzero(seen)


def _chances(easiness: Array) -> Array:
    """(i, j): the probability that i was right, if exactly one of the two was."""
    found: Array = 1 / (1 + np.exp(easiness[None, :] - easiness[:, None]))
    return found


def _information(both: Array, chances: Array) -> Array:
    held = both * chances * (1 - chances)
    # Only differences are known; the mean is set to 0.
    found: Array = np.diag(held.sum(axis=1)) - held + 1 / len(both)
    return found


def _maximum(wins: Array) -> Array:
    """The easiness that maximizes the sum of wins(i, j) log P(i beats j), by Newton's method with halved steps."""
    both = wins + wins.T

    def likelihood(easiness: Array) -> float:
        return float((wins * np.log(_chances(easiness) + 1e-300)).sum())

    easiness = np.zeros(len(wins))
    now = likelihood(easiness)
    for _ in range(100):
        chances = _chances(easiness)
        slope = wins.sum(axis=1) - (both * chances).sum(axis=1)
        step = np.linalg.solve(_information(both, chances), slope)
        while (then := likelihood(easiness + step)) < now - 1e-9 * abs(now) and np.abs(step).max() > 1e-10:
            step = step / 2
        easiness, now = easiness + step, then
        if np.abs(step).max() < 1e-8:
            break
    found: Array = easiness - easiness.mean()
    return found


def _errors(parts: Callable[[], Iterable[Firsts]], items: int, kept: Array, easiness: Array, wins: Array) -> Array:
    """The standard errors: Godambe's information, with the variance of the learners' own slopes."""
    loses = (1 - _chances(easiness)).astype(np.float32)
    spread, learners = np.zeros((len(kept), len(kept))), 0
    for right, wrong, weight in _blocks(parts(), items):
        right, wrong = right[:, kept], wrong[:, kept]
        slopes = weight * (right * (wrong @ loses.T) - wrong * (right @ loses))
        spread += slopes.T @ slopes
        learners += int((np.abs(slopes).sum(axis=1) > 0).sum())
    inverse = np.linalg.inv(_information(wins + wins.T, _chances(easiness)))
    variance = np.diag(inverse @ spread @ inverse) * learners / max(learners - 1, 1)
    found: Array = np.sqrt(np.maximum(variance, 0))
    return found


def abilities(parts: Iterable[Firsts], logits: Array, learners: int, least: int) -> tuple[Array, Array]:
    """The ability of each learner in logits, and its standard error; NaN with fewer than `least` items that have a
    difficulty."""
    found, errors = np.full(learners, np.nan), np.full(learners, np.nan)
    for user, item, right in parts:
        known = ~np.isnan(logits[item])
        there, who = np.unique(user[known], return_inverse=True)
        number = np.bincount(who, minlength=len(there))
        if len(there):
            ability, information = _weighted(who, logits[item[known]], right[known].astype(np.float64), len(there))
            enough = number >= max(least, 1)
            found[there[enough]] = ability[enough]
            errors[there[enough]] = 1 / np.sqrt(information[enough])
    return found, errors


def _weighted(who: Array, logits: Array, right: Array, learners: int) -> tuple[Array, Array]:
    """Solves right - Σp + Σpq(1 - 2p) / 2Σpq = 0 for each learner, and returns Σpq, too."""
    ability = np.zeros(learners)
    won = np.bincount(who, right, minlength=learners)
    information = np.ones(learners)
    for _ in range(50):
        p = 1 / (1 + np.exp(logits - ability[who]))
        pq = p * (1 - p)
        information = np.maximum(np.bincount(who, pq, minlength=learners), 1e-9)
        bias = np.bincount(who, pq * (1 - 2 * p), minlength=learners) / (2 * information)
        step = np.clip((won - np.bincount(who, p, minlength=learners) + bias) / information, -1, 1)
        ability = ability + step
        if np.abs(step).max() < 1e-6:
            break
    return ability, information
