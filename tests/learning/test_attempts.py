"""One attempt with all that follows from it, by many at once; and a user deleted with all that is theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, StatementError
from support import raw
from support.answers import AT, HEART
from support.databases import Databases
from support.processes import pool

from pharmdb.database import bulk, targets, transactions
from pharmdb.errors import LockedError, UnavailableError
from pharmdb.learning import attempts, queries, sm2
from pharmdb.learning.attempts import Recorded, Tag

ASTHMA = Tag("questions", "pulmonary", "asthma")
DAY = timedelta(days=1)


def record(url: str, score: float, at: datetime = AT, entity_id: str = "q1", **more: Any) -> Recorded:
    with transactions.writing(targets.target(url)) as connection:
        return attempts.record_attempt(
            connection, 1, "question", entity_id, answers={"choice": ["a"]}, score=score, at=at, **more
        )


def progress_of(connection: Connection, tag: Tag) -> Any:
    return queries.progress_by_key.one(connection, user_id=1, **tag._asdict())


def test_one_attempt_writes_the_attempt_its_progress_and_its_review(seeded: str) -> None:
    done = record(seeded, 80, tags=[ASTHMA, HEART, ASTHMA], feedback={"right": True})
    with transactions.reading(targets.target(seeded)) as connection:
        (attempt,) = queries.attempt_history.rows(connection, user_id=1)
        assert attempt == (done.attempt_id, 1, "question", "q1", {"choice": ["a"]}, 80.0, {"right": True}, AT)
        before = {"asthma": (8, 5), "arrhythmias": (12, 3)}
        for tag in (ASTHMA, HEART):
            progress = progress_of(connection, tag)
            assert progress.last_attempt_at >= AT
            correct, wrong = KNOWN.get(tag.tag, before[tag.tag])
            assert (progress.correct_count, progress.wrong_count) == (correct + 1, wrong)
        (item,) = queries.due_reviews.rows(connection, user_id=1, at=AT + DAY)
    assert (item.ease_factor, item.interval_days, item.last_reviewed_at) == (done.ease_factor, 1, AT)
    assert item.next_review_at == done.next_review_at == AT + DAY
    assert plain_frame(done) == {"attempt_id": "int64", "ease_factor": "float64", "interval_days": "int64"}


KNOWN: dict[str, tuple[int, int]] = {}


@pytest.fixture(autouse=True)
def _known(seeded: str) -> None:
    with raw.session(seeded) as session:
        rows = session.execute("SELECT tag, correct_count, wrong_count FROM progress_by_tag WHERE user_id = 1")
        KNOWN.clear()
        KNOWN.update({tag: (correct, wrong) for tag, correct, wrong in rows})


def plain_frame(done: Recorded) -> dict[str, str]:
    dtypes = {str(name): str(dtype) for name, dtype in done.frame().dtypes.items()}
    assert dtypes.pop("next_review_at") == "datetime64[us, UTC]"
    return dtypes


ANSWERS = st.tuples(st.sampled_from(["q1", "q2"]), st.floats(0, 100), st.integers(-3, 40))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(answers=st.lists(ANSWERS, min_size=1, max_size=14))
@example(answers=[("q1", 0, 1), ("q1", 100, 1), ("q1", 100, 1), ("q1", 100, 1)])
@example(answers=[("q1", 50, 1), ("q1", 50, 1), ("q2", 0, 1), ("q1", 50, 1), ("q1", 49, 1), ("q1", 50, 1)])
def test_the_review_item_is_what_sm_2_says(seeded: str, answers: list[tuple[str, float, int]]) -> None:
    """Of every sequence of answers; `sm2.review` is the rule, with a count of good answers that nobody stores."""
    with raw.session(seeded) as session:
        session.execute("DELETE FROM spaced_repetition_items")
        session.execute("DELETE FROM attempts")
    at, states = AT, dict.fromkeys(("q1", "q2"), (sm2.NEW, datetime.min.replace(tzinfo=UTC)))
    for entity_id, score, days in answers:
        at += days * DAY
        item, last = states[entity_id]
        item, last = states[entity_id] = sm2.review(item, sm2.grade(score)), max(last, at)
        done = record(seeded, score, at, entity_id)
        assert (done.ease_factor, done.interval_days) == (item.ease / 100, item.interval)
        assert done.next_review_at == last + item.interval * DAY


def with_item(url: str, ease_factor: str, interval_days: int) -> None:
    """A review item of user 1 and q1 that nothing of ours has written."""
    with raw.session(url) as session:
        key = {"user_id": "1", "entity_type": "'question'", "entity_id": "'q1'"}
        review = {"ease_factor": ease_factor, "interval_days": str(interval_days), "last_reviewed_at": "NULL"}
        session.execute(raw.insert("spaced_repetition_items", **key, **review))


@pytest.mark.parametrize(
    ("ease_factor", "interval_days", "score", "expected"),
    [
        ("2.5", 60, 75, (2.5, 150)),
        ("2.5", 60, 0, (2.5, 1)),
        ("2.5", 3, 75, (2.5, 8)),
        ("1.304", 10, 75, (1.3, 13)),
        ("2.9", 10, 100, (2.5, 25)),
        ("2.9", 10, 0, (2.5, 1)),
        ("1000000", 2**31 - 1, 50, (2.36, 36_500)),
    ],
)
def test_an_item_without_attempts_goes_on_from_its_interval(
    seeded: str, ease_factor: str, interval_days: int, score: float, expected: tuple[float, int]
) -> None:
    with_item(seeded, ease_factor, interval_days)
    done = record(seeded, score)
    assert (done.ease_factor, done.interval_days) == expected


def test_a_wrong_attempt_that_left_the_item_alone_counts_too(seeded: str) -> None:
    with_item(seeded, "2.5", 60)
    with raw.session(seeded) as session:
        key = {"user_id": "1", "entity_type": "'question'", "entity_id": "'q1'"}
        session.execute(raw.insert("attempts", **key, score="20"))
    assert [record(seeded, 100, AT + n * DAY).interval_days for n in range(3)] == [1, 6, 15]


@pytest.mark.parametrize(("score", "interval"), [("20", 1), ("50", 6)])
def test_an_attempt_before_there_was_an_item_counts(seeded: str, score: str, interval: int) -> None:
    with raw.session(seeded) as session:
        key = {"user_id": "1", "entity_type": "'question'", "entity_id": "'q1'"}
        session.execute(raw.insert("attempts", **key, score=score))
        # Of others and of another entity.
        session.execute(raw.insert("attempts", **key | {"user_id": "2"}, score="1"))
        session.execute(raw.insert("attempts", **key | {"entity_id": "'q2'"}, score="1"))
        session.execute(raw.insert("attempts", **key | {"entity_type": "'case'"}, score="1"))
    assert record(seeded, 100).interval_days == interval


def test_an_answer_that_comes_late_does_not_set_times_back(seeded: str) -> None:
    late = datetime(2031, 1, 1, tzinfo=UTC)
    record(seeded, 100, late, tags=[ASTHMA])
    done = record(seeded, 100, AT, tags=[ASTHMA])
    assert done.next_review_at == late + 6 * DAY
    with transactions.reading(targets.target(seeded)) as connection:
        assert progress_of(connection, ASTHMA).last_attempt_at == late


def test_an_item_that_was_never_reviewed_is_reviewed_now(seeded: str) -> None:
    with_item(seeded, "2.5", 1)
    assert record(seeded, 100).next_review_at == AT + DAY
    assert record(seeded, 100).next_review_at == AT + 6 * DAY


@pytest.mark.parametrize(
    "wrong",
    [{"score": 101}, {"tags": [Tag("questions", "x", None)]}, {"entity_id": None}],  # type: ignore[arg-type]
)
def test_a_refused_part_leaves_nothing_of_the_attempt(seeded: str, wrong: dict[str, Any]) -> None:
    before = raw.everything(seeded)
    with pytest.raises(IntegrityError):
        record(seeded, **({"score": 60} | wrong))
    with pytest.raises(StatementError, match="zone"):
        record(seeded, 60, datetime(2026, 1, 1))  # noqa: DTZ001
    assert raw.everything(seeded) == before


def _record_many(url: str, number: int) -> None:
    with transactions.keeping(targets.target(url)) as transaction:
        for turn in range(20):
            with transaction() as connection:
                attempts.record_attempt(
                    connection, 1, "case", "shared", answers=[number], score=100.0 * (turn % 2), tags=[ASTHMA, HEART]
                )


@pytest.fixture(scope="module")
def crowd() -> Iterator[ProcessPoolExecutor]:
    with pool(8) as processes:
        yield processes


def test_four_processes_at_once_lose_nothing(crowd: ProcessPoolExecutor, seeded: str) -> None:
    for future in [crowd.submit(_record_many, seeded, number) for number in range(4)]:
        future.result(120)
    with transactions.reading(targets.target(seeded)) as connection:
        assert len(queries.attempt_history.rows(connection, user_id=1, limit=1000)) == 80
        for tag in (ASTHMA, HEART):
            correct, wrong = KNOWN[tag.tag]
            progress = progress_of(connection, tag)
            assert (progress.correct_count, progress.wrong_count) == (correct + 40, wrong + 40)


def _answer_well(url: str, tags: list[Tag]) -> None:
    with transactions.keeping(targets.target(url)) as transaction:
        for _ in range(5):
            with transaction() as connection:
                attempts.record_attempt(connection, 1, "question", "shared", answers=[], score=100.0, tags=tags, at=AT)


@pytest.mark.parametrize("tags", [[HEART], []], ids=["a common tag", "no tag"])
def test_repetitions_by_eight_processes_at_once_are_counted(
    crowd: ProcessPoolExecutor, seeded: str, tags: list[Tag]
) -> None:
    """Where they share a tag, they wait for each other; else an answer may not see another of the same moment."""
    for future in [crowd.submit(_answer_well, seeded, tags) for _ in range(8)]:
        future.result(120)
    item, valid = sm2.NEW, []
    for _ in range(40):
        item = sm2.review(item, 5)
        valid.append(item.interval)
    with transactions.reading(targets.target(seeded)) as connection:
        (found,) = queries.due_reviews.rows(connection, user_id=1, at=AT + 36_500 * DAY)
    assert (found.ease_factor, found.next_review_at) == (2.5, AT + found.interval_days * DAY)
    assert found.interval_days in (valid[-1:] if tags or seeded.startswith("sqlite") else valid[1:])


def test_a_deleted_user_takes_all_that_is_theirs(seeded: str) -> None:
    with raw.session(seeded) as session:
        raw.fill(session)
        (ann,) = session.execute("SELECT id FROM users WHERE email = 'ann@example.test'").fetchone()
    with transactions.writing(targets.target(seeded)) as connection:
        assert attempts.delete_user(connection, ann)
        assert not attempts.delete_user(connection, ann)
    with raw.session(seeded) as session:
        for table, owner in raw.OWNERS.items():
            assert session.execute(f"SELECT count(*) FROM {table} WHERE {owner} = {ann}").fetchone() == (0,)
        assert session.execute("SELECT count(*) FROM users").fetchone() == (3,)


def test_what_follows_a_commit_or_a_rollback_of_the_callers_is_kept(seeded: str) -> None:
    target = targets.target(seeded)
    bookmark = ("user_id", "entity_type", "entity_id"), [(1, "drug", "aspirin")]
    with transactions.writing(target) as connection:
        attempts.count_progress(connection, 1, HEART, correct=True, at=AT)
        connection.commit()
        attempts.count_progress(connection, 1, HEART, correct=True, at=AT)
        connection.commit()
        bulk.insert(connection, "bookmarks", *bookmark)
    with transactions.writing(target) as connection:
        with pytest.raises(IntegrityError):
            attempts.count_progress(connection, 999, HEART, correct=True, at=AT)
        connection.rollback()
        attempts.count_progress(connection, 1, HEART, correct=True, at=AT)
        connection.rollback()
        bulk.insert(connection, "bookmarks", *bookmark)
    with transactions.reading(target) as connection:
        # The last count was rolled back on purpose.
        assert progress_of(connection, HEART).correct_count == KNOWN[HEART.tag][0] + 2
    assert raw.ask(seeded, "SELECT count(*) FROM bookmarks") == [(2,)]


def test_a_schema_that_changes_under_a_kept_connection_is_a_sentence(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    with transactions.keeping(targets.target(url)) as transaction:
        for _ in range(8):
            with transaction() as connection:
                progress_of(connection, HEART)
        raw.run(url, "ALTER TABLE progress_by_tag ALTER correct_count TYPE bigint")
        with pytest.raises(UnavailableError, match="run the same command again"), transaction() as connection:
            progress_of(connection, HEART)
        with transaction() as connection:
            assert progress_of(connection, HEART) is not None


def test_each_count_alone_is_a_transaction(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.1")
    target = targets.target(seeded)
    new = Tag("questions", "renal", "diuretics")
    with attempts.counting(target) as count:
        count(1, HEART, correct=True, at=AT)
        with pytest.raises(IntegrityError):
            count(999, HEART, correct=True, at=AT)
        with pytest.raises(ValueError, match="zone"):
            count(1, HEART, correct=True, at=datetime(2026, 1, 1))  # noqa: DTZ001
        with transactions.writing(target) as other:
            # It holds no lock in between, and waits for another's.
            attempts.count_progress(other, 1, HEART, correct=False, at=AT)
            with pytest.raises(LockedError):
                count(1, HEART, correct=True, at=AT)
        count(1, HEART, correct=False, at=AT)
        count(1, new, correct=True, at=AT)
        with transactions.reading(target) as connection:
            heart = progress_of(connection, HEART)
            correct, wrong = KNOWN[HEART.tag]
            assert (heart.correct_count, heart.wrong_count) == (correct + 1, wrong + 2)
            assert progress_of(connection, new)[5:] == (1, 0, AT)


def _count_many(url: str) -> None:
    with attempts.counting(targets.target(url)) as count:
        for turn in range(50):
            count(1, HEART, correct=turn % 2 == 1, at=AT + turn * DAY)


def test_four_processes_that_count_at_once_lose_nothing(crowd: ProcessPoolExecutor, seeded: str) -> None:
    for future in [crowd.submit(_count_many, seeded) for _ in range(4)]:
        future.result(120)
    with transactions.reading(targets.target(seeded)) as connection:
        progress = progress_of(connection, HEART)
    correct, wrong = KNOWN[HEART.tag]
    assert (progress.correct_count, progress.wrong_count) == (correct + 100, wrong + 100)


@pytest.fixture(params=["in a transaction", "alone"])
def counted(request: pytest.FixtureRequest, seeded: str) -> Iterator[Callable[[], None]]:
    """Counts one right answer, each time over the same connection."""
    with (
        attempts.counting(targets.target(seeded)) as count,
        transactions.keeping(targets.target(seeded)) as transaction,
    ):

        def in_a_transaction() -> None:
            with transaction() as connection:
                attempts.count_progress(connection, 1, HEART, correct=True, at=AT)

        yield in_a_transaction if request.param != "alone" else lambda: count(1, HEART, correct=True, at=AT)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_after_a_lost_connection_the_next_one_is_made_anew(counted: Callable[[], None], seeded: str) -> None:
    counted()
    raw.ask(seeded, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'pharmdb'")
    with pytest.raises(UnavailableError, match="was rolled back"):
        counted()
    counted()
    assert right_answers(seeded) == KNOWN[HEART.tag][0] + 2


def right_answers(url: str) -> int:
    with transactions.reading(targets.target(url)) as connection:
        return int(progress_of(connection, HEART).correct_count)
