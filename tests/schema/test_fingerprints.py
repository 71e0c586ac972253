"""One content, one fingerprint: on both databases, in any order, with any ids; another content, another one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, insert, select, text, update
from support.contents import undone
from support.databases import DIALECTS, Databases
from support.json_trees import RANDOMS, TEXT, TREES, Tree, number, render

import pharmdb
from pharmdb.database import targets, transactions
from pharmdb.models import MODELS, Attempt, Base, Bookmark, DatasetOverride, ProgressByTag, User
from pharmdb.schema.canonical import canonical_json

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
ANN, BOB = "ann@example.org", "bob@example.org"

# The rows of each table; "owner" is an e-mail address, which becomes an id.
CONTENT: dict[str, list[dict[str, Any]]] = {
    "users": [
        {"email": ANN, "password_hash": "h1", "role": "USER", "created_at": NOON},
        {"email": BOB, "password_hash": "h2", "role": "ADMIN", "created_at": NOON + timedelta(days=1)},
    ],
    "user_settings": [
        {"owner": ANN, "language": "en", "created_at": NOON, "updated_at": NOON},
    ],
    "bookmarks": [
        {"owner": ANN, "entity_type": "drug", "entity_id": name, "created_at": NOON}
        for name in ("z", "Z", "ä", "a", "\ue000", "🐎", "", " ")
    ],
    "attempts": [
        # The first two have one natural key.
        {"owner": ANN, "score": 50.5, "answers": {"a": 1, "b": [2]}, "feedback": None},
        {"owner": ANN, "score": 7.0, "answers": "x", "feedback": {"ok": False}},
        {"owner": BOB, "score": 1 / 3, "answers": [], "feedback": "č"},
    ],
    "progress_by_tag": [
        {"owner": ANN, "module": "m", "course_block": "c", "tag": "t", "correct_count": 3, "wrong_count": 4},
        {"owner": BOB, "module": "m", "course_block": "c", "tag": "u", "correct_count": 0, "wrong_count": 0},
    ],
    "spaced_repetition_items": [
        {"owner": ANN, "entity_id": "e1", "ease_factor": 2.5, "interval_days": 1, "last_reviewed_at": None},
        {"owner": ANN, "entity_id": "e2", "ease_factor": 1.3, "interval_days": 9, "last_reviewed_at": NOON},
    ],
    "dataset_overrides": [
        {"owner": BOB, "name": "n", "description": "d", "json_text": '{"a": 1}', "is_active": True},
        {"owner": BOB, "name": "N", "description": "", "json_text": "[]", "is_active": False},
    ],
}
for row in CONTENT["attempts"]:
    row |= {"entity_type": "case", "entity_id": "7", "created_at": NOON}
for row in CONTENT["progress_by_tag"]:
    row |= {"last_attempt_at": NOON}
for row in CONTENT["spaced_repetition_items"]:
    row |= {"entity_type": "drug", "next_review_at": NOON + timedelta(days=3)}
for row in CONTENT["dataset_overrides"]:
    row |= {"created_at": NOON, "updated_at": NOON}

# Another value for each column of the first row.
CHANGES: dict[str, dict[str, Any]] = {
    "users": {"email": "anna@example.org", "role": "ADMIN", "created_at": NOON + timedelta(milliseconds=1)},
    "user_settings": {
        "user_id": BOB,
        "language": "cs",
        "created_at": NOON - timedelta(days=1),
        "updated_at": NOON - timedelta(days=1),
    },
    "bookmarks": {"user_id": BOB, "entity_type": "Drug", "entity_id": "y", "created_at": NOON + timedelta(hours=1)},
    "attempts": {
        "user_id": BOB,
        "entity_type": "calc",
        "entity_id": "07",
        "answers": {"a": 1, "b": ["2"]},
        "score": math.nextafter(50.5, 51),
        "feedback": {},
        "created_at": NOON - timedelta(milliseconds=1),
    },
    "progress_by_tag": {
        "user_id": BOB,
        "module": "M",
        "course_block": "c ",
        "tag": "",
        "correct_count": 4,
        "wrong_count": 3,
        "last_attempt_at": NOON + timedelta(seconds=1),
    },
    "spaced_repetition_items": {
        "user_id": BOB,
        "entity_type": "question",
        "entity_id": "e3",
        "ease_factor": 2.6,
        "interval_days": 2,
        "next_review_at": NOON + timedelta(days=4),
        "last_reviewed_at": NOON,
    },
    "dataset_overrides": {
        "created_by_id": ANN,
        "name": "m",
        "description": "D",
        "json_text": '{"a": 2}',
        "is_active": False,
        "created_at": NOON + timedelta(days=1),
        "updated_at": NOON + timedelta(days=1),
    },
}
RENEWED = {"created_at", "updated_at", "last_attempt_at"}
COLUMNS = [
    pytest.param(model, column.name, id=f"{model.__tablename__}.{column.name}")
    for model in MODELS
    for column in model.__table__.columns
    if column.name not in ("id", "password_hash")
]


def fill(connection: Connection, *, first_id: int = 1, backwards: bool = False) -> None:
    """Inserts CONTENT, with ids from `first_id`."""
    ids: dict[str, int] = {}
    for model in MODELS:
        rows = CONTENT[model.__tablename__]
        for id_, row in enumerate(reversed(rows) if backwards else rows, start=first_id):
            values = {"id": id_, **row}
            if "owner" in values:
                owner = "created_by_id" if model is DatasetOverride else "user_id"
                values[owner] = ids[values.pop("owner")]
            else:
                ids[row["email"]] = id_
            connection.execute(insert(model).values(values))


def prints(connection: Connection) -> tuple[str, str]:
    return pharmdb.fingerprint(connection), pharmdb.fingerprint(connection, seed=True)


@pytest.fixture(scope="module", params=DIALECTS)
def filled(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Connection]:
    """One transaction on a database with CONTENT; each test goes back to it by a savepoint."""
    with transactions.writing(targets.target(databases.migrated(request.param))) as connection:
        fill(connection)
        yield connection


@pytest.fixture(scope="module")
def both(databases: Databases) -> Iterator[list[Connection]]:
    """A transaction on an empty database of each kind."""
    one, other = (targets.target(databases.migrated(dialect)) for dialect in DIALECTS)
    with transactions.writing(one) as first, transactions.writing(other) as second:
        yield [first, second]


def user_id(connection: Connection, email: str) -> int:
    return connection.scalars(select(User.id).where(User.email == email)).one()


# -- the same content ---------------------------------------------------------------------------------


def test_the_same_content_has_one_fingerprint_on_every_database_in_any_order_and_with_any_ids(
    both: list[Connection],
) -> None:
    found = set()
    for connection in both:
        for first_id, backwards in ((1, False), (1, True), (5000, False), (2**40, True)):
            with undone(connection):
                fill(connection, first_id=first_id, backwards=backwards)
                found.add(prints(connection))
    # Written down: it must be the same on every machine and in every version, too.
    assert found == {
        (
            "c59368b8c5f188f01cad81cc4ead7dea67ee53a0a9570bcebdb69bdacb272893",
            "24493cfd269030a4e3754c1bd945cbeda497164a1ffeb96a853c205ca693e040",
        )
    }


def test_a_fingerprint_is_64_hex_digits_and_the_empty_database_has_one_too(both: list[Connection]) -> None:
    found = {pharmdb.fingerprint(connection) for connection in both}
    assert len(found) == 1
    assert found.pop().strip("0123456789abcdef") == ""


TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = st.recursive(
    LEAVES | TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    bookmarks=st.lists(st.tuples(TEXT, TEXT, TIMES), max_size=6),
    attempts=st.lists(st.tuples(TEXT, DOCUMENTS, st.floats(0, 100), TIMES), max_size=6),
    tags=st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=6, unique=True),
)
@example(bookmarks=[], attempts=[("", 1e300, -0.0, NOON)], tags=[])
@example(bookmarks=[], attempts=[("", [0.1 + 0.2, 5e-324, 1e16, 2**64], 100.0, NOON)], tags=[])
def test_any_rows_have_the_same_fingerprint_on_both(
    both: list[Connection],
    bookmarks: list[tuple[str, str, datetime]],
    attempts: list[tuple[str, Any, float, datetime]],
    tags: list[tuple[str, str, str]],
) -> None:
    found = set()
    for way, connection in zip((1, -1), both, strict=True):
        with undone(connection):
            connection.execute(insert(User).values(id=1, email=ANN, password_hash="", role="USER", created_at=NOON))
            for entity_type, entity_id, time in bookmarks[::way]:
                row = {"user_id": 1, "entity_type": entity_type, "entity_id": entity_id, "created_at": time}
                connection.execute(insert(Bookmark).values(row))
            for entity_id, document, score, time in attempts[::way]:
                row = {"user_id": 1, "entity_type": "calc", "entity_id": entity_id, "score": score, "created_at": time}
                answers = "" if document is None else document
                connection.execute(insert(Attempt).values(row | {"answers": answers, "feedback": document}))
            for module, course_block, tag in tags[::way]:
                row = {
                    "user_id": 1,
                    "module": module,
                    "course_block": course_block,
                    "tag": tag,
                    "last_attempt_at": NOON,
                }
                connection.execute(insert(ProgressByTag).values(row))
            found.add(prints(connection))
    assert len(found) == 1


def test_postgresql_sorts_by_bytes_whatever_the_databases_collation(both: list[Connection]) -> None:
    """The server of the tests may know no other collation, so this reads the statements."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    event.listen(both[1], "before_cursor_execute", note)
    pharmdb.fingerprint(both[1])
    event.remove(both[1], "before_cursor_execute", note)
    keys = [s.partition("ORDER BY")[2].split(",") for s in seen if "ORDER BY" in s and "LIMIT" not in s]
    assert len(keys) == len(MODELS)
    for key in (part for parts in keys for part in parts):
        assert key.strip().endswith(('COLLATE "C"', ".created_at"))


def test_a_time_counts_as_the_moment_it_is_not_as_it_was_written(filled: Connection) -> None:
    before = prints(filled)
    with undone(filled):
        elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=45)))
        filled.execute(update(Bookmark).values(created_at=elsewhere))
        assert prints(filled) == before


@pytest.mark.parametrize("spelling", ['{"a":1}', ' {"a" : 1.0}\n', '{"a": 1e0}', '{"\\u0061": 10E-1}'])
def test_json_counts_as_the_value_it_is(filled: Connection, spelling: str) -> None:
    before = prints(filled)
    with undone(filled):
        filled.execute(
            update(DatasetOverride).where(DatasetOverride.name == "n").values(json_text=spelling, updated_at=NOON)
        )
        assert prints(filled) == before


# -- other content ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "column"), COLUMNS)
def test_a_change_of_any_column_changes_the_fingerprint(filled: Connection, model: type[Base], column: str) -> None:
    value = CHANGES[model.__tablename__][column]
    if column in ("user_id", "created_by_id"):
        value = user_id(filled, value)
    full, seed = prints(filled)
    with undone(filled):
        # A change of one row, and not to what an UPDATE would renew by itself.
        kept = {"updated_at": NOON} if "updated_at" in model.__table__.columns else {}
        changed = filled.execute(update(model).where(model.__table__.c.id == 1).values(kept | {column: value}))
        assert changed.rowcount == 1
        full_now, seed_now = prints(filled)
    assert full_now != full
    assert (seed_now == seed) is (column in RENEWED)


@pytest.mark.parametrize("model", MODELS)
def test_a_row_less_or_more_changes_the_fingerprint(filled: Connection, model: type[Base]) -> None:
    before = prints(filled)
    with undone(filled):
        filled.execute(model.__table__.delete().where(model.__table__.c.id == 1))  # type: ignore[attr-defined]
        after = prints(filled)
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_the_same_attempt_twice_is_not_the_same_as_once(filled: Connection) -> None:
    before = prints(filled)
    with undone(filled):
        columns = [column for column in Attempt.__table__.columns if column.name != "id"]
        copy = select(text("77"), *columns).where(Attempt.id == 3)
        filled.execute(insert(Attempt).from_select(["id", *(column.name for column in columns)], copy))
        after = prints(filled)
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_the_password_hash_does_not_count(filled: Connection) -> None:
    before = prints(filled)
    with undone(filled):
        filled.execute(update(User).values(password_hash="another"))
        assert prints(filled) == before


# -- canonical JSON -----------------------------------------------------------------------------------

QUICK = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def typed(tree: Tree) -> Tree:
    """Python takes True for 1, and a list for no tuple; JSON doesn't."""
    if isinstance(tree, dict):
        return {key: typed(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [typed(value) for value in tree]
    return (type(tree).__name__, tree)


@QUICK
@given(tree=TREES, one=RANDOMS, other=RANDOMS)
def test_equal_values_have_one_canonical_text(tree: Tree, one: Random, other: Random) -> None:
    assert canonical_json(render(tree, one)) == canonical_json(render(tree, other))


@QUICK
@given(left=TREES, right=TREES, random=RANDOMS)
@example(left=number(1, 400), right="1E400", random=Random(0))
@example(left=number(1, 400), right=number(1, 401), random=Random(0))
@example(left=number(10**400 + 1, 0), right=number(10**400 + 2, 0), random=Random(0))
@example(left=number(1, -400), right=number(0, 0), random=Random(0))
@example(left=number(1, -400), right=number(1, -401), random=Random(0))
@example(left=number(1, -1), right=number(10**19 + 1, -20), random=Random(0))
@example(left=number(2**53, 0), right=number(2**53 + 1, 0), random=Random(0))
@example(left=True, right=number(1, 0), random=Random(0))
def test_different_values_have_different_texts(left: Tree, right: Tree, random: Random) -> None:
    same = canonical_json(render(left, random)) == canonical_json(render(right, random))
    assert same == (typed(left) == typed(right))


@QUICK
@given(tree=TREES, random=RANDOMS)
def test_canonical_text_is_canonical_already(tree: Tree, random: Random) -> None:
    canonical = canonical_json(render(tree, random))
    assert canonical is not None
    assert canonical_json(canonical) == canonical
    assert canonical.isascii()
    json.loads(canonical)


@settings(QUICK, max_examples=150)
@given(tree=TREES, random=RANDOMS)
@example(tree=number(0, 0), random=Random(1))
@example(tree=[number(1, 400), number(-1, -400)], random=Random(1))
def test_what_postgresql_gives_back_is_canonically_the_same(both: list[Connection], tree: Tree, random: Random) -> None:
    original = render(tree, random)
    returned = both[1].scalar(text("SELECT CAST(:document AS jsonb)::text"), {"document": original})
    assert canonical_json(returned) == canonical_json(original)


@pytest.mark.parametrize(
    ("document", "canonical"),
    [
        (None, None),
        ("1", "1"),
        ("1.0", "1"),
        ("1e0", "1"),
        ("1E+0", "1"),
        ("0.1e1", "1"),
        ("-0.0", "0"),
        ("-0", "0"),
        ("0e999", "0"),
        ("1.50", "1.5"),
        ("1e2", "100"),
        ("9007199254740993", "9007199254740993"),
        ("1e400", "1E400"),
        ("10e399", "1E400"),
        ("-12e-400", "-12E-400"),
        ("1e99999999999999999999", "1e99999999999999999999"),
        ('{"b": 1, "a": [ null , true ]}', '{"a":[null,true],"b":1}'),
        ('{"a": 1, "a": 2}', '{"a":2}'),
        ('"\\u010d"', '"\\u010d"'),
        ('"č"', '"\\u010d"'),
        ('"\\/"', '"/"'),
    ],
)
def test_canonical_json(document: str | None, canonical: str | None) -> None:
    assert canonical_json(document) == canonical
