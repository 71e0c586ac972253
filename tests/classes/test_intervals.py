"""Wilson's interval has the properties that define it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmdb.classes.intervals import Z, against, wilson

counts = st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def ends(correct: int, total: int) -> tuple[float, float]:
    low, high = wilson(np.array([correct]), np.array([total]))
    return float(low[0]), float(high[0])


@given(counts)
def test_each_end_is_a_share_that_the_score_test_just_does_not_reject(found: tuple[int, int]) -> None:
    correct, total = found
    low, high = ends(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            error = Z * (end * (1 - end) / total) ** 0.5
            assert abs(correct / total - end) == pytest.approx(error, rel=1e-5, abs=1e-9)


@given(counts)
def test_wrong_answers_have_the_mirrored_interval(found: tuple[int, int]) -> None:
    correct, total = found
    low, high = ends(correct, total)
    other_low, other_high = ends(total - correct, total)
    assert (low, high) == pytest.approx((1 - other_high, 1 - other_low), abs=1e-12)


@given(counts)
def test_more_of_the_same_gives_a_narrower_interval(found: tuple[int, int]) -> None:
    correct, total = found
    low, high = ends(correct, total)
    more_low, more_high = ends(4 * correct, 4 * total)
    assert more_high - more_low < high - low


def test_a_published_example() -> None:
    # Newcombe, "Two-Sided Confidence Intervals for the Single Proportion", Statistics in Medicine 17, 1998, table I.
    for correct, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert ends(correct, total) == pytest.approx((low, high), abs=5e-5)


def test_without_attempts_there_is_no_interval() -> None:
    low, high = wilson(np.array([0, 3]), np.array([0, 6]))
    assert np.isnan([low[0], high[0]]).all()
    assert against(low, high, 0.99) == ["too few", "below"]
    assert against(low, high, 0.01) == ["too few", "above"]
    assert against(low, high, 0.5) == ["too few", ""]
