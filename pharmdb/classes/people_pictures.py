"""Charts of items, scores and learners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pharmdb.classes.drawing import BARS, GRID, drawn
from pharmdb.classes.risk import ORDER
from pharmdb.learning.charts import CORRECT, WRONG, Picture, whole_numbers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_COLOURS = dict(zip(ORDER, ("#d55e00", "#cc79a7", "#999999"), strict=True))
# The most items that are named in the chart.
_NAMED = 8


def scores(data: pd.DataFrame) -> Picture:
    """`data` is the table `scores`."""
    total = int(data["attempts"].sum())

    def draw(axes: Axes) -> None:
        axes.set_xlabel("score (points of 100)")
        axes.set_ylabel("attempts, or learners by mean score (%)")
        places = np.arange(len(data))
        learners = 100 * data["learners"] / max(int(data["learners"].sum()), 1)
        axes.bar(places - 0.2, data["share"], width=0.4, color=BARS, label="attempts")
        axes.bar(places + 0.2, learners, width=0.4, color=CORRECT, label="learners, by their mean score")
        axes.set_xticks(places, list(data["score"]), fontsize=8)
        axes.legend(loc="best")

    low = int(data["attempts"].head(5).sum())
    text = f"{total} attempts, {low} of them below 50 points"
    return drawn("Scores of attempts and of learners", text, draw, empty="" if total else "no attempts")


def items(data: pd.DataFrame) -> Picture:
    """`data` is the table `items`."""
    shown = data[data["discrimination"].notna()]
    doubtful = shown["rating"] != ""

    def draw(axes: Axes) -> None:
        axes.set_xlabel("difficulty (% of learners right at their first answer)")
        axes.set_ylabel("discrimination (correlation with the rest)")
        for those, colour, words in ((~doubtful, CORRECT, "nothing doubtful"), (doubtful, WRONG, "doubtful")):
            found = shown[those]
            axes.scatter(
                found["difficulty"].astype("float64"),
                found["discrimination"].astype("float64"),
                s=14,
                color=colour,
                marker="o" if words.startswith("n") else "^",
                label=f"{words}: {len(found)}",
            )
        _name(axes, shown[doubtful].sort_values("discrimination", kind="stable"))
        axes.axhline(0, color="#333333", linewidth=0.8)
        axes.set_xlim(0, 100)
        axes.grid(color=GRID)
        axes.legend(loc="best", fontsize=8)

    text = f"{len(shown)} of {len(data)} items, {int(doubtful.sum())} of them doubtful"
    empty = "no attempts" if data.empty else "too few learners for each item" if shown.empty else ""
    return drawn("Items: difficulty and discrimination", text, draw, empty=empty, size=(8, 5))


def _name(axes: Axes, worst: pd.DataFrame) -> None:
    """Names some items, as far as there is room."""
    named: list[tuple[float, float]] = []
    spread = max(float(worst["discrimination"].max() - worst["discrimination"].min()), 0.2) if len(worst) else 1.0
    for id_, x, y in zip(worst["entity_id"], worst["difficulty"], worst["discrimination"], strict=True):
        if len(named) < _NAMED and all(abs(y - other) > spread / 12 or abs(x - at) > 50 for at, other in named):
            named.append((x, y))
            left = x > 50
            axes.annotate(
                id_[:30],
                (x, y),
                (-6 if left else 6, -3),
                textcoords="offset points",
                ha="right" if left else "left",
                fontsize=7,
                parse_math=False,
            )


def scale(items: pd.DataFrame, learners: pd.DataFrame) -> Picture:
    """Abilities and difficulties on the one scale of the Rasch model; the tables `items` and `learners`."""
    logits = items["logit"].dropna().to_numpy(dtype=np.float64)
    ability = learners["ability"].dropna().to_numpy(dtype=np.float64)

    def draw(axes: Axes) -> None:
        axes.set_xlabel("logits: easier items and weaker learners on the left")
        axes.set_ylabel("items below, learners above")
        both = np.concatenate([logits, ability])
        edges = np.arange(np.floor(both.min() * 4) / 4, both.max() + 0.5, 0.25)
        for values, sign, colour, words in ((ability, 1, CORRECT, "learners"), (logits, -1, WRONG, "items")):
            height, _ = np.histogram(values, edges)
            axes.bar(edges[:-1], sign * height, 0.23, align="edge", color=colour, label=f"{len(values)} {words}")
        axes.axhline(0, color="#333333", linewidth=0.8)
        axes.yaxis.set_major_formatter(lambda value, place: f"{abs(value):.0f}")
        whole_numbers(axes.yaxis)
        axes.legend(loc="best")

    text = f"{len(ability)} learners and {len(logits)} items on one scale"
    empty = "" if len(logits) else "too few answers for estimates"
    return drawn("Abilities and difficulties in the Rasch model", text, draw, empty=empty)


def at_risk(learners: pd.DataFrame) -> Picture:
    """`learners` is the table of this name."""
    active = learners[learners["accuracy"].notna()]
    never = int((learners["attempts"] == 0).sum())

    def draw(axes: Axes) -> None:
        axes.set_xlabel("days since the learner's last attempt")
        axes.set_ylabel("accuracy (% correct)")
        first = active["risk"].str.partition(", ")[0]
        for risk, colour, mark in (("", CORRECT, "o"), *((risk, _COLOURS[risk], "^") for risk in ORDER)):
            found = active[first == risk]
            x, y = found["days_ago"].astype("int64"), found["accuracy"].astype("float64")
            axes.scatter(x, y, s=16, color=colour, marker=mark, label=f"{risk or 'no risk'}: {len(found)}", alpha=0.8)
        whole_numbers(axes.xaxis)
        axes.grid(color=GRID)
        axes.legend(loc="best", fontsize=8)

    risky = int((learners["risk"] != "").sum())
    text = f"{risky} of {len(learners)} learners, {never} of them without an attempt"
    empty = "no learners" if learners.empty else "too few attempts for an accuracy" if active.empty else ""
    return drawn("Learners at risk", text, draw, empty=empty)


def one(blocks: pd.DataFrame, known: bool) -> Picture:
    """`blocks` is the table `learner_blocks`; `known` says whether a learner was named."""
    shown = blocks[blocks["accuracy"].notna()]

    def draw(axes: Axes) -> None:
        rows = np.arange(len(shown))
        middle, low, high = (shown[name].to_numpy(dtype=np.float64) for name in ("accuracy", "low", "high"))
        axes.errorbar(
            middle, rows, xerr=[middle - low, high - middle], fmt="o", color=CORRECT, label="learner, 95 % interval"
        )
        axes.scatter(shown["class_accuracy"].astype("float64"), rows, marker="|", s=160, color=WRONG, label="class")
        names = [block if isinstance(block, str) else "not in the catalogue" for block in shown["course_block"]]
        axes.set_yticks(rows, names, parse_math=False)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0, 102)
        axes.set_xlabel("accuracy (% correct)")
        axes.set_ylabel("course block")
        axes.grid(axis="x", color=GRID)
        axes.legend(loc="best", fontsize=8)

    counts = {word: int((shown["against"] == word).sum()) for word in ("above", "below")}
    text = f"{len(shown)} blocks, {counts['above']} above and {counts['below']} below the class"
    empty = "no attempts" if blocks.empty else "too few attempts in each block" if shown.empty else ""
    empty = empty if known else "no learner was named: --user-email"
    size = (8, 2 + 0.28 * max(len(shown), 3))
    return drawn("One learner and the class, by course block", text, draw, empty=empty, size=size)
