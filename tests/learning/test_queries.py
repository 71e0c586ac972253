"""The guide's query patterns: the right rows, through the intended index, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Connection, Select, insert, literal, null, select
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, Executable
from support.databases import DIALECTS, Databases

import pharmdb
from pharmdb.database import targets, transactions
from pharmdb.learning import attempts, queries
from pharmdb.learning.queries import Pattern
from pharmdb.models import Attempt, Bookmark, DatasetOverride, ProgressByTag, SpacedRepetitionItem, User

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
USERS, LEARNERS, EACH = 2000, 8, 1000


def fill(connection: Connection) -> None:
    """2000 users, of which eight have 1000 attempts (five at each time), progress rows, reviews and bookmarks."""
    owners = range(1, LEARNERS + 1)
    connection.execute(
        insert(User),
        [{"id": n, "email": f"user{n}@example.org", "password_hash": "h", "role": "USER"} for n in range(1, USERS + 1)],
    )
    connection.execute(
        insert(Attempt),
        [
            {
                "user_id": owner,
                "entity_type": ("question", "case", "calc")[n % 3],
                "entity_id": str(n % 20),
                "answers": [n],
                "score": n % 101,
                "created_at": NOON + HOUR * (n * 37 % EACH // 5),
            }
            for n in range(EACH)
            for owner in owners
        ],
    )
    connection.execute(
        insert(ProgressByTag),
        [
            {"user_id": owner, "module": f"m{n % 4}", "course_block": f"c{n % 5}", "tag": f"t{n}"}
            for n in range(EACH)
            for owner in owners
        ],
    )
    connection.execute(
        insert(SpacedRepetitionItem),
        [
            {
                "user_id": owner,
                "entity_type": "drug",
                "entity_id": str(n),
                "ease_factor": 2.5,
                "interval_days": 1,
                "next_review_at": NOON + HOUR * (n * 37 % EACH // 2),
                "last_reviewed_at": None if n % 2 else NOON,
            }
            for n in range(EACH)
            for owner in owners
        ],
    )
    connection.execute(
        insert(Bookmark),
        [{"user_id": owner, "entity_type": f"e{n}", "entity_id": str(owner)} for n in range(EACH) for owner in owners],
    )
    connection.execute(
        insert(DatasetOverride),
        [
            {"name": f"o{n}", "json_text": "{}", "is_active": n % 100 == 0, "created_by_id": n % 50 + 1}
            for n in range(4000)
        ],
    )


@pytest.fixture(scope="module", params=DIALECTS)
def filled(request: pytest.FixtureRequest, databases: Databases) -> str:
    url = databases.migrated(request.param)
    with transactions.writing(targets.target(url)) as connection:
        fill(connection)
    with transactions.writing(targets.target(url)) as connection:
        connection.exec_driver_sql("ANALYZE")
    return url


@pytest.fixture
def connection(filled: str) -> Iterator[Connection]:
    with pharmdb.reading(pharmdb.target(filled)) as connection:
        yield connection


# -- rows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", ["user7@example.org", "USER7@Example.org", "  user7@example.org\n"])
def test_user_by_email(connection: Connection, email: str) -> None:
    row = queries.user_by_email.one(connection, email=email)
    assert row is not None
    assert (row.id, row.email, row.role) == (7, "user7@example.org", "USER")
    assert row.created_at.tzinfo is not None
    assert "password_hash" not in row._fields


@pytest.mark.parametrize("email", ["", "nobody@example.org", "user7", "user%@example.org", "' OR 1=1 --"])
def test_user_by_an_email_that_nobody_has(connection: Connection, email: str) -> None:
    assert queries.user_by_email.one(connection, email=email) is None


def attempts_of(connection: Connection, user_id: int) -> list[tuple[datetime, int]]:
    """All of a user's attempts as (created_at, id), newest first, sorted by Python."""
    rows = connection.execute(select(Attempt.created_at, Attempt.id).where(Attempt.user_id == user_id))
    return sorted(((row.created_at, row.id) for row in rows), reverse=True)


def test_attempt_history_is_newest_first_and_ties_are_by_id(connection: Connection) -> None:
    rows = queries.attempt_history.rows(connection, user_id=7, limit=2 * EACH)
    assert len(rows) == EACH
    assert [(row.created_at, row.id) for row in rows] == attempts_of(connection, 7)
    assert {row.user_id for row in rows} == {7}
    assert rows[0]._fields == tuple(Attempt.__table__.columns.keys())


@pytest.mark.parametrize("limit", [3, 7, 50, EACH, EACH + 1])
def test_pages_of_the_history_cover_everything_exactly_once(connection: Connection, limit: int) -> None:
    seen: list[tuple[datetime, int]] = []
    while page := queries.attempt_history.rows(connection, user_id=7, limit=limit, before=seen[-1] if seen else None):
        assert len(page) <= limit
        seen += [(row.created_at, row.id) for row in page]
    assert seen == attempts_of(connection, 7)


def test_the_history_of_nobody_is_empty(connection: Connection) -> None:
    assert queries.attempt_history.rows(connection, user_id=USERS + 1) == []


def test_the_history_has_fifty_rows_unless_told(connection: Connection) -> None:
    assert len(queries.attempt_history.rows(connection, user_id=7)) == 50


KEY: dict[str, Any] = {"user_id": 7, "module": "m1", "course_block": "c3", "tag": "t13"}


def test_progress_by_key(connection: Connection) -> None:
    row = queries.progress_by_key.one(connection, **KEY)
    assert row is not None
    assert (row.user_id, row.module, row.course_block, row.tag) == (7, "m1", "c3", "t13")


@pytest.mark.parametrize("other", [{"tag": "t14"}, {"module": "M1"}, {"tag": ""}, {"user_id": USERS + 1}], ids=str)
def test_progress_by_another_key(connection: Connection, other: dict[str, Any]) -> None:
    assert queries.progress_by_key.one(connection, **KEY | other) is None


def test_due_reviews_are_longest_due_first_and_none_of_the_future(connection: Connection) -> None:
    at = NOON + 10 * HOUR
    rows = queries.due_reviews.rows(connection, user_id=7, at=at, limit=2 * EACH)
    items = connection.execute(select(SpacedRepetitionItem.__table__).where(SpacedRepetitionItem.user_id == 7)).all()
    assert rows == sorted((i for i in items if i.next_review_at <= at), key=lambda i: (i.next_review_at, i.id))
    assert rows[-1].next_review_at == at
    assert queries.due_reviews.rows(connection, user_id=7, at=at, limit=3) == rows[:3]
    assert queries.due_reviews.rows(connection, user_id=7, at=NOON - timedelta(milliseconds=1)) == []


NAIVE = datetime(2026, 3, 1)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (queries.attempt_history, {"user_id": 7, "before": (NAIVE, 1)}),
        (queries.due_reviews, {"user_id": 7, "at": NAIVE}),
    ],
    ids=["attempt_history", "due_reviews"],
)
def test_a_naive_time_is_refused(connection: Connection, query: Pattern, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        query.rows(connection, **values)
    with pytest.raises(StatementError, match="needs a zone"):
        query.frame(connection, **values)


PATTERNS: list[tuple[Pattern, dict[str, Any]]] = [
    (queries.user_by_email, {"email": " User7@example.org"}),
    (queries.attempt_history, {"user_id": 7, "limit": 9}),
    (queries.attempt_history, {"user_id": 7, "before": (NOON + 150 * HOUR, 500)}),
    (queries.progress_by_key, KEY),
    (queries.due_reviews, {"user_id": 7, "at": NOON + 400 * HOUR}),
]


@pytest.mark.parametrize(("query", "values"), PATTERNS, ids=[query.name for query, _ in PATTERNS])
def test_rows_frames_and_statements_say_the_same(
    connection: Connection, query: Pattern, values: dict[str, Any]
) -> None:
    rows = query.rows(connection, **values)
    assert rows
    assert connection.execute(query.statement(**values)).all() == rows
    frame = query.frame(connection, **values)
    assert list(frame.columns) == list(rows[0]._fields)
    assert frame.iloc[:, 0].tolist() == [row[0] for row in rows]
    pd.testing.assert_frame_equal(frame, pharmdb.frame(connection, query.statement(**values)))


@pytest.mark.parametrize(("query", "values"), PATTERNS, ids=[query.name for query, _ in PATTERNS])
def test_a_value_that_is_missing_or_unknown_is_refused(
    connection: Connection, query: Pattern, values: dict[str, Any]
) -> None:
    first = next(iter(values))
    for wrong in ({name: value for name, value in values.items() if name != first}, values | {"other": 1}):
        with pytest.raises(TypeError, match=rf"{query.name} takes .*{first}"):
            query.rows(connection, **wrong)
        with pytest.raises(TypeError, match=rf"{query.name} takes .*{first}"):
            query.statement(**wrong)
    with pytest.raises(ValueError, match="limit is 0 or more, not -1"):
        query.rows(connection, **values | {"limit": -1})
    with pytest.raises(ValueError, match="limit is 0 or more, not -1"):
        query.statement(**values | {"limit": -1})


def test_before_is_for_pages_only(connection: Connection) -> None:
    with pytest.raises(TypeError, match="due_reviews has no pages"):
        queries.due_reviews.rows(connection, user_id=7, at=NOON, before=(NOON, 1))


# -- plans --------------------------------------------------------------------------------------------

INTENDED: dict[str, tuple[Select[Any], str]] = {
    "user by e-mail": (queries.user_by_email.statement(email="user7@example.org"), "uq_users_email"),
    "attempt history": (queries.attempt_history.statement(user_id=7), "ix_attempts_user_id_created_at"),
    "attempt history, next page": (
        queries.attempt_history.statement(user_id=7, before=(NOON + 150 * HOUR, 500)),
        "ix_attempts_user_id_created_at",
    ),
    "attempts at an entity": (
        select(Attempt.id).where(Attempt.user_id == 7, Attempt.entity_type == "case", Attempt.entity_id == "4"),
        "ix_attempts_user_id_entity_type_entity_id",
    ),
    "progress by key": (
        queries.progress_by_key.statement(**KEY),
        "uq_progress_by_tag_user_id_module_course_block_tag",
    ),
    "due reviews": (
        queries.due_reviews.statement(user_id=7, at=NOON + 400 * HOUR),
        "ix_spaced_repetition_items_user_id_next_review_at",
    ),
    "active overrides": (
        select(DatasetOverride.name).where(DatasetOverride.is_active == True),  # noqa: E712
        "ix_dataset_overrides_is_active",
    ),
    "overrides of a user": (
        select(DatasetOverride.name).where(DatasetOverride.created_by_id == 7),
        "ix_dataset_overrides_created_by_id",
    ),
    "bookmarks of a user": (select(Bookmark.id).where(Bookmark.user_id == 7), "ix_bookmarks_user_id"),
    "bookmarks of an entity": (
        select(Bookmark.user_id).where(Bookmark.entity_type == "e7", Bookmark.entity_id == "7"),
        "ix_bookmarks_entity_type_entity_id",
    ),
}


class Explain(Executable, ClauseElement):
    """EXPLAIN of a statement, with parameters of the types that it has when it runs."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain, "sqlite")
def _explain_sqlite(element: Explain, compiler: Any, **kw: Any) -> str:
    return f"EXPLAIN QUERY PLAN {compiler.process(element.statement, **kw)}"


@compiles(Explain, "postgresql")
def _explain_postgresql(element: Explain, compiler: Any, **kw: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **kw)}"


def explained(connection: Connection, statement: Select[Any]) -> list[Any]:
    cursor: Any = connection.execute(Explain(statement)).cursor
    return list(cursor.fetchall())


def complaints(connection: Connection, statement: Select[Any], index: str) -> list[str]:
    """What is wrong with the plan: another index, a scan of a whole table, or a sort that the index could spare."""
    if connection.dialect.name == "sqlite":
        if index.startswith("uq_"):
            index = unique_index(connection, statement, index)
        plan = [str(detail) for *_, detail in explained(connection, statement)]
        found = [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step]
        return found + ([] if any(f"INDEX {index} " in step for step in plan) else [f"not by {index}: {plan}"])
    (((tree,),),) = explained(connection, statement)
    nodes = list(_nodes(tree["Plan"]))
    # Rows of one time are sorted by id within the order that the index gives: an incremental sort.
    found = [node["Node Type"] for node in nodes if node["Node Type"] in ("Seq Scan", "Sort")]
    return found + ([] if index in [node.get("Index Name") for node in nodes] else [f"not by {index}: {tree}"])


def table_of(statement: Select[Any]) -> str:
    (table,) = statement.get_final_froms()
    return str(table)


def unique_index(connection: Connection, statement: Select[Any], constraint: str) -> str:
    """SQLite's own name for the index behind a named unique constraint; "?" if there is none."""
    table = table_of(statement)
    for _, name, unique, origin, _ in connection.exec_driver_sql(f"PRAGMA index_list({table})").all():
        columns = connection.exec_driver_sql(f"PRAGMA index_info({name})").all()
        if unique and origin == "u" and constraint == f"uq_{table}_{'_'.join(column for *_, column in columns)}":
            return str(name)
    return "?"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


@pytest.mark.parametrize("pattern", INTENDED)
def test_a_pattern_is_served_by_its_index(connection: Connection, pattern: str) -> None:
    assert complaints(connection, *INTENDED[pattern]) == []


def test_the_index_itself_finds_where_the_next_page_starts(connection: Connection) -> None:
    """Not by going over all the newer rows: the hundredth page costs what the first one did."""
    plan = repr(explained(connection, INTENDED["attempt history, next page"][0]))
    assert "(user_id=? AND created_at<?)" in plan or "((user_id = '7'::bigint) AND (created_at <= " in plan


def test_the_last_attempt_at_an_entity_is_found_by_its_index(connection: Connection) -> None:
    """Which attempts were made before is looked up at each new one, so it must not go over all of them."""
    values = {"user_id": 7, "entity_type": "case", "entity_id": "4", "attempt_id": 1}
    statement = attempts.LAST_ATTEMPT.with_only_columns(Attempt.id).params(values).limit(1)
    plan = repr(explained(connection, statement))
    assert "ix_attempts_user_id_entity_type_entity_id" in plan
    assert not re.search("Seq Scan|SCAN", plan)


@pytest.mark.parametrize("pattern", INTENDED)
def test_without_its_index_the_check_fails(filled: str, pattern: str) -> None:
    statement, index = INTENDED[pattern]
    with transactions.changing_schema(targets.target(filled)) as connection:
        savepoint = connection.begin_nested()
        if not index.startswith("uq_"):
            connection.exec_driver_sql(f"DROP INDEX {index}")
        elif connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"ALTER TABLE {table_of(statement)} DROP CONSTRAINT {index}")
        else:
            rebuild_without(connection, table_of(statement), index)
        found = complaints(connection, statement, index)
        savepoint.rollback()
        assert found != []
        assert complaints(connection, statement, index) == []


def rebuild_without(connection: Connection, table: str, constraint: str) -> None:
    """SQLite drops no constraint: another table takes the place, with the rows and without any index."""
    connection.exec_driver_sql(f"CREATE TABLE bare AS SELECT * FROM {table}")
    connection.exec_driver_sql(f"DROP TABLE {table}")
    connection.exec_driver_sql(f"ALTER TABLE bare RENAME TO {table}")


# -- frames -------------------------------------------------------------------------------------------

DTYPES = {
    "id": "Int64",
    "user_id": "Int64",
    "entity_type": "str",
    "entity_id": "str",
    "ease_factor": "Float64",
    "interval_days": "Int64",
    "next_review_at": "datetime64[us, UTC]",
    "last_reviewed_at": "datetime64[us, UTC]",
}


@pytest.mark.parametrize(("user_id", "rows"), [(7, 50), (USERS + 1, 0)])
def test_a_frame_has_the_same_dtypes_with_and_without_rows(connection: Connection, user_id: int, rows: int) -> None:
    data = queries.due_reviews.frame(connection, user_id=user_id, at=NOON + 100 * HOUR)
    assert len(data) == rows
    assert {column: str(dtype) for column, dtype in data.dtypes.items()} == DTYPES


def test_a_frame_holds_the_values_of_the_rows(connection: Connection) -> None:
    statement = queries.due_reviews.statement(user_id=7, at=NOON + 100 * HOUR, limit=5)
    data = pharmdb.frame(connection, statement)
    for (_, found), row in zip(data.iterrows(), connection.execute(statement), strict=True):
        assert [None if pd.isna(value) else value for value in found] == list(row)


@pytest.mark.parametrize("rows", [0, 3])
def test_a_frame_of_every_kind_of_column(connection: Connection, rows: int) -> None:
    overrides = select(DatasetOverride.name, DatasetOverride.is_active).limit(rows)
    assert [str(d) for d in pharmdb.frame(connection, overrides).dtypes] == ["str", "boolean"]
    attempts = queries.attempt_history.frame(connection, user_id=7, limit=rows)
    assert [str(attempts[name].dtype) for name in ("answers", "score", "feedback")] == ["object", "Float64", "object"]
    assert attempts["answers"].map(type).tolist() == [list] * rows


def test_a_frame_with_nothing_but_empty_values(connection: Connection) -> None:
    times = select(SpacedRepetitionItem.last_reviewed_at).where(SpacedRepetitionItem.last_reviewed_at.is_(None))
    data = pharmdb.frame(connection, times.limit(3))
    assert str(data["last_reviewed_at"].dtype) == "datetime64[us, UTC]"
    assert data["last_reviewed_at"].isna().all()
    numbers = select(null().cast(Attempt.score.type).label("score"), null().cast(User.id.type).label("id"))
    data = pharmdb.frame(connection, numbers)
    assert [str(dtype) for dtype in data.dtypes] == ["Float64", "Int64"]
    assert data.isna().all(axis=None)
    texts = pharmdb.frame(connection, select(null().cast(User.email.type).label("email"), literal("x").label("x")))
    assert [str(dtype) for dtype in texts.dtypes] == ["str", "str"]
    assert texts["email"].isna().all()
