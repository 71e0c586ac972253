"""The Rasch model: where the truth is known, the estimates recover it within the errors that they state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmdb.classes import rasch
from pharmdb.cohorts import simulation
from pharmdb.learning import catalogue

Array = np.ndarray[Any, np.dtype[Any]]


def simulated(logits: Array, abilities: Array, met: float, seed: int) -> list[rasch.Firsts]:
    """First answers of learners who each met some of the items, by chance."""
    draw = np.random.default_rng(seed)
    right = draw.random((len(abilities), len(logits))) < 1 / (1 + np.exp(logits[None, :] - abilities[:, None]))
    user, item = np.nonzero(draw.random(right.shape) < met)
    return [(user, item, right[user, item].astype(np.uint8))]


def test_two_items_have_the_solution_of_the_textbook() -> None:
    # Of two items, the difference is the logarithm of how often each one alone was right.
    user = np.repeat(np.arange(50), 2)
    item = np.tile([0, 1], 50)
    right = np.array([1, 0] * 30 + [0, 1] * 10 + [1, 1] * 6 + [0, 0] * 4)
    logits, errors = rasch.difficulties(lambda: [(user, item, right)], 2)
    assert logits[1] - logits[0] == pytest.approx(np.log(30 / 10))
    # The standard error of a logarithm of two counts is √(1/30 + 1/10); that of each item is half of it.
    assert errors == pytest.approx(np.full(2, (1 / 30 + 1 / 10) ** 0.5 / 2), rel=0.03)


def test_difficulties_are_within_their_stated_errors() -> None:
    truth = np.random.default_rng(7).normal(0, 1.2, 40)
    truth -= truth.mean()
    ratios = []
    for seed in range(6):
        abilities = np.random.default_rng(seed).normal(0.5, 1.0, 500)
        parts = simulated(truth, abilities, 0.5, 100 + seed)
        logits, errors = rasch.difficulties(lambda parts=parts: parts, 40)  # type: ignore[misc]
        ratios.append((logits - truth) / errors)
    z = np.concatenate(ratios)
    # Of 240 normal numbers; the bounds are four standard errors away.
    assert 0.89 < (np.abs(z) < 1.96).mean() <= 1
    assert 0.8 < z.std() < 1.2


def test_abilities_are_within_their_stated_errors_and_finite_where_all_is_right() -> None:
    truth = np.random.default_rng(3).normal(0.3, 1.0, 800)
    logits = np.linspace(-2, 2, 50)
    (part,) = simulated(logits, truth, 1.0, 4)
    ability, error = rasch.abilities([part], logits, 801, 20)
    assert np.isnan(ability[800])
    z = (ability[:800] - truth) / error[:800]
    assert abs(z.mean()) < 0.15
    assert (np.abs(z) < 1.96).mean() > 0.88
    perfect = (np.zeros(50, dtype=int), np.arange(50), np.ones(50))
    ((found,), (its_error,)) = rasch.abilities([perfect], logits, 1, 20)
    assert 3 < found < 8
    assert 0.5 < its_error < 3


def cohort_firsts() -> tuple[list[rasch.Firsts], Array, Array, int]:
    """First answers of a cohort of 1000 learners; by item, the true difficulty less what its learners had gained by
    practice when they met it; learners; and the number of items."""
    contents = catalogue.read()
    stuff = simulation.material(contents)
    work = simulation.simulate(contents, np.arange(1, 1001), 90, 2026).attempts
    learner, entity, right = work["learner"], work["entity"], work["right"]
    start = np.searchsorted(learner, learner)
    practised = np.arange(len(learner)) - start
    _, first = np.unique(learner.astype(np.int64) * len(stuff.kind) + entity, return_index=True)
    user, item, right = learner[first], entity[first], right[first]
    number = np.bincount(item, minlength=len(stuff.kind))
    gain = 1.5 * practised[first] / (practised[first] + 60)
    with np.errstate(invalid="ignore"):
        gained = np.bincount(item, gain, minlength=len(stuff.kind)) / number
    return [(user, item, right)], stuff.difficulty / 64 - gained, number, len(stuff.kind)


def test_a_cohorts_difficulties_are_recovered() -> None:
    parts, truth, number, items = cohort_firsts()
    logits, errors = rasch.difficulties(lambda: parts, items)
    known = ~np.isnan(logits) & (number >= 50)
    assert known.sum() > 300
    truth, logits, errors = truth[known], logits[known], errors[known]
    difference = (logits - logits.mean()) - (truth - truth.mean())
    assert np.corrcoef(logits, truth)[0, 1] > 0.95
    # Abilities grow with practice, which the model does not know: the errors are a little larger than stated.
    assert 0.9 < (difference / errors).std() < 1.2
    assert (np.abs(difference) < 1.96 * errors).mean() > 0.9


@st.composite
def answers(draw: st.DrawFn) -> rasch.Firsts:
    pairs = draw(st.sets(st.tuples(st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=60))
    user, item = (np.array(values) for values in zip(*sorted(pairs), strict=True))
    right = draw(st.lists(st.booleans(), min_size=len(user), max_size=len(user)))
    return user, item, np.array(right, dtype=np.uint8)


def split(part: rasch.Firsts, number: int) -> Iterator[rasch.Firsts]:
    for n in range(number):
        those = part[0] % number == n
        yield part[0][those], part[1][those], part[2][those]


@settings(deadline=None)
@given(answers(), st.integers(1, 4))
def test_any_answers_give_finite_numbers_or_none_and_parts_do_not_matter(part: rasch.Firsts, number: int) -> None:
    logits, errors = rasch.difficulties(lambda: [part], 6)
    again, errors_again = rasch.difficulties(lambda: split(part, number), 6)
    np.testing.assert_allclose(logits, again, atol=1e-5)
    np.testing.assert_allclose(errors, errors_again, atol=1e-3)
    assert (np.isnan(logits) == np.isnan(errors)).all()
    assert np.isfinite(logits[~np.isnan(logits)]).all()
    if (~np.isnan(logits)).any():
        assert np.nanmean(logits) == pytest.approx(0, abs=1e-6)
    # What everybody, or nobody, got right has no difficulty.
    for item in range(6):
        right = part[2][part[1] == item]
        if len(right) == 0 or right.all() or not right.any():
            assert np.isnan(logits[item])


def test_items_that_nobody_compares_have_no_difficulty() -> None:
    """Two groups of learners with items of their own: only one of the groups can be on the scale."""
    pattern = [(0, 1), (1, 0)] * 5
    user = np.repeat(np.arange(20), 2)
    item = np.concatenate([np.tile([0, 1], 10), np.tile([2, 3], 10)])
    right = np.array([one for pair in pattern * 2 for one in pair])
    logits, _ = rasch.difficulties(lambda: [(user, item, right)], 4)
    assert np.isnan(logits).sum() == 2
    assert np.nansum(np.abs(logits)) == pytest.approx(0, abs=1e-9)
