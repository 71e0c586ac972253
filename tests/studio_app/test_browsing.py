"""Pages, filters and search, against the same rows in pandas."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from support.databases import DIALECTS, Databases

from pharmdb.database import targets, transactions
from pharmdb.errors import ParameterError
from pharmdb.studio_app import browsing, cells, sessions, values
from pharmdb.studio_app.catalogue import Catalogue, Column, Table, catalogue, find
from pharmdb.studio_app.filters import Filter, View
from pharmdb.studio_app.statement_log import MORE, Session, StatementLog

ROWS: list[dict[str, Any]] = [
    {
        "id": n,
        "name": [None, "", "alpha", "Beta", "beta", "é", "Z%_\\", "naïve ASPIRIN", "10"][n * 7 % 9],
        "amount": [None, 0, -1, 2**62, 17][n * 3 % 5],
        "ratio": [None, 0.0, -0.5, 1e300, 1 / 3, 17.0, 2.5][n * 5 % 7],
        "at": [None, "2026-01-02 03:04:05.000006", "2026-01-02 03:04:05", "1999-12-31 23:59:59.9"][n * 3 % 4],
        "flag": [None, True, False][n % 3],
    }
    for n in range(1, 48)
]
FRAME = pd.DataFrame(ROWS).astype(object).where(lambda frame: frame.notna(), None)
NAMES = ("id", "name", "amount", "ratio", "at", "flag")


@pytest.fixture(scope="module", params=DIALECTS)
def opened(request: pytest.FixtureRequest, databases: Databases) -> Iterator[tuple[Session, Catalogue]]:
    """A session on a table with NULLs, equal values and odd texts in it."""
    url = databases.migrated(request.param)
    sqlite = request.param == "sqlite"
    types = ("INTEGER", "TEXT", "INTEGER", "REAL", "DATETIME", "BOOLEAN")
    if not sqlite:
        types = ("BIGINT", "VARCHAR", "BIGINT", "DOUBLE PRECISION", "TIMESTAMP", "BOOLEAN")
    columns = ", ".join(f'"{name}" {type_}' for name, type_ in zip(NAMES, types, strict=True))
    with transactions.writing(targets.target(url)) as connection:
        connection.exec_driver_sql(f"CREATE TABLE odd ({columns}, PRIMARY KEY (id))")
        marks = ", ".join("?" if sqlite else "%s" for _ in NAMES)
        for row in ROWS:
            connection.exec_driver_sql(f"INSERT INTO odd VALUES ({marks})", tuple(row.values()))
    with sessions.reading(targets.target(url), StatementLog()) as session:
        yield session, catalogue(session)


sorts = st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=3, unique_by=lambda s: s[0])
sizes = st.sampled_from([1, 3, 10, 50])
texts = st.sampled_from(["", "a", "ASP", "beta", "é", "%", "_", "\\", "10", "17", "2026", "null", "'", "É"])
conditions = st.one_of(
    st.builds(
        Filter,
        st.just("name"),
        st.sampled_from(["=", "≠", "<", "≤", ">", "≥", "contains"]),
        st.sampled_from([row["name"] for row in ROWS if row["name"] is not None]),
    ),
    st.builds(
        Filter, st.just("amount"), st.sampled_from(["=", "≠", "<", "≤", ">", "≥"]), st.sampled_from(["0", "-1", "17"])
    ),
    st.builds(
        Filter, st.just("ratio"), st.just("between"), st.sampled_from(["-1", "0"]), st.sampled_from(["2.5", "1e301"])
    ),
    st.builds(Filter, st.just("name"), st.just("in"), items=st.sampled_from([(), ("beta", ""), ("Z%_\\",)])),
    st.builds(Filter, st.sampled_from(NAMES), st.sampled_from(["is empty", "is not empty", "is NULL", "is not NULL"])),
    st.builds(Filter, st.just("flag"), st.sampled_from(["=", "≠"]), st.sampled_from(["true", "false"])),
)
views = st.builds(
    View,
    filters=st.lists(conditions, max_size=3).map(tuple),
    match=st.sampled_from(["all", "any"]),
    search=texts,
    sort=sorts.map(tuple),
    size=sizes,
)
several = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def ids(page: browsing.Page) -> list[int]:
    return [int(str(row.cells[0])) for row in page.rows]


def holds(row: dict[str, Any], each: Filter) -> bool:
    """One condition, in plain Python."""
    value = row[each.column]
    if each.operator in ("is empty", "is not empty"):
        return (value is None or value == "") == (each.operator == "is empty")
    if each.operator in ("is NULL", "is not NULL"):
        return (value is None) == (each.operator == "is NULL")
    if each.operator == "contains":
        return value is not None and values.lowered(each.value) in values.lowered(value)
    kinds: dict[str, Callable[[str], Any]] = {"amount": int, "ratio": float, "flag": lambda text: text == "true"}
    kind = kinds.get(each.column, str)
    if each.operator == "≠":
        return bool(value != kind(each.value))
    if value is None:
        return False
    if each.operator == "in":
        return value in each.items
    wanted = kind(each.value)
    if each.operator == "between":
        return bool(wanted <= value <= kind(each.upper))
    return bool(
        {"=": value == wanted, "<": value < wanted, "≤": value <= wanted, ">": value > wanted, "≥": value >= wanted}[
            each.operator
        ]
    )


def found(view: View) -> pd.DataFrame:
    """The rows of a view, by pandas."""
    some = all if view.match == "all" or not view.filters else any
    kept = [some(holds(row, each) for each in view.filters) if view.filters else True for row in ROWS]
    frame = FRAME[kept]
    if view.search:
        texts = frame[["id", "name", "amount", "ratio", "at"]].map(_text)
        hit = texts.map(lambda text: values.lowered(view.search) in text)
        frame = frame[hit.any(axis=1)]
    return frame


def _text(value: Any) -> str:
    return (
        ""
        if value is None
        else values.lowered(str(value).removesuffix(".0") if isinstance(value, float) else str(value))
    )


def expected(view: View) -> list[int]:
    """The order: NULL is greatest, and the key, which goes the way of the last sort, tells equal rows apart."""
    frame = found(view)
    last = view.sort[-1][1] if view.sort else False
    for name, descending in reversed([*view.sort, ("id", last)]):
        keys = frame[name].map(lambda value: (value is None, value if value is not None else 0))
        order = sorted(range(len(frame)), key=lambda n: keys.iloc[n], reverse=False)
        if descending:
            order = sorted(range(len(frame)), key=lambda n: keys.iloc[n], reverse=True)
        frame = frame.iloc[order]
    return [int(each) for each in frame["id"]]


def forwards(session: Session, table: Table, view: View) -> list[browsing.Page]:
    pages = [browsing.page(session, table, view)]
    while pages[-1].has_next:
        assert pages[-1].last is not None
        step = View(view.filters, view.match, view.search, view.sort, view.size, tuple(pages[-1].last), "after")
        pages.append(browsing.page(session, table, step))
    return pages


@several
@given(view=views)
def test_filters_search_and_order_are_what_pandas_says(opened: tuple[Session, Catalogue], view: View) -> None:
    session, tables = opened
    # Search in a number depends on how a database writes it: whole ones both write alike.
    if view.search in ("10", "17", "2026", "a", "null"):
        view = View(view.filters, view.match, "", view.sort, view.size)
    seen = [each for page in forwards(session, tables["odd"], view) for each in ids(page)]
    assert seen == expected(view)
    assert browsing.count(session, tables["odd"], view).rows == len(seen)


@several
@given(view=views)
def test_pages_forwards_and_backwards_visit_every_row_once(opened: tuple[Session, Catalogue], view: View) -> None:
    session, tables = opened
    pages = forwards(session, tables["odd"], view)
    seen = [each for page in pages for each in ids(page)]
    assert len(seen) == len(set(seen))
    back: list[int] = []
    page = browsing.page(
        session, tables["odd"], View(view.filters, view.match, view.search, view.sort, view.size, None, "before")
    )
    while True:
        back = ids(page)[: max(0, len(seen) - len(back))] + back if page.has_previous else ids(page) + back
        if not page.has_previous:
            break
        assert page.first is not None
        step = View(view.filters, view.match, view.search, view.sort, view.size, tuple(page.first), "before")
        page = browsing.page(session, tables["odd"], step)
    # The first page of the way back is a full one, and may repeat rows of the second.
    assert list(dict.fromkeys(back)) == seen
    for page in pages[1:]:
        assert page.first is not None
        link = View(view.filters, view.match, view.search, view.sort, view.size, tuple(page.first), "from")
        again = browsing.page(session, tables["odd"], link)
        assert (ids(again), again.has_previous, again.has_next) == (ids(page), True, page.has_next)


@pytest.mark.parametrize(
    ("each", "sentence"),
    [
        (Filter("amount", "=", "many"), "amount takes a whole number, not “many”"),
        (Filter("amount", "<", str(2**63)), "from -9223372036854775808 to 9223372036854775807"),
        (Filter("ratio", ">", "nan"), "ratio takes a number"),
        (Filter("flag", "=", "maybe"), "flag takes true or false"),
        (Filter("amount", "in", items=("1", "x")), "amount takes a whole number"),
        (Filter("nowhere", "=", "1"), "odd has no column 'nowhere'"),
        (Filter("amount", "~", "1"), "a filter must use one of"),
    ],
)
def test_a_filter_that_does_not_fit_says_so(opened: tuple[Session, Catalogue], each: Filter, sentence: str) -> None:
    session, tables = opened
    with pytest.raises(values.UnfitError, match=sentence.replace("(", r"\(")):
        browsing.page(session, tables["odd"], View(filters=(each,)))


@pytest.mark.parametrize("place", [("x",), ("i:1", "i:2"), ("q:1",), ("i:x",)])
def test_a_place_that_can_not_be_read_says_so(opened: tuple[Session, Catalogue], place: tuple[str, ...]) -> None:
    session, tables = opened
    with pytest.raises(values.UnfitError, match="position"):
        browsing.page(session, tables["odd"], View(place=place))


def test_a_secret_is_masked_and_can_not_be_guessed(seeded: str) -> None:
    with sessions.reading(targets.target(seeded), StatementLog()) as session:
        users = catalogue(session)["users"]
        page = browsing.page(session, users, View())
        assert "$2b$" not in repr(page)
        for view in (
            View(filters=(Filter("password_hash", "contains", "$2b$"),)),
            View(filters=(Filter("password_hash", "<", "$2b$10$m"),)),
            View(sort=(("password_hash", False),)),
        ):
            with pytest.raises(values.UnfitError, match="password_hash is a secret"):
                browsing.page(session, users, view)
        assert browsing.page(session, users, View(search="$2b$")).rows == []


def test_a_hash_in_another_column_is_masked_too(seeded: str) -> None:
    target = targets.target(seeded)
    with transactions.writing(target) as connection:
        connection.exec_driver_sql(
            "INSERT INTO bookmarks (user_id, entity_type, entity_id) SELECT id, 'x', password_hash FROM users"
        )
    with sessions.reading(target, StatementLog()) as session:
        page = browsing.page(session, catalogue(session)["bookmarks"], View())
    assert len(page.rows) == 2
    assert "$2b$" not in repr(page)


def test_every_kind_of_column_is_known(seeded: str) -> None:
    with sessions.reading(targets.target(seeded), StatementLog()) as session:
        tables = catalogue(session)
    kinds = {(t.name, c.name): c.kind for t in tables.values() for c in t.columns.values()}
    assert kinds["attempts", "answers"] == "json"
    assert kinds["attempts", "score"] == "number"
    assert kinds["attempts", "entity_type"] == "enum"
    assert kinds["users", "created_at"] == "datetime"
    assert kinds["dataset_overrides", "is_active"] == "boolean"
    assert kinds["dataset_overrides", "json_text"] == "json"
    assert kinds["users", "id"] == "integer"
    role = tables["users"].columns["role"]
    assert (role.values, role.doc, role.nullable, role.key) == (("USER", "ADMIN"), "USER or ADMIN", False, False)
    assert tables["attempts"].columns["user_id"].references == ("users", "id")
    assert [c.table for c in tables["users"].children] == [
        "user_settings",
        "bookmarks",
        "attempts",
        "progress_by_tag",
        "spaced_repetition_items",
        "dataset_overrides",
    ]
    assert tables["alembic_version"].why_read_only


def test_a_model_or_a_table_is_found_by_name(seeded: str) -> None:
    target = targets.target(seeded)
    with sessions.reading(target, StatementLog()) as session:
        tables = catalogue(session)
    assert find(tables, target, "ProgressByTag") is find(tables, target, "progress_by_tag")
    with pytest.raises(ParameterError, match="one of User, UserSettings"):
        find(tables, target, "Nobody")


def test_the_statement_log_holds_each_statement_with_its_parameters_rows_and_time(seeded: str) -> None:
    statement_log = StatementLog()
    with sessions.reading(targets.target(seeded), statement_log) as session:
        table = catalogue(session)["progress_by_tag"]
        browsing.page(session, table, View(filters=(Filter("module", "=", "questions"),)))
    entry = statement_log.since(0)[-1]
    assert "FROM progress_by_tag" in entry.statement
    assert "questions" in entry.parameters
    assert "questions" not in entry.statement, "values are bound"
    assert entry.rows == 2
    assert entry.ms > 0
    assert math.isfinite(entry.ms)


def test_a_statement_that_a_session_repeats_is_one_entry(seeded: str) -> None:
    statement_log = StatementLog()
    with sessions.reading(targets.target(seeded), statement_log) as session:
        read = text("SELECT id FROM users WHERE id < :id")
        for n in range(1, 31):
            session.rows(read.bindparams(id=n))
            between = statement_log.since(0)[-1].number
        (again,) = statement_log.since(between - 1)
        session.rows(text("SELECT 1"))
    entry = next(e for e in statement_log.since(0) if "FROM users" in e.statement)
    # One row below 2, and two below each of 3 to 30.
    assert (entry.times, entry.rows, len(entry.more), again) == (30, 57, MORE, entry)
    assert ("1" in entry.parameters, "2" in entry.more[0]) == (True, True)
    assert entry.first < entry.number
    assert entry.ms > 0
    # Another session's is another entry.
    with sessions.reading(targets.target(seeded), statement_log) as session:
        session.rows(read.bindparams(id=9))
        assert session.ms > 0
    assert [e.times for e in statement_log.since(0) if "FROM users" in e.statement] == [30, 1]


def test_another_kernel_knows_a_long_cell_again_and_no_masked_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft outlives its kernel: after a reload what was cut is still compared."""
    long = Column(
        name="note",
        kind="text",
        type="text",
        nullable=False,
        default="",
        key=False,
        unique=False,
        references=None,
        doc="",
        values=(),
        secret=False,
        is_password=False,
        generated=False,
        sqlite=True,
    )
    hashed = replace(long, secret=True)
    before: Any = cells.cell(long, "x" * 5000), cells.cell(hashed, "$2a$10$abc")
    monkeypatch.setattr(cells, "_DIGEST_KEY", b"of another kernel")
    after: Any = cells.cell(long, "x" * 5000), cells.cell(hashed, "$2a$10$abc")
    assert cells.same(before[0], after[0])
    assert not cells.same(before[0], cells.cell(long, "x" * 4999 + "y"))
    assert before[1]["d"] != after[1]["d"], "a digest that anybody can make would tell a guessed hash"
