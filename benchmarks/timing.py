"""Peers are measured alternately in one run, so that a busy machine disturbs all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One line of the table: medians and quartiles in seconds, and the ratio of the medians."""

    work: str
    ours: list[float]
    peer_name: str
    peer: list[float]
    target: float

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.peer)

    def __str__(self) -> str:
        met = "met" if self.ratio <= self.target else "**not met**"
        return (
            f"| {self.work} | {_spread(self.ours)} | {self.peer_name} | {_spread(self.peer)} "
            f"| {self.ratio:.2f} | ≤ {self.target:.3g} | {met} |"
        )


def _spread(seconds: list[float]) -> str:
    low, middle, high = statistics.quantiles(seconds, n=4)
    unit, factor = ("s", 1) if middle >= 0.5 else ("ms", 1000)
    return f"{middle * factor:.2f} {unit} ({low * factor:.2f} – {high * factor:.2f})"


def alternate(rounds: int, *works: Callable[[], object]) -> list[list[float]]:
    """Runs each work in turn, `rounds` times after one that doesn't count; the seconds of each."""
    seconds: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, found in zip(works, seconds, strict=True):
            begin = time.perf_counter()
            work()
            if number:
                found.append(time.perf_counter() - begin)
    return seconds
