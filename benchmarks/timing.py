"""Measures pharmdb and its baselines alternately in one run, so that a busy machine affects all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

HEAD = """\
| work | pharmdb: median (quartiles) | baseline | baseline: median (quartiles) | ratio | target | |
|---|---|---|---|---|---|---|"""

Seconds = list[float]


@dataclass(frozen=True)
class Baseline:
    """A baseline for pharmdb. `most`, `least`: bounds of pharmdb's figure divided by the baseline's; without either,
    the baseline is only shown. `more`: seconds that pharmdb may take in addition to `most`."""

    name: str
    seconds: Seconds
    most: float | None = None
    least: float | None = None
    more: float = 0


def line(work: str, ours: Seconds, *baselines: Baseline, rows: int = 0) -> str:
    """One line of the table: medians, quartiles and ratios; in rows per second if `rows` is given."""
    ratios, targets, judgements = [], [], []
    for baseline in baselines:
        ratio = statistics.median(ours) / statistics.median(baseline.seconds)
        ratio = 1 / ratio if rows else ratio
        ratios.append(f"{ratio:.2f}" if ratio >= 0.095 else f"{ratio:.3f}")
        more = f", plus {spread([baseline.more])}" if baseline.more else ""
        targets.append(
            f"≤ {baseline.most:.3g}{more}" if baseline.most else f"≥ {baseline.least:.3g}" if baseline.least else "–"
        )
        allowed = (baseline.most or 0) + baseline.more / statistics.median(baseline.seconds)
        met = (baseline.most is None or ratio <= allowed) and (baseline.least is None or ratio >= baseline.least)
        judgements.append("–" if targets[-1] == "–" else "met" if met else "**not met**")
    cells = [
        work,
        spread(ours, rows),
        *("<br>".join(cell) for cell in ([p.name for p in baselines], [spread(p.seconds, rows) for p in baselines])),
        *map("<br>".join, (ratios, targets, judgements)),
    ]
    return f"| {' | '.join(cells)} |"


def memory(work: str, ours: float, baseline: str, theirs: float, *, most: float, more: float = 0) -> str:
    """One line of the table for memory: at most `most` times the baseline's, plus `more` MiB."""
    target = f"≤ {most:.3g}" + (f", plus {more:.0f} MiB of SQLite cache" if more else "")
    met = "met" if ours <= most * theirs + more else "**not met**"
    return f"| {work} | {ours:,.0f} MiB | {baseline} | {theirs:,.0f} MiB | {ours / theirs:.2f} | {target} | {met} |"


def spread(seconds: Seconds, rows: int = 0) -> str:
    """The median, with quartiles if there is more than one measurement."""
    values = [rows / second for second in seconds] if rows else seconds
    middle = statistics.median(values)
    scale = [("s", 1.0, 0.5), ("ms", 1e3, 1e-3), ("µs", 1e6, 0.0)]
    unit, factor = ("rows/s", 1.0) if rows else next((unit, factor) for unit, factor, least in scale if middle >= least)

    def shown(value: float) -> str:
        value *= factor
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"

    if len(values) == 1:
        return f"{shown(middle)} {unit}"
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{shown(middle)} {unit} ({shown(low)} – {shown(high)})"


def alternate(rounds: int, *works: Callable[[], object], before: Callable[[], object] | None = None) -> list[Seconds]:
    """Runs each work in turn, `rounds` times after a warm-up round; returns the seconds of each.

    A single round has no warm-up. `before` runs before each work, and is not timed.
    """
    seconds: list[Seconds] = [[] for _ in works]
    for number in range(0 if rounds > 1 else 1, rounds + 1):
        for work, found in zip(works, seconds, strict=True):
            if before is not None:
                before()
            begin = time.perf_counter()
            work()
            if number:
                found.append(time.perf_counter() - begin)
    return seconds


def each(rounds: int, calls: int, *works: Callable[[], object]) -> list[Seconds]:
    """Seconds per call of each work: the mean of `calls` calls in a row, alternating between the works."""

    def many(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(calls):
                work()

        return run

    return [[seconds / calls for seconds in found] for found in alternate(rounds, *map(many, works))]
