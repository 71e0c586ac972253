"""Shares with their 95 % intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]

# The two-sided 95 % quantile of the standard normal distribution.
Z = 1.959963984540054


def wilson(correct: Array, total: Array) -> tuple[Array, Array]:
    """The 95 % score interval of a share (Wilson, "Probable Inference, the Law of Succession, and Statistical
    Inference", Journal of the American Statistical Association 22, 1927), as two shares from 0 to 1.

    With n = total and p = correct / n: (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n). NaN if total is 0.
    """
    n = np.where(np.asarray(total) > 0, total, np.nan).astype(np.float64)
    share = np.asarray(correct) / n
    middle = share + Z * Z / (2 * n)
    width = Z * np.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    # Rounding may lead a little beyond the ends.
    return np.clip((middle - width) / scale, 0, share), np.clip((middle + width) / scale, share, 1)


def percent(share: Array) -> Array:
    """In percent, to one decimal place."""
    found: Array = np.round(100 * np.asarray(share, dtype=np.float64), 1)
    return found


def with_shares(data: pd.DataFrame, of: str, least: int = 1) -> pd.DataFrame:
    """Adds accuracy, low and high (percent) from `correct` and the total; missing below `least` in total."""
    correct, total = (data[name].to_numpy(dtype=np.float64) for name in ("correct", of))
    total = np.where(total >= max(least, 1), total, np.nan)
    low, high = wilson(correct, total)
    return data.assign(accuracy=percent(correct / total), low=percent(low), high=percent(high))


def against(low: Array, high: Array, reference: float) -> list[str]:
    """Whether an interval lies above or below a share of the class; "too few" without an interval."""
    words = []
    for one, other in zip(low.tolist(), high.tolist(), strict=True):
        if one != one:
            words.append("too few")
        else:
            words.append("above" if one > reference else "below" if other < reference else "")
    return words
