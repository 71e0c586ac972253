"""The tables of a class report: each column's type, unit and definition, for the report itself and its documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pharmdb import reports

if TYPE_CHECKING:
    import pandas as pd


class Column(NamedTuple):
    """A column: its dtype, its unit ("" if it has none), and what it says."""

    dtype: str
    unit: str
    words: str


_TIME, _DAY, _WHOLE, _REAL = "datetime64[us, UTC]", "datetime64[s]", "int64", "Float64"
_LEARNERS = Column(_WHOLE, "learners", "learners behind the row, each counted once")
_ATTEMPTS = Column(_WHOLE, "attempts", "attempts in the period")
_CORRECT = Column(_WHOLE, "attempts", "those with a score of 50 or more")
_SHARES = {
    "accuracy": Column(_REAL, "%", "100 × correct / all; missing below the least number"),
    "low": Column(_REAL, "%", "the lower end of Wilson's 95 % interval of the accuracy"),
    "high": Column(_REAL, "%", "the upper end of that interval"),
}
_COUNTED = {"learners": _LEARNERS, "attempts": _ATTEMPTS, "correct": _CORRECT, **_SHARES}
_SECONDS = Column(
    _REAL,
    "s",
    "the median time from an attempt to the learner's next one, in whole seconds; over 30 minutes is a break",
)
_AGAINST = Column(
    "str", "", "above or below, if the interval excludes the accuracy of all attempts; too few below the least number"
)
_BLOCK = Column("str", "", "the course block in the catalogue; missing if the item is not in it")
_KIND = Column("str", "", "question, case or calc")
_ITEM = Column("str", "", "the item's id")
_LEARNER = Column("str", "", "the learner's e-mail address or pseudonym")
_ANSWERS = Column(_WHOLE, "answers", "attempts, each counted once for each tag of its item")
_RIGHT = Column(_WHOLE, "answers", "those that are correct")

TABLES: dict[str, dict[str, Column]] = {
    "period": {
        "since": Column(_TIME, "", "the oldest attempt that counts"),
        "until": Column(_TIME, "", "the newest one; what is so and so many days ago is counted back from here"),
        "time_zone": Column("str", "", "of all days, weeks and hours in the report"),
        "counted": Column("str", "", "what the report is restricted to"),
        "least": Column(_WHOLE, "attempts", "fewer attempts, answers or learners give no share and no rating"),
        "names": Column("str", "", "whether learners are named by e-mail address or by pseudonym"),
    },
    "overview": {
        "learners": Column(_WHOLE, "learners", "accounts in the class"),
        "active": Column(_WHOLE, "learners", "those with an attempt in the period"),
        "items": Column(_WHOLE, "items", "different questions, cases and calculations that were attempted"),
        "attempts": _ATTEMPTS,
        "correct": _CORRECT,
        **_SHARES,
        "median_seconds": _SECONDS,
    },
    "weeks": {
        "week": Column(_DAY, "", "the Monday on which the week begins; weeks without attempts are left out"),
        **_COUNTED,
        "median_seconds": _SECONDS,
    },
    "blocks": {
        "course_block": _BLOCK,
        "title": Column("str", "", "the block's title in the catalogue"),
        **_COUNTED,
        "against": _AGAINST,
    },
    "tags": {
        "course_block": _BLOCK,
        "tag": Column("str", "", "the tag in the catalogue; missing if the item is not in it"),
        "learners": _LEARNERS,
        "answers": _ANSWERS,
        "correct": _RIGHT,
        **_SHARES,
        "against": _AGAINST,
    },
    "progress": {
        "module": Column("str", "", "the application's module"),
        "course_block": Column("str", "", "the application's course block"),
        "tag": Column("str", "", "the application's tag"),
        "learners": _LEARNERS,
        "answers": Column(_WHOLE, "answers", "counted by the application since the beginning, whatever the period"),
        "correct": _RIGHT,
        **_SHARES,
    },
    "curve": {
        "attempt": Column(_WHOLE, "", "the first of ten attempts, in the order in which a learner made them"),
        **_COUNTED,
    },
    "retention": {
        "days": Column("str", "days", "days since the learner's previous answer to the same item"),
        **_COUNTED,
    },
    "hours": {
        "weekday": Column(_WHOLE, "", "1 is Monday, 7 is Sunday"),
        "hour": Column(_WHOLE, "h", "the hour of the day, 0 to 23; hours without attempts are left out"),
        "attempts": _ATTEMPTS,
        "correct": _CORRECT,
    },
    "scores": {
        "score": Column("str", "points", "a range of scores, of 100"),
        "attempts": Column(_WHOLE, "attempts", "attempts with such a score"),
        "share": Column(_REAL, "%", "of all attempts"),
        "learners": Column(_WHOLE, "learners", "learners with such a mean score"),
    },
    "items": {
        "entity_type": _KIND,
        "entity_id": _ITEM,
        "title": Column("str", "", "the item's title in the catalogue; missing if it is not in it"),
        "course_block": _BLOCK,
        "attempts": _ATTEMPTS,
        "learners": Column(_WHOLE, "learners", "learners who attempted it; only their first answers count below"),
        "right": Column(_WHOLE, "learners", "those whose first answer was correct"),
        "difficulty": Column(_REAL, "%", "100 × right / learners: a difficult item has a small number"),
        "low": Column(_REAL, "%", "the lower end of Wilson's 95 % interval of the difficulty"),
        "high": Column(_REAL, "%", "the upper end of that interval"),
        "discrimination": Column(
            _REAL, "", "the corrected point-biserial correlation, -1 to 1: do those who know the rest know this, too?"
        ),
        "logit": Column(
            _REAL, "logits", "the difficulty in the Rasch model, 0 on average: a difficult item's is large"
        ),
        "logit_error": Column(_REAL, "logits", "its standard error"),
        "rating": Column("str", "", "what is doubtful about the item; empty if nothing is"),
        "reason": Column("str", "", "why numbers are missing"),
    },
    "answers": {
        "entity_type": _KIND,
        "entity_id": _ITEM,
        "answer": Column(
            "str",
            "",
            "an answer; those of fewer than five learners are together in 'other answers', from five learners on",
        ),
        "correct": Column("boolean", "", "whether it scores 50 or more; missing if it does for some"),
        "learners": Column(_WHOLE, "learners", "learners whose first answer it was"),
        "share": Column(_REAL, "%", "of the learners who attempted the item"),
    },
    "learners": {
        "learner": _LEARNER,
        "attempts": _ATTEMPTS,
        "correct": _CORRECT,
        **_SHARES,
        "mean_score": Column(_REAL, "points", "the mean score, of 100"),
        "last_attempt": Column(_TIME, "", "the newest attempt; missing without one"),
        "days_ago": Column("Int64", "days", "from that day to the day of the class's newest attempt"),
        "active_days": Column(_WHOLE, "days", "days with an attempt"),
        "streak": Column(_WHOLE, "days", "days in a row with attempts, up to the class's last day or the day before"),
        "longest_streak": Column(_WHOLE, "days", "the most days in a row with attempts"),
        "ability": Column(
            _REAL, "logits", "in the Rasch model, on the scale of the items; missing below the least number"
        ),
        "ability_error": Column(_REAL, "logits", "its standard error"),
        "risk": Column("str", "", "the rules in `at_risk` that apply, if any"),
    },
    "at_risk": {
        "learner": _LEARNER,
        "risk": Column("str", "", "inactive, falling or far behind"),
        "rule": Column("str", "", "the rule in words"),
        "found": Column("str", "", "the learner's numbers"),
    },
    "forecast": {
        "day": Column(_DAY, "", "each of 30 days, from the day of the class's newest attempt on"),
        "reviews": Column(
            _WHOLE, "reviews", "reviews that become due on this day; on the first one only after that attempt"
        ),
        "learners": Column(_WHOLE, "learners", "learners with such a review"),
        "waiting": Column(_WHOLE, "reviews", "all that are due by the end of the day if nobody reviews any"),
    },
    "learner": {
        "measure": Column("str", "", "what is compared: a column of `learners`"),
        "unit": Column("str", "", "its unit"),
        "learner": Column(_REAL, "", "the learner's number"),
        "median": Column(_REAL, "", "the median of the active learners"),
        "below": Column(_REAL, "%", "active learners with a smaller number, of all that have one"),
    },
    "learner_blocks": {
        "course_block": _BLOCK,
        "attempts": Column(_WHOLE, "attempts", "the learner's attempts in the period"),
        "correct": _CORRECT,
        **_SHARES,
        "accuracy": Column(_REAL, "%", "100 × correct / attempts; missing below five attempts"),
        "class_accuracy": Column(_REAL, "%", "that of the whole class in the block"),
        "against": Column("str", "", "above or below, if the interval excludes it; too few below five attempts"),
    },
}

TITLES = {
    "period": "What is counted",
    "overview": "Overview",
    "weeks": "Week by week",
    "blocks": "Course blocks",
    "tags": "Tags",
    "progress": "Progress that the application counted",
    "curve": "Learning curve",
    "retention": "Retention",
    "hours": "Hours of the week",
    "scores": "Scores",
    "items": "Items",
    "answers": "Answers",
    "learners": "Learners",
    "at_risk": "Learners at risk",
    "forecast": "Reviews of the next 30 days",
    "learner": "One learner and the class",
    "learner_blocks": "One learner, block by block",
}


def dtypes(name: str) -> dict[str, str]:
    """The dtype of each column of a table."""
    return {column: found.dtype for column, found in TABLES[name].items()}


def table(name: str, data: pd.DataFrame) -> pd.DataFrame:
    """The table with its columns in their order, and their dtypes also if there are no rows."""
    return data.reset_index(drop=True)[list(TABLES[name])].astype(dtypes(name))


def empty(name: str) -> pd.DataFrame:
    """The table without rows."""
    return reports.table([], dtypes(name))


def frame() -> pd.DataFrame:
    """table, column, dtype, unit, definition (str): every column of every table."""
    rows = [(name, column, *found) for name, columns in TABLES.items() for column, found in columns.items()]
    return reports.table(rows, dict.fromkeys(("table", "column", "dtype", "unit", "definition"), "str"))
