"""Inspect: what it says of the tables is true, or is said to be an estimate; no statement reads what it need not."""

from __future__ import annotations

import re

import pytest
from support import raw
from support.databases import Databases
from support.effort import SCAN, double, executed, plans, work

import pharmdb
from pharmdb.cohorts.batches import email
from pharmdb.learning import table_sizes

COUNT = re.compile(r"SELECT count\(\*\) AS count_1 FROM \w+")


@pytest.fixture
def filled(seeded: str) -> str:
    pharmdb.cohort(seeded, learners=20, days=90)
    return seeded


def true_sizes(url: str) -> dict[str, float]:
    """Bytes, as the database itself tells them after a look at every page."""
    with raw.session(url) as session:
        if url.startswith("sqlite"):
            rows = session.execute(
                "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_master USING (name) "
                "WHERE aggregate = TRUE GROUP BY tbl_name"
            )
        else:
            rows = session.execute("SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'")
        return {name: size / 2**20 for name, size in rows.fetchall()}


def test_rows_are_counted_and_sizes_are_measured(filled: str) -> None:
    tables = pharmdb.inspect(filled).tables.set_index("table")
    assert list(tables.columns) == ["rows", "size_mib", "size_is", "newest"]
    assert list(tables.index) == list(raw.TABLES)
    with raw.session(filled) as session:
        for table in raw.TABLES:
            ((rows,),) = session.execute(f"SELECT count(*) FROM {table}").fetchall()
            assert tables["rows"][table] == rows
    sizes = true_sizes(filled)
    assert tables["size_mib"].to_dict() == {table: round(sizes[table], 1) for table in raw.TABLES}
    assert set(tables["size_is"]) == {"measured"}
    assert tables["size_mib"]["attempts"] > 0.2


def test_the_size_of_a_large_table_is_estimated_and_that_is_said(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_sizes, "PAGES", 8)
    tables = pharmdb.inspect(filled).tables.set_index("table")
    sizes = true_sizes(filled)
    large = {"attempts", "progress_by_tag", "spaced_repetition_items"} if filled.startswith("sqlite") else set()
    for table in raw.TABLES:
        size_is, size = tables["size_is"][table], tables["size_mib"][table]
        assert size_is == ("estimated" if table in large else "measured")
        assert size == round(sizes[table], 1) or (table in large and 0.7 < size / sizes[table] < 1.4)


def test_what_is_read_grows_by_the_counts_alone(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own rows stay as they are; SQLite counts a table's rows in one step, PostgreSQL one by one."""
    monkeypatch.setattr(table_sizes, "PAGES", 8)
    rows, works = [], []
    for mark in ("a", "b"):
        double(filled, 2, mark)
        rows.append(int(pharmdb.inspect(filled).tables["rows"].sum()))
        works.append(work(filled, lambda: pharmdb.inspect(filled)))
    more = rows[1] - rows[0]
    assert more > rows[0] * 2
    assert works[1] - works[0] < (0.1 if filled.startswith("sqlite") else 1.1) * more


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_no_statement_scans_a_large_table_but_to_count_it(filled: str) -> None:
    statements = executed(lambda: pharmdb.inspect(filled, user_email=email(1)))
    scans = [sql for sql, plan in plans(filled, statements) if SCAN.search(plan)]
    newest = [sql for sql in scans if re.fullmatch(r"SELECT .+ ORDER BY \w+\.id DESC LIMIT \? OFFSET \?", sql)]
    assert len(newest) == 3
    assert all(COUNT.fullmatch(sql) for sql in scans if sql not in newest)
    assert all("LIMIT" in sql for sql, _ in statements if "dbstat WHERE" in sql)


def test_one_huge_document_is_not_taken_for_all(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    url = databases.seeded("sqlite")
    monkeypatch.setattr(table_sizes, "PAGES", 20)
    with raw.session(url) as session, raw.transaction(session):
        row = "INSERT INTO attempts (user_id, entity_type, entity_id, answers, score) VALUES (1, 'question', 'q', ?, 1)"
        session.execute(row, (f'"{"x" * 500_000}"',))
        session.executemany(row, [("1",)] * 2000)
    tables = pharmdb.inspect(url).tables.set_index("table")
    assert tables.loc["attempts", "size_is"] == "estimated"
    assert 0.4 <= tables["size_mib"]["attempts"] <= 1
