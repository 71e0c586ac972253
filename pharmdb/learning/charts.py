"""PNG charts: progress by tag, activity by day. matplotlib is imported only when a chart is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Two colours that people with any form of colour blindness can tell apart (Okabe and Ito).
CORRECT, WRONG = "#0072b2", "#e69f00"
DPI = 100


@dataclass(frozen=True)
class Picture:
    """A PNG image that Jupyter displays; `str()` describes it in words."""

    text: str
    draw: Callable[[Axes], None] = field(repr=False)
    size: tuple[float, float] = (8, 4)

    @cached_property
    def png(self) -> bytes:
        from matplotlib.figure import Figure

        figure = Figure(figsize=self.size, dpi=DPI, layout="constrained")
        self.draw(figure.subplots())
        buffer = BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return self.text


def progress(data: pd.DataFrame) -> Picture:
    """`data` is Inspection.progress."""
    labels = list(data["module"] + " / " + data["course_block"] + " / " + data["tag"])
    correct, wrong = list(data["correct"].astype(int)), list(data["wrong"].astype(int))

    def draw(axes: Axes) -> None:
        axes.set_title("Progress: answers by tag")
        axes.set_xlabel("answers\n(an attempt counts once for each tag)")
        axes.set_ylabel("module / block / tag")
        rows = range(len(labels))
        axes.barh(rows, correct, color=CORRECT, label="correct")
        axes.barh(rows, wrong, left=correct, color=WRONG, hatch="//", edgecolor="white", label="wrong")
        axes.set_yticks(rows, labels, parse_math=False)
        axes.set_ylim(max(len(labels), 1) - 0.4, -0.6)
        axes.set_xlim(0, max(1, *(c + w for c, w in zip(correct, wrong, strict=True)), 1) * 1.05)
        whole_numbers(axes.xaxis)
        if sum(correct) + sum(wrong):
            axes.legend(loc="best")
        else:
            note(axes, "no answers yet")

    total = sum(correct) + sum(wrong)
    text = (
        f"Progress: {len(labels)} tags, {sum(correct)} of {total} answers correct (an attempt counts once for each tag)"
    )
    return Picture(text, draw, (8, 1.6 + 0.32 * max(len(labels), 4)))


def activity(data: pd.DataFrame, period: str) -> Picture:
    """`data` is Inspection.activity; `period` says in words which days it covers."""
    when = data["day"]
    attempts = list(data["attempts"].astype(int))
    accuracy = data["accuracy"].astype("float64")

    def draw(axes: Axes) -> None:
        axes.set_title(f"Attempts and accuracy by day, {period}")
        axes.set_xlabel("day (UTC)")
        axes.set_ylabel("attempts per day")
        bars = axes.bar(when, attempts, color="#9ecae1")
        whole_numbers(axes.yaxis)
        if not attempts:
            axes.set_xticks([])
            note(axes, "no attempts in this period")
            return
        right = axes.twinx()
        (line,) = right.plot(when, accuracy, color=CORRECT, marker="o", markersize=3, linewidth=1)
        right.set_ylabel("accuracy (% correct)")
        right.set_ylim(0, 105)
        axes.tick_params(axis="x", rotation=30)
        right.legend([bars, line], ["attempts", "accuracy"], loc="lower left")

    return Picture(f"Activity: {sum(attempts)} attempts on {len(attempts)} of the {period}", draw)


def whole_numbers(axis: Any) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def note(axes: Axes, text: str) -> None:
    """Says in a chart without data why it has none."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555", fontsize=12)
