"""Tables of when and how much a class works, and how it learns and remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pharmdb.classes import counting, definitions
from pharmdb.classes.counting import GROUP, WEEK_BEGINS, Counts, Tally
from pharmdb.classes.intervals import percent, with_shares
from pharmdb.classes.population import Population, Terms
from pharmdb.classes.streaming import Attempts

if TYPE_CHECKING:
    import pandas as pd


def _counted(tally: Tally, name: str, least: int) -> pd.DataFrame:
    """`name` is the key's; with learners, attempts, correct and their shares."""
    import pandas as pd

    keys, attempts, correct, learners = tally.sums()
    data = pd.DataFrame({name: keys, "learners": learners, "attempts": attempts, "correct": correct})
    return with_shares(data, "attempts", least)


def period(attempts: Attempts, population: Population, terms: Terms, hidden: bool) -> pd.DataFrame:
    """The table `period`: what the report is restricted to; learners have pseudonyms if they are `hidden`."""
    import pandas as pd

    words = [population.words]
    words += [f"{name} {value}" for name in ("since", "until", "module", "block") if (value := getattr(terms, name))]
    times = np.array([attempts.oldest, attempts.newest]) if attempts.count else np.full(2, np.iinfo(np.int64).min)
    since, until = (pd.DatetimeIndex([one]).tz_localize("UTC").floor("s") for one in times.view("datetime64[us]"))
    names = "pseudonyms" if hidden else "e-mail addresses"
    row = {"since": since, "until": until, "time_zone": terms.time_zone, "counted": ", ".join(words)}
    return definitions.table("period", pd.DataFrame(row | {"least": terms.min_attempts, "names": names}, index=[0]))


def overview(attempts: Attempts, counts: Counts, learners: int, least: int) -> pd.DataFrame:
    """The table `overview`: `learners` are in the class."""
    import pandas as pd

    of = counts.learners
    median, _ = counting.medians(counts.gaps)
    row = {
        "learners": learners,
        "active": int((of.attempts > 0).sum()),
        "items": int((counts.items.attempts > 0).sum()),
        "attempts": attempts.count,
        "correct": int(of.correct.sum()),
        "median_seconds": median,
    }
    return definitions.table("overview", with_shares(pd.DataFrame([row]), "attempts", least))


def weeks(counts: Counts, least: int) -> pd.DataFrame:
    """The table `weeks`: weeks with attempts, in order."""
    data = _counted(counts.weeks, "week", least)
    _, medians = counting.medians(counts.gaps)
    median = [medians.get(week, float("nan")) for week in data["week"].tolist()]
    days = (data["week"].to_numpy() * 7 - WEEK_BEGINS).astype("datetime64[D]").astype("datetime64[s]")
    return definitions.table("weeks", data.assign(week=days, median_seconds=median))


def curve(counts: Counts, least: int) -> pd.DataFrame:
    """The table `curve`: by tens of a learner's attempts."""
    data = _counted(counts.curve, "attempt", least)
    return definitions.table("curve", data.assign(attempt=data["attempt"] * GROUP + 1))


def retention(counts: Counts, least: int) -> pd.DataFrame:
    """The table `retention`: by days since the previous answer."""
    data = _counted(counts.retention, "days", least)
    names = list(counting.spans())
    return definitions.table("retention", data.assign(days=[names[span] for span in data["days"].tolist()]))


def hours(counts: Counts) -> pd.DataFrame:
    """The table `hours`: by weekday and hour."""
    data = _counted(counts.hours, "weekday", 1)
    weekday = data["weekday"]
    return definitions.table("hours", data.assign(weekday=weekday // 24 + 1, hour=weekday % 24))


def scores(attempts: Attempts, counts: Counts) -> pd.DataFrame:
    """The table `scores`: by ten points."""
    import pandas as pd

    of = counts.learners.attempts
    active = of > 0
    mean = np.minimum(attempts.score_sum[active] / of[active] // 10, 9).astype(np.int64)
    names = [f"{low} to {low + 9 if low < 90 else 100}" for low in range(0, 100, 10)]
    data = pd.DataFrame(
        {
            "score": names,
            "attempts": attempts.scores,
            "share": percent(attempts.scores / max(attempts.count, 1)),
            "learners": np.bincount(mean, minlength=10),
        }
    )
    return definitions.table("scores", data)
