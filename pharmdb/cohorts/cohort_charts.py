"""Charts of a cohort: learning, tags, retention, activity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pharmdb.learning.charts import CORRECT, WRONG, Picture

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Points based on fewer attempts are not drawn, because they are not meaningful.
_FEWEST = 100


def learning(data: pd.DataFrame) -> Picture:
    """`data` is CohortReport.learning."""
    # With few learners left, the curve would show who they are, not the effect of practice.
    least = max(_FEWEST, data["attempts"].max() / 20 if len(data) else 0)
    shown = data[data["attempts"] >= least]

    def draw(axes: Axes) -> None:
        axes.set_title("Learning curve: accuracy by practice")
        axes.set_xlabel("number of attempts by the learner")
        axes.set_ylabel("accuracy (% correct)")
        if shown.empty:
            _nothing(axes)
            return
        middle = shown["attempt"] + 4.5
        _band(axes, middle, shown)
        axes.set_xlim(0, float(middle.max()) + 10)

    return Picture(f"Learning: {_ends(shown)} of {int(data['attempts'].sum())} attempts, in groups of ten", draw)


def retention(data: pd.DataFrame) -> Picture:
    """`data` is CohortReport.retention."""
    shown = data[data["attempts"] >= _FEWEST]

    def draw(axes: Axes) -> None:
        axes.set_title("Retention: accuracy by time since the last answer")
        axes.set_xlabel("days since the last answer to the same entity")
        axes.set_ylabel("accuracy (% correct)")
        if shown.empty:
            _nothing(axes)
            return
        places = shown["since"].reset_index(drop=True).index.to_series()
        _band(axes, places, shown)
        axes.set_xticks(list(places), list(shown["since"]))

    return Picture(f"Retention: {_ends(shown)} of {int(data['attempts'].sum())} repeated attempts", draw)


def by_tag(data: pd.DataFrame) -> Picture:
    """`data` is CohortReport.by_tag."""
    labels = list(data["tag"])
    accuracy = list(data["accuracy"].astype("float64"))
    # Blocks alternate between two colours; a block's name is shown at its first tag.
    number = (data["course_block"] != data["course_block"].shift()).cumsum()
    heads = [block if new else "" for block, new in zip(data["course_block"], number.diff() != 0, strict=True)]

    def draw(axes: Axes) -> None:
        mean = 100 * data["correct"].sum() / max(1, data["answers"].sum())
        axes.set_title(f"Accuracy by tag (line: all tags, {mean:.0f} %)")
        axes.set_xlabel("accuracy (% correct)")
        axes.set_ylabel("tag")
        if not labels:
            _nothing(axes)
            return
        rows = range(len(labels))
        axes.barh(rows, accuracy, zorder=0, color=["#9ecae1" if n % 2 else "#c6dbef" for n in number])
        for row, (share, head) in enumerate(zip(accuracy, heads, strict=True)):
            axes.text(99.5, row, f"{share:.0f}", ha="right", va="center", fontsize=7, color="#333333")
            axes.text(1, row, head, va="center", fontsize=7.5, weight="bold")
        axes.axvline(mean, color=WRONG, linewidth=1.2, zorder=0.5)
        axes.set_yticks(rows, labels, fontsize=7.5)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlim(0, 100)

    blocks = data["course_block"].nunique()
    return Picture(
        f"Accuracy by tag: {len(labels)} tags in {blocks} blocks", draw, (8, 1.6 + 0.17 * max(len(labels), 8))
    )


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def activity(data: pd.DataFrame) -> Picture:
    """`data` is CohortReport.activity."""
    total = int(data["attempts"].sum())

    def draw(axes: Axes) -> None:
        axes.set_title("Activity: attempts by weekday and hour")
        axes.set_xlabel("hour of the day (UTC)")
        axes.set_ylabel("weekday")
        cells = [[0] * 24 for _ in _WEEKDAYS]
        for weekday, hour, attempts in data.itertuples(index=False):
            cells[weekday - 1][hour] = attempts
        image = axes.imshow(cells, aspect="auto", cmap="Blues", vmin=0)
        axes.set_yticks(range(7), _WEEKDAYS)
        axes.set_xticks(range(0, 24, 2), [f"{hour:02d}" for hour in range(0, 24, 2)])
        axes.figure.colorbar(image, ax=axes, label="attempts")

    return Picture(f"Activity: {total} attempts in {len(data)} of 168 hours of the week", draw)


def _band(axes: Axes, places: pd.Series[float], data: pd.DataFrame) -> None:
    """Draws accuracy as a line with its 95 % confidence band (1.96 standard errors of a proportion)."""
    share = data["correct"].to_numpy() / data["attempts"].to_numpy()
    error = 1.96 * (share * (1 - share) / data["attempts"].to_numpy()) ** 0.5
    axes.fill_between(places, 100 * (share - error), 100 * (share + error), color="#9ecae1", label="95 % interval")
    axes.plot(places, 100 * share, color=CORRECT, marker="o", markersize=3.5, label="accuracy")
    low, high = 100 * min(share - error), 100 * max(share + error)
    # The curve fills the chart; the axis shows which part of 0 to 100 it covers.
    axes.set_ylim(max(0, low - 5), min(100, high + 5))
    axes.grid(axis="y", color="#dddddd")
    axes.legend(loc="best")


def _ends(data: pd.DataFrame) -> str:
    if data.empty:
        return "too few"
    return f"from {data['accuracy'].iloc[0]} to {data['accuracy'].iloc[-1]} % correct"


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "too few attempts", transform=axes.transAxes, ha="center", va="center", color="#555555")
