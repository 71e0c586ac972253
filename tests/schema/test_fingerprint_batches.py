"""Read thousands of rows at a time, a database has the fingerprint that it has row by row."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from support.contents import undone
from support.databases import DIALECTS, Databases
from support.fingerprinting import FIRST, attempts, batches, prints, time
from support.json_trees import RANDOMS, TEXT, TREES, Tree, number, render

import pharmdb
from pharmdb.database import bulk, targets, transactions
from pharmdb.models import Attempt, ProgressByTag, SpacedRepetitionItem, User
from pharmdb.schema import fingerprint_batches, fingerprint_readers, fingerprint_values
from pharmdb.schema.canonical import canonical_json, canonical_texts

USERS = ["bob", "ann", "ab", "zoe"]
LARGE = (Attempt, ProgressByTag, SpacedRepetitionItem)


@pytest.fixture(scope="module", params=DIALECTS)
def connection(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Connection]:
    """A transaction on a database with some users, whose ids have another order than their names."""
    with transactions.writing(targets.target(databases.migrated(request.param))) as connection:
        users = [(id_, f"{name}@example.org", "!") for id_, name in enumerate(USERS, start=FIRST)]
        bulk.insert(connection, "users", ("id", "email", "password_hash"), users)
        yield connection


# What SQLite and PostgreSQL both store: no NUL, and for PostgreSQL no number beyond its limits.
NASTY = st.sampled_from(["", '"', "\\", "\\u001e", "\x1f", "\x1e", "\x1d", "č\n", "🐎", "a'b", "\x7f"]) | TEXT
JSON = st.builds(render, TREES.filter(lambda tree: "\x00" not in repr(tree)), RANDOMS)
# The first and the last years, too.
SECONDS = st.integers(0, 3) | st.sampled_from([-63_900_000_000, -1_772_366_401, 251_600_000_000])
SCORES = st.sampled_from([0.0, -0.0, 100.0, 1e-5, 0.1 + 0.2, 5e-324, 33.333333333333336]) | st.floats(0, 100)


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(
    done=st.lists(
        st.tuples(st.integers(0, 3), NASTY, JSON, SCORES, st.none() | JSON, SECONDS), min_size=1, max_size=12
    ),
    tags=st.lists(st.tuples(st.integers(0, 3), NASTY, NASTY, st.integers(0, 9)), max_size=9, unique_by=lambda r: r[:3]),
    items=st.lists(
        st.tuples(st.integers(0, 3), NASTY, st.floats(1.3, 9), st.none() | st.integers(-9, 0)),
        max_size=9,
        unique_by=lambda r: r[:2],
    ),
)
@example(done=[(0, "q", "1e400", -0.0, None, 0), (0, "q", "[1e400, 1]", 0.0, "null", 0)], tags=[], items=[])
@example(done=[(0, "q", '{"b": 1.0, "a": 1, "a": 2}', 1.5, "-0.0", 0)] * 7, tags=[], items=[])
@example(done=[(0, "q", f'"\\ud83d\\ude00 \\"{n}"', 1.0, str(10**310 + n), n) for n in range(9)], tags=[], items=[])
def test_any_rows_have_one_fingerprint_however_they_are_read(
    connection: Connection,
    done: list[tuple[Any, ...]],
    tags: list[tuple[Any, ...]],
    items: list[tuple[Any, ...]],
) -> None:
    with undone(connection):
        attempts(connection, done)
        columns = ("user_id", "module", "course_block", "tag", "correct_count", "wrong_count", "last_attempt_at")
        rows = [(FIRST + user, module, "c", tag, count, 0, time(count)) for user, module, tag, count in tags]
        bulk.insert(connection, "progress_by_tag", columns, rows)
        names = ("user_id", "entity_type", "entity_id", "ease_factor", "interval_days", "next_review_at")
        due = [
            (FIRST + user, "drug", entity, ease, 1, time(0), None if last is None else time(last))
            for user, entity, ease, last in items
        ]
        bulk.insert(connection, "spaced_repetition_items", (*names, "last_reviewed_at"), due)
        prints(connection)


def test_usual_rows_are_read_in_batches_only(connection: Connection, row_by_row: list[str]) -> None:
    with undone(connection):
        attempts(connection, [(n % 3, f"č{n}", f'{{"n": {n}}}', n / 7, None, n) for n in range(50)])
        prints(connection)
    assert row_by_row == []


def test_a_condition_on_users_limits_batches_too(connection: Connection, row_by_row: list[str]) -> None:
    with undone(connection):
        attempts(connection, [(n % 3, f"q{n}", "{}", 1.0, "[]", n) for n in range(20)])
        one = prints(connection, users=User.email == "ann@example.org")
        assert one == prints(connection, users=text("users.email = 'ann@example.org'"))
        assert one != prints(connection, users=User.email == "ab@example.org") != prints(connection)
    assert row_by_row == []


def test_a_busy_user_whose_rows_have_no_index_in_byte_order_is_read_row_by_row(
    connection: Connection, row_by_row: list[str]
) -> None:
    with undone(connection):
        columns = ("user_id", "module", "course_block", "tag", "last_attempt_at")
        bulk.insert(connection, "progress_by_tag", columns, [(FIRST, "m", "c", f"t{n}", time(n)) for n in range(41)])
        prints(connection)
    assert set(row_by_row) == ({"progress_by_tag"} if connection.dialect.name == "postgresql" else set())


@pytest.mark.parametrize(
    "rows",
    [
        [(0, "a\x1eb", "{}", 1.0, None, 0), (0, "c", "{}", 1.0, None, 1)],
        [(0, "a", f'"{"x" * 5000}"', 1.0, None, 0), (0, "c", "{}", 1.0, None, 1)],
        [(0, "a", f'"{"x" * 5000}"', 1.0, f"[{'1,' * 3000}1]", 0)],
        [(0, "x" * 30_000, "{}", 1.0, None, 0), (0, "c", "{}", 1.0, None, 1)],
    ],
    ids=["separator", "long", "only long", "long text"],
)
def test_what_batches_cannot_tell_apart_or_hold_is_read_row_by_row(
    connection: Connection, row_by_row: list[str], rows: list[tuple[Any, ...]]
) -> None:
    with undone(connection):
        attempts(connection, [*rows, (1, "other", "{}", 1.0, None, 1)])
        prints(connection)
    assert set(row_by_row) == {"attempts"}


def test_rows_of_one_moment_are_read_row_by_row_where_their_size_is_not_limited(
    connection: Connection, row_by_row: list[str]
) -> None:
    with undone(connection):
        attempts(connection, [(1, f"q{n % 20}", "{}", 1.0, None, n // 20) for n in range(25)])
        prints(connection)
    # SQLite limits the bytes of a result.
    assert set(row_by_row) == ({"attempts"} if connection.dialect.name == "postgresql" else set())


def test_what_parts_the_users_of_a_batch_may_be_text(connection: Connection, row_by_row: list[str]) -> None:
    with undone(connection):
        attempts(connection, [(0, "a\x1db", "{}", 1.0, None, 0), (1, "c", "{}", 1.0, None, 0)])
        prints(connection)
    # Only SQLite joins what belongs to several users.
    assert set(row_by_row) == ({"attempts"} if connection.dialect.name == "sqlite" else set())


def test_rows_that_no_index_has_in_order_are_sorted(connection: Connection, row_by_row: list[str]) -> None:
    with undone(connection):
        attempts(connection, [(n % 2, f"q{n}", "{}", n / 3, None, -n) for n in range(30)])
        before = prints(connection)
        connection.exec_driver_sql("DROP INDEX ix_attempts_user_id_created_at")
        assert prints(connection) == before
    assert row_by_row == []


def test_rows_with_one_key_that_exchange_a_value_are_other_rows(connection: Connection) -> None:
    found = set()
    for scores in ((1.0, 2.0), (2.0, 1.0)):
        with undone(connection):
            attempts(connection, [(0, "q", f'"{n}"', score, None, 0) for n, score in enumerate(scores)])
            found.add(tuple(prints(connection)))
    assert len(found) == 2


@pytest.mark.parametrize("option", ["", "&options=-cextra_float_digits%3D0"])
def test_a_server_that_shortens_doubles_changes_nothing(databases: Databases, option: str) -> None:
    with databases.dropped(databases.migrated("postgresql")) as url:
        with transactions.writing(targets.target(url)) as connection:
            bulk.insert(connection, "users", ("id", "email", "password_hash"), [(FIRST, "bob@example.org", "!")])
            attempts(connection, [(0, "q", "{}", 100 / 3, None, 0)])
            before = prints(connection)
            name = targets.target(url).name
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET extra_float_digits = 0")
        with transactions.reading(targets.target(url + option)) as connection:
            assert connection.exec_driver_sql("SELECT score FROM attempts").scalar_one() == 100 / 3
            assert prints(connection) == before


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(numbers=st.lists(st.floats(0, 10**6) | st.floats(1e-5, 1e9) | st.floats(allow_nan=False), min_size=1))
@example(numbers=[0.0, -0.0, 1e15, 1e16, float(2**53), float(2**63), -float(2**63), 1e300, float("inf"), 5e-324])
def test_doubles_are_written_together_as_each_is(numbers: list[float]) -> None:
    written = [fingerprint_values.real(x) for x in numbers]
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE t (x REAL NOT NULL) STRICT")
        database.executemany("INSERT INTO t VALUES (?)", [(x,) for x in numbers])
        decimals = database.execute(f"SELECT {fingerprint_readers.exact_decimal('x')} FROM t").fetchall()
    by_sqlite = {str(decimal): line for (decimal,), line in zip(decimals, written, strict=True) if decimal is not None}
    by_postgresql = {repr(x).removesuffix(".0"): line for x, line in zip(numbers, written, strict=True)}
    assert len(by_sqlite) >= len({x for x in numbers if 1e-5 <= x <= 1e9})
    for found in filter(None, (by_sqlite, by_postgresql)):
        joined = fingerprint_values.CUT.join(found).encode()
        assert fingerprint_values.Reals().lines(joined, len(found)).decode().splitlines() == list(found.values())


def _documents(*documents: str) -> Callable[[Connection], None]:
    return lambda connection: attempts(connection, [(0, f"q{n}", d, 1.0, d, n) for n, d in enumerate(documents)])


def _no_time(connection: Connection) -> None:
    _documents("{}", "{}", "{}")(connection)
    connection.exec_driver_sql("""UPDATE attempts SET created_at = '"\\"' WHERE entity_id = 'q1'""")


@pytest.mark.parametrize(
    "damage",
    [
        _documents("[1", "2]", "{}"),
        _documents("1,2", "[3", "4]"),
        _documents("NaN", "1"),
        _documents("\x1f", "{}"),
        _documents("[" * 899, "{}"),
        _documents("[" * 1500 + "]" * 1500, "{}"),
        _no_time,
    ],
)
def test_a_damaged_file_has_one_fingerprint_however_it_is_read(
    databases: Databases, damage: Callable[[Connection], None]
) -> None:
    with transactions.writing(targets.target(databases.migrated("sqlite"))) as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        bulk.insert(connection, "users", ("id", "email", "password_hash"), [(FIRST, "bob@example.org", "!")])
        damage(connection)
        prints(connection)


def test_text_that_is_no_utf8_is_the_same_error_however_it_is_read(databases: Databases) -> None:
    with transactions.writing(targets.target(databases.migrated("sqlite"))) as connection:
        bulk.insert(connection, "users", ("id", "email", "password_hash"), [(FIRST, "bob@example.org", "!")])
        attempts(connection, [(0, f"q{n}", "{}", 1.0, None, n) for n in range(9)])
        # 0x96 alone is no UTF-8.
        connection.exec_driver_sql("UPDATE attempts SET entity_id = CAST(x'6196' AS TEXT) WHERE entity_id = 'q1'")
        for rows in (3, 10**4):
            with batches(rows), pytest.raises(OperationalError, match="UTF-8"):
                pharmdb.fingerprint(connection)
        with pytest.raises(OperationalError, match="UTF-8"):
            pharmdb.fingerprint(connection)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(trees=st.lists(TREES, max_size=6), random=RANDOMS)
@example(trees=[number(1, 400), number(15, -1), number(10**25 + 1, -30)], random=Random(0))
def test_many_documents_are_canonical_as_each_is(trees: list[Tree], random: Random) -> None:
    documents = [render(tree, random) for tree in trees]
    found = canonical_texts(documents)
    assert found.keys() >= {document for document in documents if len(document) <= 300}
    assert found == {document: canonical_json(document) for document in found}


@pytest.mark.parametrize("documents", [["[1", "2]"], ["1", "2,3"], ["NaN"], [""], [], ["[" * 899], ["1", "[" * 899]])
def test_many_documents_with_one_that_is_no_json_are_left_out(documents: list[str]) -> None:
    assert canonical_texts(documents) == {}


def test_many_users_with_a_row_each_are_not_worth_batches(connection: Connection) -> None:
    def worthwhile() -> bool:
        with batches(2), pytest.MonkeyPatch.context() as patch:
            patch.setattr(fingerprint_batches, "FEW", 4)
            return fingerprint_batches.worthwhile(connection, Attempt)

    with undone(connection):
        users = [(id_, f"{id_}@example.org", "!") for id_ in range(100, 110)]
        bulk.insert(connection, "users", ("id", "email", "password_hash"), users)
        attempts(connection, [(user - FIRST, "q", "{}", 1.0, None, 0) for user, *_ in users])
        assert not worthwhile()
        attempts(connection, [(user - FIRST, "r", "{}", 1.0, None, 0) for user, *_ in users])
        assert worthwhile()


def test_long_documents_are_not_kept() -> None:
    def kept() -> int:
        return fingerprint_values._short_document.cache_info().currsize

    fingerprint_values._short_document.cache_clear()
    assert fingerprint_values.document(" 1.0") == '"1"'
    assert fingerprint_values.document(f'["{"x" * 2000}" ]') == fingerprint_values.text(f'["{"x" * 2000}"]')
    assert kept() == 1


def test_what_is_kept_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint_values, "_KEPT", 10_000)
    values = fingerprint_values.Reals()
    for n in range(200):
        joined = fingerprint_values.CUT.join([f"{n}.5", f"{n}.25"] * 3).encode()
        assert values.lines(joined, 6) == f"{n}.5\n{n}.25\n".encode() * 3
        assert len(values.kept) < 80
