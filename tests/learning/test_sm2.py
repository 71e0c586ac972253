"""SM-2 as published, with the application's bounds; the same for numbers and for arrays."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmdb.cohorts import simulation
from pharmdb.learning import sm2

GRADES = st.lists(st.integers(0, 5), min_size=1, max_size=25)
# Whatever somebody else may have written.
ITEMS = st.builds(sm2.Item, st.integers(1, 2000), st.integers(1, 2**31 - 1), st.integers(0, 1000))


def after(grades: list[int]) -> list[tuple[int, int]]:
    """The ease factor (in hundredths) and the interval after each of these answers."""
    item, found = sm2.NEW, []
    for grade in grades:
        item = sm2.review(item, grade)
        found.append((item.ease, item.interval))
    return found


@pytest.mark.parametrize(
    ("grades", "expected"),
    [
        # 6 * 2.5 = 15, 15 * 2.5 = 37.5, 38 * 2.5 = 95, 95 * 2.5 = 237.5
        ([4, 4, 4, 4, 4, 4], [(250, 1), (250, 6), (250, 15), (250, 38), (250, 95), (250, 238)]),
        # The cap: SM-2 itself would go on to 2.6 and 2.7.
        ([5, 5, 5], [(250, 1), (250, 6), (250, 15)]),
        # 6 * 2.08 = 12.48, 13 * 1.94 = 25.22, 26 * 1.8 = 46.8
        ([3, 3, 3, 3, 3], [(236, 1), (222, 6), (208, 13), (194, 26), (180, 47)]),
        # 6 * 2.18 = 13.08, 14 * 2.28 = 31.92
        ([3, 3, 3, 5, 5], [(236, 1), (222, 6), (208, 13), (218, 29), (228, 67)]),
        # A bad answer begins anew and leaves the ease factor.
        ([0, 5, 5, 5], [(250, 1), (250, 1), (250, 6), (250, 15)]),
        ([3, 3, 3, 2, 4, 4, 4], [(236, 1), (222, 6), (208, 13), (208, 1), (208, 1), (208, 6), (208, 13)]),
        ([4, 1, 4, 0, 4, 4], [(250, 1), (250, 1), (250, 1), (250, 1), (250, 1), (250, 6)]),
        # The floor: 2.5 - 9 * 0.14 = 1.24
        ([3] * 9, [(236, 1), (222, 6), (208, 13), (194, 26), (180, 47), (166, 79), (152, 121), (138, 167), (130, 218)]),
    ],
)
def test_the_table_by_hand(grades: list[int], expected: list[tuple[int, int]]) -> None:
    assert after(grades) == expected


@pytest.mark.parametrize(
    ("score", "grade"),
    [
        *[(0, 0), (16, 0), (17, 1), (33, 1), (34, 2), (49.999, 2)],
        *[(50, 3), (62, 3), (62.5, 4), (75, 4), (87, 4), (87.5, 5), (100, 5)],
    ],
)
def test_the_grade_of_a_score(score: float, grade: int) -> None:
    assert sm2.grade(score) == grade
    assert (grade >= sm2.GOOD) == (score >= sm2.CORRECT_FROM)


@given(GRADES)
def test_every_sequence_is_what_the_book_says(grades: list[int]) -> None:
    """The published steps in decimals, with the bounds that are ours."""
    ease, interval, repetitions = Decimal("2.5"), 1, 0
    expected: list[tuple[int, int]] = []
    for q in grades:
        if q < 3:
            repetitions = 0
        else:
            ease += Decimal("0.1") - (5 - q) * (Decimal("0.08") + (5 - q) * Decimal("0.02"))
            ease = min(Decimal("2.5"), max(Decimal("1.3"), ease))
            repetitions += 1
        interval = {0: 1, 1: 1, 2: 6}.get(repetitions) or min(36_500, math.ceil(interval * ease))
        expected.append((int(ease * 100), interval))
    assert after(grades) == expected


@given(ITEMS, st.integers(0, 5))
def test_an_item_is_within_the_bounds_whatever_it_was(item: sm2.Item, grade: int) -> None:
    now = sm2.review(item, grade)
    assert 130 <= now.ease <= 250
    assert 1 <= now.interval <= 36_500
    assert now.repetitions == (item.repetitions + 1 if grade >= 3 else 0)


@given(st.lists(st.tuples(ITEMS, st.integers(0, 5)), min_size=1, max_size=20))
def test_arrays_give_what_numbers_give(reviews: list[tuple[sm2.Item, int]]) -> None:
    items, grades = zip(*reviews, strict=True)
    arrays = sm2.Item(*map(np.array, zip(*items, strict=True)))
    found = sm2.review(arrays, np.array(grades), simulation.NUMPY)
    expected = [sm2.review(item, grade) for item, grade in reviews]
    assert list(zip(*(field.tolist() for field in found), strict=True)) == expected


@given(GRADES)
def test_the_interval_and_the_last_answer_tell_enough_of_the_count(grades: list[int]) -> None:
    counted = derived = sm2.NEW
    last: bool | None = None
    for grade in grades:
        repetitions = sm2.repetitions(derived.interval, last)
        assert repetitions == min(counted.repetitions, 2)
        counted, derived = sm2.review(counted, grade), sm2.review(derived._replace(repetitions=repetitions), grade)
        assert counted[:2] == derived[:2]
        last = grade >= sm2.GOOD
