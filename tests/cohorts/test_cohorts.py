"""Cohorts: the same rows everywhere, which say among themselves what they should."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import raw
from support.catalogues import small
from support.databases import Databases
from support.project import ROOT
from support.raw import ask

import pharmdb
from pharmdb.cohorts import batches, building, overrides, simulation
from pharmdb.errors import ParameterError, ProtectedError, RevisionError
from pharmdb.learning import catalogue
from pharmdb.models import ATTEMPT_ENTITY_TYPES
from pharmdb.types import time_text

SMALL: Any = {"learners": 60, "days": 40}
# A cohort that has no attempts.
NOBODY: Any = {"learners": 1, "days": 1, "random_seed": 0}
# Of SMALL. A new value here means that rows have moved: that needs a new simulation.VERSION.
PINNED = "7af2ee13448f3b1f9782dffa4344ca66033ca990ba862500a0956a5c6f7af838"


NEVER = datetime(1, 1, 1, tzinfo=UTC)


def counts(url: str) -> dict[str, int]:
    return {table: ask(url, f"SELECT count(*) FROM {table}")[0][0] for table in raw.TABLES}


def as_text(url: str, column: str) -> str:
    """A time as SQLite writes it."""
    if "sqlite" in url:
        return column
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"+00:00"')"""


def attempts(url: str, where: str = "TRUE") -> list[tuple[Any, ...]]:
    """email, entity_type, entity_id, answers, score, feedback, created_at; by learner and time."""
    rows = ask(
        url,
        "SELECT email, entity_type, entity_id, CAST(answers AS TEXT), score, CAST(feedback AS TEXT), "
        f"{as_text(url, 'a.created_at')} FROM attempts a JOIN users ON users.id = user_id WHERE {where} ORDER BY 1, 7",
    )
    return [(*row[:3], json.loads(row[3]), row[4], json.loads(row[5] or "null"), row[6]) for row in rows]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, databases: Databases) -> str:
    """A database with the small cohort, which no test changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PHARMDB_ENV", raising=False)
        url = databases.seeded(request.param)
        pharmdb.cohort(url, **SMALL)
    return url


# -- the catalogue ----------------------------------------------------------------------------------


def test_the_catalogue_is_as_large_as_it_should_be_and_its_parts_belong_together() -> None:
    found = catalogue.read()
    assert len(found.blocks) >= 12
    assert len(found.tags) >= 60
    assert len(found.entities) >= 400
    assert len({entity.id for entity in found.entities}) == len(found.entities)
    assert tuple(found.modules) == ATTEMPT_ENTITY_TYPES == simulation.KINDS
    assert {block for block, _ in found.tags} == set(found.blocks)
    assert {(entity.block, tag) for entity in found.entities for tag in entity.tags} == set(found.tags)


def test_the_catalogue_speaks_the_words_of_the_application() -> None:
    found = catalogue.read()
    assert found.modules == {"question": "Question Bank", "case": "caseReasoning", "calc": "calculations"}
    assert all(block.startswith("block-") for block in found.blocks)
    for entity in found.entities:
        feedback = json.loads(entity.feedback or "")
        scores = {answer.score: json.loads(answer.document) for answer in entity.answers}
        right = scores[max(scores)]
        if entity.kind == "question":
            assert scores.keys() == {0, 100}
            assert right.keys() == {"selected"}
            assert feedback.keys() == {"explanation"}
        elif entity.kind == "case":
            assert min(scores) == 0
            assert 60 <= max(scores) <= 70
            assert feedback.pop("correctChoiceId") == right["selected"]
            assert feedback.keys() == {"contraindicationsMissed", "interactionsMissed", "monitoringMissing"}
        else:
            assert feedback == {"solution": f"{right['value']} {right['unit']}"}


def test_the_catalogue_says_each_thing_once() -> None:
    for name, column in (("modules", "module"), ("blocks", "title"), ("tags", "tag"), ("entities", "title")):
        with (ROOT / "data" / "catalogue" / f"{name}.csv").open(encoding="utf-8") as file:
            values = [row[column] for row in csv.DictReader(file)]
        assert [value for value, times in Counter(values).items() if times > 1] == [], name


def test_what_the_seed_names_is_in_the_catalogue() -> None:
    found = catalogue.read()
    with (ROOT / "data" / "seed" / "progress.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            # The guide's seed has older words for modules and blocks.
            assert (f"block-{row['course_block']}", row["tag"]) in found.tags


# -- the same rows ----------------------------------------------------------------------------------


def test_the_rows_are_the_pinned_ones_on_both_databases(filled: str) -> None:
    report = pharmdb.cohort(filled, **SMALL)
    assert report.fingerprint == PINNED
    assert report.outcome["fingerprint"][0] == PINNED[:12]


def test_learners_practise_what_is_in_the_catalogue(migrated: str, tmp_path: Path) -> None:
    report = pharmdb.cohort(migrated, learners=40, days=30, catalogue=small(tmp_path))
    assert set(report.by_tag["tag"]) == {"beta blockers", "ACE"}
    keys = {("Question Bank", "block-1", "beta blockers"), ("Question Bank", "block-1", "ACE")}
    keys |= {("caseReasoning", "block-1", "ACE")}
    assert set(ask(migrated, "SELECT DISTINCT module, course_block, tag FROM progress_by_tag")) == keys
    given = {(*row[1:3], json.dumps(row[3]), row[4], json.dumps(row[5])) for row in attempts(migrated)}
    assert given == {
        ("question", "q1", '{"selected": "a"}', 100, "null"),
        ("question", "q1", '{"selected": "\\u00df"}', 0, "null"),
        ("case", "q1", '["1", 2.5]', 65, '{"next": "x"}'),
        ("case", "q1", '"3"', 0, '{"next": "x"}'),
    }
    with pharmdb.reading(pharmdb.target(migrated)) as connection:
        daily = pharmdb.daily_progress(connection, catalogue=tmp_path)
        assert pharmdb.daily_progress(connection)["tag"].isna().all()
    assert set(daily["tag"]) == {"beta blockers", "ACE"}
    assert daily["correct_count"].sum() == report.by_tag["correct"].sum()


def test_the_fingerprint_of_a_cohort_is_of_nobody_else(migrated: str) -> None:
    report = pharmdb.cohort(migrated, **SMALL)
    assert report.fingerprint == PINNED
    with raw.session(migrated) as session:
        session.execute("INSERT INTO users (email, password_hash) VALUES ('learnerabc@cohort.invalid', '!')")
        session.execute("UPDATE bookmarks SET entity_id = 'x' WHERE id = (SELECT min(id) FROM bookmarks)")
    assert pharmdb.cohort(migrated, **SMALL).fingerprint != PINNED


def test_another_seed_gives_others(databases: Databases) -> None:
    url = databases.migrated("sqlite")
    assert pharmdb.cohort(url, **SMALL, random_seed=1).fingerprint != PINNED


def test_a_larger_cohort_contains_the_smaller(filled: str, migrated: str) -> None:
    pharmdb.cohort(migrated, learners=25, days=SMALL["days"])
    smaller = attempts(migrated)
    assert smaller == attempts(filled, f"email <= '{batches.email(25)}'")
    added = pharmdb.cohort(migrated, **SMALL)
    assert added.created["users"] == SMALL["learners"] - 25
    assert added.unchanged["users"] == 25
    assert added.unchanged["attempts"] == len(smaller)
    # What came in two steps is what comes in one.
    assert added.fingerprint == PINNED


def test_more_days_contain_the_attempts_of_fewer(filled: str, databases: Databases) -> None:
    url = databases.migrated("sqlite")
    pharmdb.cohort(url, learners=SMALL["learners"], days=12)
    end = (simulation.START + timedelta(days=12)).isoformat()
    shorter = attempts(url)
    assert shorter
    assert shorter == [row for row in attempts(filled) if row[-1] < end]


def test_batches_make_no_difference(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "BATCH", 7)
    assert pharmdb.cohort(databases.migrated("sqlite"), **SMALL).fingerprint == PINNED


def test_running_it_again_adds_nothing(filled: str) -> None:
    before = counts(filled)
    report = pharmdb.cohort(filled, **SMALL)
    assert counts(filled) == before
    assert report.created == dict.fromkeys(raw.TABLES, 0)
    assert report.outcome["changed"][0] == "0 learners with 0 rows created"
    seed = {"users": 2, "user_settings": 2, "progress_by_tag": 4}
    assert report.unchanged == {table: before[table] - seed.get(table, 0) for table in raw.TABLES}


def test_a_learner_who_was_deleted_comes_back(migrated: str) -> None:
    pharmdb.cohort(migrated, **SMALL)
    with raw.session(migrated) as session:
        session.execute(f"DELETE FROM users WHERE email IN ('{batches.email(1)}', '{batches.email(40)}')")
    report = pharmdb.cohort(migrated, **SMALL)
    assert report.created["users"] == 2
    assert report.fingerprint == PINNED


def test_rows_of_others_stay_as_they_were(seeded: str) -> None:
    with raw.session(seeded) as session:
        raw.fill(session)
    own = "users.email NOT LIKE '%@cohort.invalid'"
    before = fingerprint_of(seeded, own)
    pharmdb.cohort(seeded, **SMALL)
    assert fingerprint_of(seeded, own) == before


def fingerprint_of(url: str, users: str) -> str:
    from sqlalchemy import text

    with pharmdb.reading(pharmdb.target(url)) as connection:
        return pharmdb.fingerprint(connection, users=text(users))


def test_the_stream_is_philox_as_published() -> None:
    """The first words under the key (0, 0) and counter 1, by the ten rounds of the paper."""
    high, low = 2**64 - 1, 64

    def rounds(counter: list[int], key: list[int]) -> list[int]:
        for _ in range(10):
            first, second = counter[0] * 0xD2E7470EE14C6C93, counter[2] * 0xCA5A826395121157
            counter = [
                second >> low ^ counter[1] ^ key[0],
                second & high,
                first >> low ^ counter[3] ^ key[1],
                first & high,
            ]
            key = [(key[0] + 0x9E3779B97F4A7C15) & high, (key[1] + 0xBB67AE8584CAA73B) & high]
        return counter

    expected = rounds([1, 0, 0, 0], [5, 9]) + rounds([2, 0, 0, 0], [5, 9])
    assert simulation.words((5, 9), 8).tolist() == expected


def test_the_logistic_curve_is_what_it_says() -> None:
    table = simulation.logistic()
    for step in range(-512, 513):
        assert table[step + 512] == pytest.approx(2**24 / (1 + math.exp(-step / 64)), abs=1)


# -- what they say among themselves -----------------------------------------------------------------


def test_progress_rows_equal_the_attempts(filled: str) -> None:
    found = catalogue.read()
    places = ", ".join(
        f"('{entity.id}', '{found.modules[entity.kind]}', '{entity.block}', '{tag}')"
        for entity in found.entities
        for tag in entity.tags
    )
    expected = ask(
        filled,
        f"WITH places(entity, module, block, tag) AS (VALUES {places}) "
        "SELECT user_id, module, block, tag, sum(CASE WHEN score >= 50 THEN 1 ELSE 0 END), "
        f"sum(CASE WHEN score < 50 THEN 1 ELSE 0 END), {as_text(filled, 'max(created_at)')} "
        "FROM attempts JOIN places ON entity = entity_id GROUP BY 1, 2, 3, 4",
    )
    stored = ask(
        filled,
        "SELECT user_id, module, course_block, tag, correct_count, wrong_count, "
        f"{as_text(filled, 'last_attempt_at')} FROM progress_by_tag JOIN users ON users.id = user_id "
        "WHERE email LIKE '%@cohort.invalid'",
    )
    assert len(stored) > 500
    assert sorted(stored) == sorted(expected)


def reviews(url: str, where: str = "TRUE") -> list[tuple[Any, ...]]:
    due, last = as_text(url, "next_review_at"), as_text(url, "last_reviewed_at")
    return sorted(
        ask(
            url,
            f"SELECT email, entity_type, entity_id, ease_factor, interval_days, {due}, {last} "
            f"FROM spaced_repetition_items JOIN users ON users.id = user_id WHERE {where}",
        )
    )


def test_review_items_are_what_sm2_leaves(filled: str) -> None:
    """SuperMemo 2 once more, by the book, in decimals, from the attempts alone."""
    state: dict[Any, tuple[int, Decimal, int, datetime]] = defaultdict(lambda: (0, Decimal("2.5"), 0, NEVER))
    for email, kind, entity, _, score, _, when in attempts(filled):
        q = {100: 5, 80: 4, 70: 4, 65: 4, 60: 3}.get(score, 2)
        repetition, ease, interval, _ = state[email, kind, entity]
        if q < 3:
            repetition, interval = 0, 1
        else:
            ease += Decimal("0.1") - (5 - q) * (Decimal("0.08") + (5 - q) * Decimal("0.02"))
            ease = min(Decimal("2.5"), max(Decimal("1.3"), ease))
            repetition += 1
            interval = {1: 1, 2: 6}.get(repetition) or math.ceil(interval * ease)
        state[email, kind, entity] = (repetition, ease, interval, datetime.fromisoformat(when))
    expected = [
        (*key, float(ease), interval, *map(time_text, (when + timedelta(days=interval), when)))
        for key, (_, ease, interval, when) in state.items()
    ]
    stored = reviews(filled)
    assert stored == sorted(expected)
    assert {interval for _, _, _, _, interval, _, _ in stored} >= {1, 6, 13, 15}
    assert len({ease for _, _, _, ease, _, _, _ in stored}) > 2


def test_recording_the_same_attempts_one_by_one_leaves_the_same_reviews(filled: str, databases: Databases) -> None:
    url = databases.migrated("sqlite")
    learners = f"email <= '{batches.email(20)}'"
    ids: dict[str, int] = {}
    with raw.session(url) as session:
        for number, (email,) in enumerate(ask(filled, f"SELECT email FROM users WHERE {learners}"), 1):
            session.execute(raw.insert("users", id=str(number), email=f"'{email}'"))
            ids[email] = number
    with pharmdb.writing(pharmdb.target(url)) as connection:
        for email, kind, entity, answers, score, _, when in attempts(filled, learners):
            at = datetime.fromisoformat(when).replace(tzinfo=UTC)
            pharmdb.record_attempt(connection, ids[email], kind, entity, answers=answers, score=score, at=at)
    assert reviews(url) == reviews(filled, f"email LIKE 'learner%' AND {learners}")
    assert {row[4] for row in reviews(url)} >= {1, 6, 15}


def test_answers_scores_and_feedback_are_those_of_the_catalogue(filled: str) -> None:
    by_id = {(entity.kind, entity.id): entity for entity in catalogue.read().entities}
    given: dict[tuple[str, str], set[tuple[str, float]]] = defaultdict(set)
    for _, kind, id_, answers, score, feedback, _ in attempts(filled):
        given[kind, id_].add((json.dumps(answers, sort_keys=True), score))
        assert feedback == json.loads(by_id[kind, id_].feedback or "")
    assert len(given) > 100
    expected = {
        key: {(json.dumps(json.loads(answer.document), sort_keys=True), answer.score) for answer in entity.answers}
        for key, entity in by_id.items()
    }
    assert all(answered <= expected[key] for key, answered in given.items())
    assert any(answered == expected[key] for key, answered in given.items()), "all of them are given"


def test_nobody_can_log_in_and_everybody_has_settings(filled: str) -> None:
    learner = "email LIKE 'learner%@cohort.invalid'"
    assert ask(filled, f"SELECT DISTINCT password_hash FROM users WHERE {learner}") == [("!",)]
    assert ask(filled, f"SELECT count(*) FROM users JOIN user_settings ON user_id = users.id WHERE {learner}") == [
        (60,)
    ]
    late = "SELECT count(*) FROM attempts a JOIN users ON users.id = user_id WHERE a.created_at < users.created_at"
    assert ask(filled, late) == [(0,)]


def test_the_doctor_finds_nothing_wrong(filled: str) -> None:
    checks = pharmdb.check(filled).checks
    # Nobody has backed this database up.
    assert set(checks.loc[checks["state"] != "ok", "check"]) <= {"newest backup"}


def test_an_override_is_a_dataset_of_the_application_and_inactive() -> None:
    contents = catalogue.read()
    for number in range(len(contents.blocks)):
        name, description, document = overrides.override(contents, number, batches.email(1))
        assert 1 <= len(name) <= 255
        assert len(description) <= 1000
        dataset = json.loads(document)
        assert list(dataset) == ["courseBlocks", "drugs", "questions", "cases", "interactions", "doseTemplates"]
        (block,) = dataset["courseBlocks"]
        assert block["id"] == list(contents.blocks)[number]
        assert len(dataset["questions"]) > 10
        for question in dataset["questions"]:
            assert question.keys() == {"id", "stem", "options", "explanation", "courseBlockId", "tags"}
            assert [option["correct"] for option in question["options"]].count(True) == 1
        for case in dataset["cases"]:
            assert case["rubric"]["correctChoiceId"] in [choice["id"] for choice in case["choices"]]
            assert sum(case["rubric"]["scoring"].values()) == 100


def test_a_cohort_activates_no_override_whatever_is_active(migrated: str) -> None:
    active = "SELECT name FROM dataset_overrides WHERE is_active"
    pharmdb.cohort(migrated, learners=501, days=1)
    assert ask(migrated, "SELECT count(*) FROM dataset_overrides") == [(2,)]
    assert ask(migrated, active) == []
    with raw.session(migrated) as session:
        columns = {"name": "'own'", "json_text": "'{}'", "is_active": "TRUE", "created_by_id": "1"}
        session.execute(raw.insert("dataset_overrides", **columns))
    pharmdb.cohort(migrated, learners=1001, days=1)
    assert ask(migrated, "SELECT count(*) FROM dataset_overrides") == [(4,)]
    assert ask(migrated, active) == [("own",)]


def test_bookmarks_and_overrides_are_few_but_there(filled: str) -> None:
    found = counts(filled)
    assert 20 < found["bookmarks"] < found["attempts"] / 10
    repeated = "SELECT user_id, entity_id FROM bookmarks GROUP BY user_id, entity_id HAVING count(*) > 1"
    assert ask(filled, repeated) == []
    assert ask(filled, "SELECT role FROM dataset_overrides JOIN users ON users.id = created_by_id") == [("ADMIN",)]


def test_the_first_of_each_500_learners_is_a_tutor_and_the_outcome_says_so(migrated: str) -> None:
    tutors = "SELECT email FROM users WHERE role = 'ADMIN' ORDER BY email"
    told = [pharmdb.cohort(migrated, learners=number, days=1).outcome["changed"].item() for number in (1, 500, 501)]
    assert [words.partition(" with")[0] for words in told] == [
        *("1 learners (1 of them tutors)", "499 learners", "1 learners (1 of them tutors)"),
    ]
    assert ask(migrated, tutors) == [(batches.email(1),), (batches.email(501),)]
    assert pharmdb.class_report(migrated).overview["learners"].item() == 499


# -- what a teacher sees ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many() -> simulation.Work:
    return simulation.simulate(catalogue.read(), np.arange(1, 501), 90, 2026)


def test_accuracy_rises_with_practice_for_the_same_learners(many: simulation.Work) -> None:
    found = many.attempts
    per = np.bincount(found["learner"], minlength=500)
    number = np.concatenate([np.arange(n) for n in per])
    # Learners who stay: otherwise those who leave would make the difference.
    stayed = (per >= 150)[found["learner"]]
    first, later = (found["right"][stayed & (number // 20 == part)].mean() for part in (0, 6))
    assert later > first + 0.05


def test_what_was_reviewed_lately_is_remembered_better(many: simulation.Work) -> None:
    found = many.attempts
    key = found["learner"].astype(np.int64) * 10_000 + found["entity"]
    order = np.argsort(key, kind="stable")
    again = key[order][1:] == key[order][:-1]
    gap, right = np.diff(found["day"][order])[again], found["right"][order][1:][again]
    assert right[gap <= 3].mean() > right[gap > 20].mean() + 0.04


def test_learners_differ_and_drop_out_and_sleep(many: simulation.Work) -> None:
    found = many.attempts
    assert found["second"].min() >= 7 * 3600
    assert found["second"].max() < 86_400
    weekday = np.bincount(found["day"] % 7, minlength=7)
    assert weekday.argmin() == 5
    last = np.zeros(500, dtype=int)
    np.maximum.at(last, found["learner"], found["day"])
    assert 100 < (last < 60).sum() < 400


def test_the_report_counts_what_the_rows_say(filled: str) -> None:
    report = pharmdb.cohort(filled, **SMALL)
    rows = attempts(filled)
    correct = sum(row[4] >= 50 for row in rows)
    assert report.learning["attempts"].sum() == report.activity["attempts"].sum() == len(rows)
    assert report.learning["correct"].sum() == correct
    assert report.learning["attempt"].tolist() == list(range(1, len(report.learning) * 10, 10))
    hours = Counter((when.isoweekday(), when.hour) for when in (datetime.fromisoformat(row[-1]) for row in rows))
    assert {tuple(row[:2]): row[2] for row in report.activity.itertuples(index=False)} == hours
    first_of_block = ask(filled, "SELECT sum(correct_count), sum(wrong_count) FROM progress_by_tag")[0]
    assert report.by_tag["correct"].sum() == first_of_block[0]
    assert report.by_tag["answers"].sum() == sum(first_of_block)
    gaps: Counter[int] = Counter()
    last: dict[tuple[str, str], date] = {}
    for email, _, entity, *_, when in rows:
        day = datetime.fromisoformat(when).date()
        if (email, entity) in last:
            gaps[(day - last[email, entity]).days] += 1
        last[email, entity] = day
    assert report.retention["attempts"].sum() == gaps.total()
    assert report.retention.set_index("since")["attempts"]["1"] == gaps[1]
    assert report.retention.set_index("since")["attempts"]["10 to 14"] == sum(gaps[n] for n in range(10, 15))


def test_the_next_command_shows_a_learner_with_attempts(filled: str, databases: Databases) -> None:
    command = pharmdb.cohort(filled, **SMALL).outcome["next"][0].split()
    assert command[:3] == ["pharmdb", "inspect", "--user-email"]
    assert pharmdb.inspect(filled, user_email=command[3]).outcome["ok"].item()
    nobody = pharmdb.cohort(databases.migrated("sqlite"), **NOBODY).outcome["next"][0]
    assert nobody.startswith("pharmdb doctor")


@pytest.mark.parametrize("size", [SMALL, NOBODY], ids=["small", "nobody did anything"])
def test_every_picture_can_be_drawn(databases: Databases, size: Any) -> None:
    report = pharmdb.cohort(databases.migrated("sqlite"), **size)
    for picture in (report.learning_picture, report.tag_picture, report.retention_picture, report.activity_picture):
        assert picture.png.startswith(b"\x89PNG")
        assert len(picture.png) > 5000


# -- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"learners": 0},
        {"learners": 1_000_000},
        {"learners": True},
        {"learners": "10"},
        {"days": 0},
        {"days": 731},
        {"days": 1.5},
        {"random_seed": -1},
        {"random_seed": 2**32},
    ],
    ids=str,
)
def test_a_parameter_that_makes_no_sense_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(parameters))):
        pharmdb.cohort("sqlite:////nonexistent/never opened.db", **parameters)


@pytest.mark.parametrize("how", ["PHARMDB_ENV", "the database itself"])
def test_production_is_refused(seeded: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "PHARMDB_ENV":
        monkeypatch.setenv("PHARMDB_ENV", "production")
    else:
        with raw.session(seeded) as session:
            session.execute("UPDATE pharmdb_environment SET name = 'production'")
    before = counts(seeded)
    with pytest.raises(ProtectedError, match="production"):
        pharmdb.cohort(seeded, **SMALL)
    assert counts(seeded) == before


def test_an_old_schema_is_refused(seeded: str) -> None:
    pharmdb.migrate(seeded, revision="-1")
    with pytest.raises(RevisionError, match="pharmdb migrate"):
        pharmdb.cohort(seeded, **SMALL)


def test_the_learners_of_another_catalogue_are_not_taken_for_ours(migrated: str, tmp_path: Path) -> None:
    pharmdb.cohort(migrated, learners=20, days=20, catalogue=small(tmp_path))
    before = counts(migrated)
    with pytest.raises(ProtectedError, match="--catalogue"):
        pharmdb.cohort(migrated, learners=21, days=20)
    assert counts(migrated) == before


def test_the_learners_of_another_seed_are_not_taken_for_ours(migrated: str) -> None:
    pharmdb.cohort(migrated, learners=3, days=5, random_seed=7)
    before = counts(migrated)
    with pytest.raises(ProtectedError, match=r"learner000001@cohort\.invalid"):
        pharmdb.cohort(migrated, learners=5, days=5)
    assert counts(migrated) == before


# -- memory -----------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_attempts(databases: Databases) -> None:
    code = (
        "import pharmdb, resource, sys; pharmdb.cohort(sys.argv[1], learners=int(sys.argv[2]), days=20); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks, rows = [], []
    for size in (500, 3000):
        url = databases.migrated("sqlite")
        done = subprocess.run(
            [sys.executable, "-c", code, url, str(size)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
        rows.append(counts(url)["attempts"])
    assert rows[1] > 5 * rows[0]
    assert peaks[1] < 1.1 * peaks[0], "KiB"
