"""The chart of docs/scale.csv: the cost of each call by number of attempts, with logarithmic axes.

`python -m benchmarks.scale_picture` redraws it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.ground import DIALECTS
from benchmarks.scale import Point, read
from pharmdb import settings

POINTS = settings.SOURCE / "docs" / "scale.csv"
PICTURE = settings.SOURCE / "docs" / "scale.png"

# Okabe and Ito's colours, which colour-blind people can tell apart, with a different marker for each.
_GROUPS = {
    "one user's rows": ("#0072B2", "o", ("user by e-mail", "50 due", "history, newest 50", "record an attempt")),
    "all rows": ("#D55E00", "s", ("count(*)", "inspect", "doctor", "frame of all attempts", "cohort")),
}
_NAMES = {
    "history, newest 50": "newest 50 attempts",
    "50 due": "50 due reviews",
    "frame of all attempts": "frame of all",
    "cohort": "make the cohort",
}


def draw(points: list[Point], path: Path) -> None:
    """Draws one panel for each database, side by side with the same scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.2), layout="constrained")
    panels = figure.subplots(1, len(DIALECTS), sharey=True)
    figure.suptitle(
        "Time per call by number of attempts: one user's rows (blue, circles), all rows (orange, squares)",
        x=0.01,
        ha="left",
        fontsize=12,
    )
    for dialect, axes in zip(DIALECTS, panels, strict=True):
        _panel(axes, dialect, [p for p in points if p.database == dialect])
    drawn = [p for p in points if any(p.work in works for _, _, works in _GROUPS.values())]
    panels[0].set_ylim(min(p.low for p in drawn) / 2, max(p.high for p in drawn) * 2)
    panels[0].set_ylabel("time per call")
    figure.savefig(path, dpi=110)


def _panel(axes: Any, dialect: str, points: list[Point]) -> None:
    sizes = sorted({p.attempts for p in points})
    ends: list[tuple[float, float, str, str]] = []
    for group, (colour, marker, works) in _GROUPS.items():
        for work in works:
            found = sorted((p for p in points if p.work == work), key=lambda p: p.attempts)
            if not found:
                continue
            x, y = [p.attempts for p in found], [p.median for p in found]
            axes.plot(x, y, color=colour, marker=marker, markersize=4.5, linewidth=1.6, label=group)
            axes.fill_between(x, [p.low for p in found], [p.high for p in found], color=colour, alpha=0.15, linewidth=0)
            if x[-1] == sizes[-1]:
                ends.append((y[-1], x[-1], _NAMES.get(work, work), colour))
            else:
                above = {"textcoords": "offset points", "ha": "right", "color": colour, "fontsize": 9.5}
                axes.annotate(_NAMES.get(work, work), (x[-1], y[-1]), (2, 7), **above)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(dialect, loc="left", fontsize=12)
    axes.set_xlabel("attempts in the database")
    # Space for the names at the ends of the lines.
    axes.set_xlim(sizes[0] / 1.4, sizes[-1] * (sizes[-1] / sizes[0]) ** 0.52)
    axes.set_xticks(sizes, [_count(size) for size in sizes])
    axes.set_yticks([10.0**n for n in range(-6, 4)], [_time(10.0**n) for n in range(-6, 4)])
    axes.minorticks_off()
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    _label(axes, ends, sizes[-1])


def _label(axes: Any, ends: list[tuple[float, float, str, str]], last: float) -> None:
    """Puts each line's name beside its end, moved apart where two would overlap."""
    least = 10**0.34
    place = 0.0
    for y, x, name, colour in sorted(ends):
        place = max(y, place * least)
        axes.annotate(
            name,
            (x, y),
            (last * 1.35, place),
            color=colour,
            fontsize=9.5,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3},
        )


def _count(number: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if number >= size:
            return f"{number / size:g} {unit}"
    return str(number)


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size * 0.999:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds} s"


def main() -> None:
    draw(read(POINTS), PICTURE)


if __name__ == "__main__":
    main()
