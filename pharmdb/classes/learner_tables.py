"""Tables of the learners: each one, those at risk, and one of them beside the class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pharmdb.classes import definitions, risk
from pharmdb.classes.counting import Counts
from pharmdb.classes.intervals import Array, percent, with_shares

if TYPE_CHECKING:
    import pandas as pd

# What one learner is compared in.
MEASURES = ("attempts", "active_days", "accuracy", "mean_score", "ability", "days_ago", "streak", "longest_streak")


def at_risk(counts: Counts, names: list[str], least: int) -> pd.DataFrame:
    """The table `at_risk`; `names` are those of all learners in the class."""
    import pandas as pd

    rows = risk.found(counts.learners, names, counts.last_day, least)
    return definitions.table("at_risk", pd.DataFrame(rows, columns=list(definitions.TABLES["at_risk"])))


def learners(
    counts: Counts, names: list[str], score_sum: Array, ability: tuple[Array, Array], at_risk: pd.DataFrame, least: int
) -> pd.DataFrame:
    """The table `learners`, the most attempts first."""
    import pandas as pd

    of = counts.learners
    active = of.attempts > 0
    newest = np.where(active, of.newest, np.iinfo(np.int64).min).view("datetime64[us]")
    data = pd.DataFrame({"learner": names, "attempts": of.attempts, "correct": of.correct}).assign(
        mean_score=np.where(active, np.round(score_sum / np.maximum(of.attempts, 1), 1), np.nan),
        last_attempt=pd.DatetimeIndex(newest).tz_localize("UTC").floor("s"),
        days_ago=pd.array(np.where(active, counts.last_day - of.last_day, 0), dtype="Int64"),
        active_days=of.days,
        streak=of.streak,
        longest_streak=of.longest,
        ability=np.round(ability[0], 2) + 0.0,
        ability_error=np.round(ability[1], 2),
        risk=risk.by_learner(at_risk, names),
    )
    data.loc[~active, "days_ago"] = pd.NA
    data = with_shares(data, "attempts", least)
    return definitions.table("learners", data.sort_values(["attempts", "learner"], ascending=[False, True]))


def one(learners: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table `learner`: one learner beside the active ones."""
    import pandas as pd

    own = learners[learners["learner"] == name].iloc[0]
    active = learners[learners["attempts"] > 0]
    rows = []
    for measure in MEASURES:
        values = active[measure].astype("Float64").dropna()
        number = own[measure]
        known = not pd.isna(number) and len(values) > 0
        rows.append(
            (
                measure,
                definitions.TABLES["learners"][measure].unit,
                float(number) if not pd.isna(number) else None,
                round(float(values.median()), 2) if len(values) else None,
                float(percent(np.array((values < number).mean()))) if known else None,
            )
        )
    return definitions.table("learner", pd.DataFrame(rows, columns=list(definitions.TABLES["learner"])))
