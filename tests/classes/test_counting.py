"""Every number of the report is what its definition says: the same as computed naively, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import catalogues
from support.classroom import ITEMS, Naive, Row, due, email, fill, progress, rows
from support.databases import Databases

import pharmdb
from pharmdb.classes import counting, definitions, rasch, risk, streaming
from pharmdb.classes.counting import Labels, Tally
from pharmdb.classes.first_answers import FirstAnswers
from pharmdb.classes.intervals import wilson
from pharmdb.classes.material import Key
from pharmdb.classes.population import Terms
from pharmdb.classes.reporting import ClassReport

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
LEAST, ZONE = 5, "Europe/Prague"
ROWS = rows()
NAIVE = Naive(ROWS, ZONE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return catalogues.small(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="module")
def reports(databases: Databases, folder: Path) -> dict[str, ClassReport]:
    found = {}
    for dialect in ("sqlite", "postgresql"):
        url = databases.migrated(dialect)
        ids = fill(url, ROWS)
        newest = max(row.at for row in ROWS)
        due(url, ids[0], newest - timedelta(days=3), newest, newest + timedelta(days=1), newest + timedelta(days=90))
        due(url, ids[1], newest + timedelta(milliseconds=1), newest + timedelta(days=1))
        for user, correct, wrong in ((0, 3, 1), (1, 0, 2), (2, 0, 0)):
            progress(url, ids[user], correct, wrong)
        found[dialect] = pharmdb.class_report(
            url, min_attempts=LEAST, time_zone=ZONE, catalogue=folder, user_email=email(3)
        )
    return found


@pytest.fixture
def report(reports: dict[str, ClassReport], dialect: str) -> ClassReport:
    return reports[dialect]


def test_both_databases_give_the_same_tables(reports: dict[str, ClassReport]) -> None:
    for name, table in reports["sqlite"].tables.items():
        pd.testing.assert_frame_equal(table, reports["postgresql"].tables[name], obj=name)


def test_every_table_has_the_columns_and_dtypes_that_are_defined(report: ClassReport) -> None:
    for name, table in report.tables.items():
        assert {column: str(dtype) for column, dtype in table.dtypes.items()} == definitions.dtypes(name), name
        assert len(table), f"{name} shows something here"
    words = report.definitions
    assert len(words) == sum(map(len, definitions.TABLES.values()))
    assert (words["definition"].str.len() > 5).all()
    doc = str(ClassReport.__doc__)
    assert all(f"- {column} (" in doc for columns in definitions.TABLES.values() for column in columns)


def shares(correct: int, total: int) -> list[float]:
    low, high = wilson(np.array([correct]), np.array([total]))
    return [round(100 * share, 1) for share in (correct / total, float(low[0]), float(high[0]))]


def agree(
    table: pd.DataFrame, keys: list[Any], expected: dict[Any, tuple[int, int, int]], of: str = "attempts"
) -> None:
    assert len(keys) == len(set(keys)) == len(expected)
    for key, (_, row) in zip(keys, table.iterrows(), strict=True):
        learners, total, correct = expected[key]
        assert (row["learners"], row[of], row["correct"]) == (learners, total, correct), key
        found = row[["accuracy", "low", "high"]]
        if total < LEAST:
            assert found.isna().all()
        else:
            assert found.tolist() == pytest.approx(shares(correct, total), abs=0.051)


def test_weeks_and_the_median_time(report: ClassReport) -> None:
    weeks = report.weeks
    assert weeks["week"].is_monotonic_increasing
    keys = [week.date() for week in weeks["week"]]
    agree(weeks, keys, NAIVE.weeks())
    expected = [NAIVE.median(week) for week in keys]
    assert [None if pd.isna(one) else one for one in weeks["median_seconds"]] == expected
    one = report.overview.iloc[0]
    assert (one["learners"], one["active"], one["items"]) == (8, 8, 4)
    assert (one["attempts"], one["correct"]) == (len(ROWS), sum(row.right for row in ROWS))
    assert one["median_seconds"] == NAIVE.median()
    period = report.period.iloc[0]
    times = [row.at.replace(microsecond=0) for row in ROWS]
    assert (period["since"], period["until"]) == (min(times), max(times))


def test_learning_curve_hours_and_retention(report: ClassReport) -> None:
    agree(report.curve, report.curve["attempt"].tolist(), NAIVE.curve())
    hours = [(row.weekday, row.hour) for row in report.hours.itertuples()]
    expected = {key: (attempts, correct) for key, (_, attempts, correct) in NAIVE.hours().items()}
    assert (
        dict(zip(hours, zip(report.hours["attempts"], report.hours["correct"], strict=True), strict=True)) == expected
    )
    spans: dict[str, Any] = {}
    names = list(counting.spans())
    place = np.searchsorted(counting.SPANS, list(NAIVE.retention()))
    for span, (_, attempts, correct) in zip(place.tolist(), NAIVE.retention().values(), strict=True):
        before = spans.get(names[span], (0, 0))
        spans[names[span]] = (before[0] + attempts, before[1] + correct)
    found = report.retention.set_index("days")
    assert {day: (row["attempts"], row["correct"]) for day, row in found.iterrows()} == spans
    assert found.index.tolist()[0] == "0"
    assert names[:5] == ["0", "1", "2", "3 to 4", "5 to 6"]
    assert names[-1] == "46+"


BLOCK = {("question", "q1"): ("block-1", ["beta blockers", "ACE"]), ("case", "q1"): ("block-1", ["ACE"])}


def test_blocks_and_tags_come_from_the_catalogue(report: ClassReport) -> None:
    def block(row: Row) -> list[Any]:
        return [BLOCK.get((row.kind, row.item), (None, []))[0]]

    def tag(row: Row) -> list[Any]:
        return BLOCK.get((row.kind, row.item), (None, [None]))[1]

    def known(values: pd.Series[Any]) -> list[Any]:
        return [value if isinstance(value, str) else None for value in values]

    agree(report.blocks, known(report.blocks["course_block"]), NAIVE.grouped(block))
    agree(report.tags, known(report.tags["tag"]), NAIVE.grouped(tag), "answers")
    assert known(report.blocks["course_block"])[-1] is None
    (note, *_) = report.notes
    unknown = sum(block(row) == [None] for row in ROWS)
    assert note.startswith(f"{unknown} of {len(ROWS)} attempts")
    own = report.learner_blocks.set_index("course_block").loc["block-1"]
    mine = [row for row in NAIVE.of(3) if block(row) == ["block-1"]]
    assert (own["attempts"], own["correct"]) == (len(mine), sum(row.right for row in mine))
    all_ = NAIVE.grouped(block)["block-1"]
    assert own["class_accuracy"] == pytest.approx(100 * all_[2] / all_[1], abs=0.051)


def test_items_their_discrimination_and_their_answers(report: ClassReport) -> None:
    items = report.items.set_index(["entity_type", "entity_id"])
    assert items.index.tolist() == sorted(ITEMS)
    for item in ITEMS:
        found: Any = items.loc[item]
        learners, right = NAIVE.item(item)
        assert (found["learners"], found["right"]) == (learners, right)
        assert found["attempts"] == sum((row.kind, row.item) == item for row in ROWS)
        expected = NAIVE.discrimination(item)
        assert learners >= LEAST
        assert [found["difficulty"], found["low"], found["high"]] == pytest.approx(shares(right, learners), abs=0.051)
        if expected is None:
            assert pd.isna(found["discrimination"])
            assert found["reason"]
        else:
            assert found["discrimination"] == pytest.approx(expected, abs=0.0051)
        answers = report.answers[(report.answers["entity_type"] == item[0]) & (report.answers["entity_id"] == item[1])]
        given = [row.choice for (_, key), row in NAIVE.firsts().items() if key == item]
        shown: dict[Any, Any] = {row.answer: row.learners for row in answers.itertuples()}
        few = sum(number for number in map(given.count, set(given)) if number < 5)
        # Together, too, there must be five of them.
        assert shown.get("other answers", 0) == (few if few >= 5 else 0)
        seen = learners - (few if few < 5 else 0)
        assert sum(shown.values()) == seen
        for choice in set(given):
            assert (choice in shown) == (given.count(choice) >= 5)
        assert answers["share"].sum() == pytest.approx(100 * seen / learners, abs=0.3)


def test_only_so_many_items_are_scaled_and_the_others_say_so(
    databases: Databases, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.migrated("sqlite")
    items = ("a", "b", "c")
    pairs = [(n, m) for n in range(24) for m in range(3)]
    found = [Row(3 * n + m, n, "case", items[m], "x", 100.0 * (n % (m + 2) == 0), AT) for n, m in pairs]
    fill(url, found[:-1], 24)
    whole = pharmdb.class_report(url, catalogue=folder).items
    assert whole["logit"].notna().all()
    assert whole["reason"].tolist() == ["", "", ""]
    monkeypatch.setattr(rasch, "MOST_ITEMS", 2)
    cut = pharmdb.class_report(url, catalogue=folder).items
    assert cut["logit"].notna().tolist() == [True, True, False]
    assert cut["reason"].tolist() == ["", "", "only the 2 items with the most learners are in the Rasch model"]


def test_learners_streaks_and_scores(report: ClassReport) -> None:
    learners = report.learners.set_index("learner")
    for user in NAIVE.users:
        own, found = NAIVE.of(user), learners.loc[email(user)].to_dict()
        days = {NAIVE.local(row).date() for row in own}
        assert (found["attempts"], found["correct"]) == (len(own), sum(row.right for row in own))
        assert found["active_days"] == len(days)
        assert (found["streak"], found["longest_streak"]) == NAIVE.streaks(user)
        assert found["days_ago"] == (NAIVE.last - max(days)).days
        assert found["mean_score"] == pytest.approx(sum(row.score for row in own) / len(own), abs=0.051)
        assert found["last_attempt"] == max(row.at for row in own).replace(microsecond=0)
    scores = report.scores.set_index("score")["attempts"]
    for name, count in scores.items():
        low, high = map(int, str(name).split(" to "))
        assert count == sum(low <= row.score < high + 1 for row in ROWS)
    assert report.scores["learners"].sum() == len(NAIVE.users)
    one = report.learner.set_index("measure")
    assert one.loc["attempts", "learner"] == len(NAIVE.of(3))
    sizes = [len(NAIVE.of(user)) for user in NAIVE.users]
    assert one.loc["attempts", "median"] == pytest.approx(float(np.median(sizes)))
    below = sum(size < len(NAIVE.of(3)) for size in sizes)
    assert one.loc["attempts", "below"] == pytest.approx(100 * below / len(sizes), abs=0.051)


def test_the_forecast_counts_from_the_newest_attempt_on(report: ClassReport) -> None:
    newest = max(row.at for row in ROWS)
    forecast = report.forecast
    assert len(forecast) == 30
    assert [day.date() for day in forecast["day"]] == [NAIVE.last + timedelta(days=n) for n in range(30)]
    tomorrow = NAIVE.local(ROWS[0]).tzinfo
    soon = (newest + timedelta(milliseconds=1)).astimezone(tomorrow).date()
    expected = [0] * 30
    expected[(soon - NAIVE.last).days] += 1
    expected[((newest + timedelta(days=1)).astimezone(tomorrow).date() - NAIVE.last).days] += 2
    assert forecast["reviews"].tolist() == expected
    assert forecast["waiting"].iloc[-1] == 2 + 3
    assert forecast["learners"].max() == 2


def test_the_applications_progress_is_counted_by_tag(report: ClassReport) -> None:
    (row,) = report.progress.to_dict("records")
    assert (row["module"], row["course_block"], row["tag"]) == ("Question Bank", "block-1", "ACE")
    assert (row["learners"], row["answers"], row["correct"], row["accuracy"]) == (2, 6, 3, 50.0)


def test_the_rules_of_risk_are_what_their_words_say(report: ClassReport) -> None:
    whole = sum(row.right for row in ROWS) / len(ROWS)
    found = {(row.learner, row.risk) for row in report.at_risk.itertuples()}
    expected = set()
    for user in NAIVE.users:
        own = NAIVE.of(user)
        late = [row for row in own if (NAIVE.last - NAIVE.local(row).date()).days < 14]
        early = [row for row in own if row not in late]
        if not late:
            expected.add((email(user), risk.INACTIVE))
        if len(late) >= 10 and len(early) >= 10:
            (_, now), (then, _) = interval(late), interval(early)
            expected |= {(email(user), risk.FALLING)} if now < then else set()
        if interval(own)[1] < whole - 0.1:
            expected.add((email(user), risk.BEHIND))
    assert found == expected
    assert any(one == risk.BEHIND for _, one in found)
    assert set(report.at_risk["rule"]) <= set(risk.RULES.values())
    risks = report.learners.set_index("learner")["risk"]
    assert {(who, one) for who, words in risks.items() for one in str(words).split(", ") if one} == found


def interval(own: list[Row]) -> tuple[float, float]:
    low, high = wilson(np.array([sum(row.right for row in own)]), np.array([len(own)]))
    return float(low[0]), float(high[0])


def test_each_rule_of_risk_applies_at_its_edge() -> None:
    def learners(**values: list[int]) -> counting.Learners:
        zeros = {name: np.zeros(2, dtype=np.int64) for name in counting.Learners.__dataclass_fields__}
        return counting.Learners(**zeros | {name: np.array(found) for name, found in values.items()})

    there = learners(attempts=[5, 5], correct=[5, 5], last_day=[86, 87])
    assert risk.applies(risk.INACTIVE, there, 100, 5).tolist() == [0]
    falls = learners(attempts=[40, 40], correct=[20, 20], late=[20, 20], late_correct=[2, 9], last_day=[100, 100])
    assert risk.applies(risk.FALLING, falls, 100, 5).tolist() == [0]
    behind = learners(attempts=[100, 1000], correct=[50, 900], last_day=[100, 100])
    assert risk.applies(risk.BEHIND, behind, 100, 20).tolist() == [0]
    assert risk.applies(risk.BEHIND, behind, 100, 101).tolist() == []


attempts_ = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 2), st.booleans(), st.integers(0, 40 * 86_400)),
    min_size=1,
    max_size=80,
)


def counted(found: list[tuple[int, int, int, bool, int]], parts: int, folder: Path) -> counting.Counts:
    """Counts these attempts, which are in so many parts."""
    from contextlib import ExitStack

    records = np.array([(u, i, a + 3 * i, r, s * 1_000_000) for u, i, a, r, s in found], dtype=streaming.RECORD)
    split = [records[records["user"] % parts == n] for n in range(parts)]
    times = records["time"]
    attempts = streaming.Attempts(
        [Key("question", str(n)) for n in range(5)],
        [(n // 3, str(n)) for n in range(15)],
        len(records),
        int(times.min()),
        int(times.max()),
        np.zeros(7),
        np.zeros(10, dtype=np.int64),
        None,
        split,
        ExitStack(),
    )
    labels = Labels(np.array([0, 0, 1, 1, -1]), np.array([[0, 1], [1, -2], [2, -2], [2, 0], [-1, -2]]))
    return counting.count(attempts, Terms(), 7, labels, 2, FirstAnswers(folder if parts > 1 else None))


@settings(deadline=None, max_examples=40)
@given(attempts_, st.integers(2, 5))
def test_in_how_many_parts_the_attempts_are_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[int, int, int, bool, int]], parts: int
) -> None:
    one = counted(found, 1, Path())
    many = counted(found, parts, tmp_path_factory.getbasetemp())
    for name, value in vars(one).items():
        if isinstance(value, Tally):
            for a, b in zip(value.sums(), getattr(many, name).sums(), strict=True):
                assert a.tolist() == b.tolist(), name
    for ours, theirs in ((one.learners, many.learners), (one.items, many.items)):
        for name, value in vars(ours).items():
            np.testing.assert_allclose(value, getattr(theirs, name), atol=1e-9, err_msg=name)
    assert one.answer_learners.tolist() == many.answer_learners.tolist()


@settings(deadline=None, max_examples=40)
@given(attempts_)
@example([(0, 0, 0, True, 0), (0, 1, 0, True, counting.LATELY * 86_400)])
def test_what_is_done_lately_and_the_discrimination_whoever_met_what(
    found: list[tuple[int, int, int, bool, int]],
) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC)
    naive = Naive(
        [
            Row(n, user, "question", str(item), "a", 100.0 * right, at + timedelta(seconds=second))
            for n, (user, item, _, right, second) in enumerate(found)
        ]
    )
    counts = counted(found, 1, Path())
    for user in naive.users:
        lately = sum((naive.last - naive.local(row).date()).days < counting.LATELY for row in naive.of(user))
        assert counts.learners.late[user] == lately
    computed = counting.discrimination(counts.items)
    for item, one in enumerate(computed.tolist()):
        expected = naive.discrimination(("question", str(item)))
        assert np.isnan(one) if expected is None else one == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=50))
def test_compact_keys_are_the_keys(keys: list[int]) -> None:
    there, codes = counting.compact(np.array(keys))
    assert there[codes].tolist() == keys
    assert there.tolist() == sorted(set(keys))


@given(st.lists(st.integers(0, 30), max_size=40))
def test_medians_are_medians(gaps: list[int]) -> None:
    tally = Tally()
    tally.add(np.array(gaps, dtype=np.int64), np.zeros(len(gaps)), np.zeros(len(gaps), dtype=np.int64), 1)
    whole, weeks = counting.medians(tally)
    assert (np.isnan(whole) and not gaps and not weeks) or whole == weeks[0] == float(np.median(gaps))


def test_a_large_class_waits_in_files_and_gives_the_same(
    databases: Databases, folder: Path, reports: dict[str, ClassReport], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(streaming, "PART", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    url = databases.migrated("sqlite")
    fill(url, ROWS)
    report = pharmdb.class_report(url, min_attempts=LEAST, time_zone=ZONE, catalogue=folder, user_email=email(3))
    for name, table in reports["sqlite"].tables.items():
        if name not in ("forecast", "progress"):
            pd.testing.assert_frame_equal(table, report.tables[name], obj=name)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_the_edges_of_the_period_are_days_of_the_time_zone(databases: Databases, folder: Path, dialect: str) -> None:
    url = databases.migrated(dialect)
    # Midnight of 2025-10-26 in Prague, which is a day of 25 hours.
    begin, end = datetime(2025, 10, 25, 22, tzinfo=UTC), datetime(2025, 10, 26, 23, tzinfo=UTC)
    times = [begin - timedelta(milliseconds=1), begin, end - timedelta(milliseconds=1), end]
    fill(url, [Row(n, 0, "case", "q1", "a", 100, at) for n, at in enumerate(times)], 1)

    def count(**terms: str) -> int:
        return int(pharmdb.class_report(url, catalogue=folder, time_zone=ZONE, **terms).overview["attempts"].iloc[0])  # type: ignore[arg-type]

    day = "2025-10-26"
    assert [count(), count(since=day), count(until=day), count(since=day, until=day)] == [4, 3, 3, 2]
    assert count(since="2025-10-27", until="9999-12-31") == 1
    assert count(since="0001-01-01", until="2025-10-25") == 1
