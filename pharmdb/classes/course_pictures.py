"""Charts of what a class works on, and how it learns: weeks, blocks, tags, learning, retention, hours, reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pharmdb.classes.drawing import BARS, GRID, PALE, drawn
from pharmdb.learning.charts import CORRECT, WRONG, Picture, whole_numbers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Tags in the chart: those with the lowest accuracy.
MOST_TAGS = 40


def weeks(data: pd.DataFrame) -> Picture:
    """`data` is the table `weeks`."""

    def draw(axes: Axes) -> None:
        axes.set_xlabel("week, from its Monday on")
        axes.set_ylabel("active learners")
        bars = axes.bar(data["week"], data["learners"], width=5, color=BARS)
        whole_numbers(axes.yaxis)
        right = axes.twinx()
        line = _line(right, data["week"], data)
        right.set_ylabel("accuracy (% correct)")
        right.set_ylim(0, 105)
        axes.tick_params(axis="x", rotation=30)
        right.legend([bars, line], ["active learners", "accuracy, with its 95 % interval"], loc="lower left")

    total = int(data["attempts"].sum())
    text = f"{total} attempts in {len(data)} weeks{_ends(data)}"
    return drawn("Active learners and accuracy by week", text, draw, empty=_none(data))


def _line(axes: Axes, places: Any, data: pd.DataFrame) -> Any:
    """The accuracy with its interval; where it is missing, the line has a gap."""
    low, high, middle = (data[name].astype("float64") for name in ("low", "high", "accuracy"))
    axes.fill_between(places, low, high, color=CORRECT, alpha=0.2, linewidth=0)
    (line,) = axes.plot(places, middle, color=CORRECT, marker="o", markersize=3.5, linewidth=1.2)
    return line


def _ends(data: pd.DataFrame) -> str:
    known = data["accuracy"].dropna()
    return f", from {known.iloc[0]} to {known.iloc[-1]} % correct" if len(known) else ", too few for an accuracy"


def _compared(axes: Axes, labels: list[str], data: pd.DataFrame, whole: float, height: float) -> None:
    """Accuracies as points with their intervals, and the class's as a line."""
    rows = np.arange(len(labels))
    middle, low, high = (data[name].to_numpy(dtype=np.float64) for name in ("accuracy", "low", "high"))
    for words, colour in (("above", CORRECT), ("", "#666666"), ("below", WRONG)):
        those = np.array([value == words for value in data["against"]], dtype=bool)
        spread = [middle[those] - low[those], high[those] - middle[those]]
        axes.errorbar(
            middle[those], rows[those], xerr=spread, fmt="o", markersize=4, color=colour, label=words or "not different"
        )
    axes.axvline(whole, color="#333333", linewidth=1, linestyle="--", label=f"class, {whole:.0f} %")
    axes.set_yticks(rows, labels, parse_math=False)
    axes.set_ylim(max(len(labels), 1) - 0.4, -0.6)
    axes.set_xlabel("accuracy (% correct), with its 95 % interval")
    axes.grid(axis="x", color=GRID)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / height), ncols=4, fontsize=8)


def blocks(data: pd.DataFrame, whole: float) -> Picture:
    """`data` is the table `blocks`, `whole` the class's accuracy in percent."""
    shown = data[data["accuracy"].notna()]
    labels = [_name(block, "not in the catalogue") for block in shown["course_block"]]

    def draw(axes: Axes) -> None:
        axes.set_ylabel("course block")
        _compared(axes, labels, shown, whole, size[1])

    text = f"{len(labels)} of {len(data)} blocks{_below(shown)}"
    size = (8, 2.2 + 0.28 * max(len(labels), 3))
    return drawn("Accuracy by course block", text, draw, empty=_too_few(data, shown), size=size)


def tags(data: pd.DataFrame, whole: float) -> Picture:
    """`data` is the table `tags`: the ones with the lowest accuracy are drawn."""
    known = data[data["accuracy"].notna()]
    shown = known.sort_values("accuracy", kind="stable").head(MOST_TAGS)
    labels = [_name(tag, "not in the catalogue") for tag in shown["tag"]]

    def draw(axes: Axes) -> None:
        axes.set_ylabel("tag")
        _compared(axes, labels, shown, whole, size[1])

    title = f"Accuracy by tag, the {len(shown)} lowest of {len(known)}" if len(known) else "Accuracy by tag"
    size = (8, 2.2 + 0.2 * max(len(labels), 4))
    return drawn(title, f"{len(known)} tags{_below(known)}", draw, empty=_too_few(data, shown), size=size)


def _name(value: Any, missing: str) -> str:
    return value if isinstance(value, str) else missing


def _below(data: pd.DataFrame) -> str:
    count = {word: int((data["against"] == word).sum()) for word in ("above", "below")}
    return f", {count['above']} above and {count['below']} below the class"


def _none(data: pd.DataFrame) -> str:
    return "no attempts" if data.empty else ""


def _too_few(data: pd.DataFrame, shown: pd.DataFrame) -> str:
    return _none(data) or ("too few attempts for an accuracy" if shown.empty else "")


def curve(data: pd.DataFrame) -> Picture:
    """`data` is the table `curve`."""
    known = data[data["accuracy"].notna()]
    # With few learners left, the curve would show who they are, not the effect of practice.
    shown = known[known["learners"] >= max(known["learners"].max() / 20, 1)] if len(known) else known

    def draw(axes: Axes) -> None:
        axes.set_xlabel("number of attempts by the learner")
        axes.set_ylabel("learners behind the point")
        middle = shown["attempt"] + 4.5
        bars = axes.bar(middle, shown["learners"], width=8, color=PALE)
        whole_numbers(axes.yaxis)
        right = axes.twinx()
        line = _line(right, middle, shown)
        right.set_ylabel("accuracy (% correct)")
        _close(right, shown)
        right.legend([bars, line], ["learners", "accuracy, with its 95 % interval"], loc="center right")

    learners = f", {shown['learners'].iloc[0]} to {shown['learners'].iloc[-1]} learners" if len(shown) else ""
    text = f"in groups of ten attempts{_ends(shown)}{learners}"
    return drawn("Learning curve: accuracy by practice", text, draw, empty=_too_few(data, shown))


def _close(axes: Axes, data: pd.DataFrame) -> None:
    """The axis shows the part of 0 to 100 that the curve covers."""
    low, high = float(data["low"].min()), float(data["high"].max())
    axes.set_ylim(max(0, low - 15), min(102, high + 5))


def retention(data: pd.DataFrame) -> Picture:
    """`data` is the table `retention`."""
    shown = data[data["accuracy"].notna()]

    def draw(axes: Axes) -> None:
        axes.set_xlabel("days since the learner's previous answer to the same item")
        axes.set_ylabel("accuracy (% correct)")
        places = np.arange(len(shown))
        _line(axes, places, shown)
        for place, learners, high in zip(places, shown["learners"], shown["high"], strict=True):
            axes.annotate(f"{learners}", (place, high), (0, 5), textcoords="offset points", ha="center", fontsize=8)
        axes.set_xticks(places, list(shown["days"]))
        axes.margins(x=0.05)
        axes.grid(axis="y", color=GRID)
        _close(axes, shown)
        axes.text(
            0.99, 0.02, "numbers: learners; band: 95 % interval", transform=axes.transAxes, ha="right", fontsize=8
        )

    total = int(data["attempts"].sum())
    empty = "no item was attempted twice" if data.empty else "too few repeated attempts" if shown.empty else ""
    text = f"{total} repeated attempts{_ends(shown)}"
    return drawn("Retention: accuracy by time since the last answer", text, draw, empty=empty)


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def hours(data: pd.DataFrame, time_zone: str) -> Picture:
    """`data` is the table `hours`."""
    total = int(data["attempts"].sum())

    def draw(axes: Axes) -> None:
        axes.set_xlabel(f"hour of the day ({time_zone})")
        axes.set_ylabel("weekday")
        cells = np.zeros((7, 24))
        cells[data["weekday"] - 1, data["hour"]] = data["attempts"]
        image = axes.imshow(cells, aspect="auto", cmap="Blues", vmin=0)
        axes.set_yticks(range(7), _WEEKDAYS)
        axes.set_xticks(range(0, 24, 2), [f"{hour:02d}" for hour in range(0, 24, 2)])
        axes.figure.colorbar(image, ax=axes, label="attempts")

    text = f"{total} attempts in {len(data)} of 168 hours"
    return drawn("Attempts by weekday and hour", text, draw, empty=_none(data))


def forecast(data: pd.DataFrame) -> Picture:
    """`data` is the table `forecast`."""
    total, waiting = int(data["reviews"].sum()), int(data["waiting"].max()) if len(data) else 0
    overdue = waiting - total

    def draw(axes: Axes) -> None:
        axes.set_xlabel("day")
        axes.set_ylabel("reviews that become due")
        axes.bar(data["day"], data["reviews"], color=BARS)
        whole_numbers(axes.yaxis)
        axes.tick_params(axis="x", rotation=30)

    text = f"{total} become due, {overdue} are overdue before"
    empty = "no reviews" if waiting == 0 else ""
    return drawn(f"Reviews of the next 30 days ({overdue} overdue before)", text, draw, empty=empty)
