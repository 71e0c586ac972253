"""Rows from text: columns by name or order, defaults, what does not fit, and no secrets."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pharmdb
from pharmdb.csv_cells import restored
from pharmdb.studio_app import importing, values
from pharmdb.studio_app.catalogue import Table
from pharmdb.studio_app.widget import Studio

ORDER = ["user_id", "entity_type", "entity_id", "answers", "score", "feedback", "created_at"]


@pytest.fixture(scope="module")
def table(databases: Any) -> Table:
    return pharmdb.studio(databases.seeded("sqlite"))._tables["attempts"]


def test_columns_are_taken_by_name_whatever_their_order(table: Table) -> None:
    text = '\ufeffscore,entity_id,user_id,answers,entity_type\r\n50,c1,1,"{""a"": [1,\n2]}",case\r\n'
    found = importing.imported(table, text, ORDER)
    assert found.rows == [
        {"score": "50", "entity_id": "c1", "user_id": "1", "answers": '{"a": [1,\n2]}', "entity_type": "case"}
    ]
    assert (found.faults, found.left_out, found.header) == ([], [], True)


def test_without_names_the_order_of_the_page_counts(table: Table) -> None:
    found = importing.imported(table, "1\tcase\tc1\t{}\t50\n2\tcalc\tc2\t[]\t60\t\t\n", ORDER)
    assert not found.header
    assert [list(row.items())[:2] for row in found.rows] == [
        [("user_id", "1"), ("entity_type", "case")],
        [("user_id", "2"), ("entity_type", "calc")],
    ]
    # An empty field is the default or NULL.
    assert {"feedback", "created_at"}.isdisjoint(found.rows[1])


def test_each_value_that_does_not_fit_is_named_and_kept(table: Table) -> None:
    found = importing.imported(table, "score;user_id;entity_id\nmany;1;a\n5;;b\n6;2;;7\n", ORDER)
    assert [(f.row, f.column, f.sentence) for f in found.faults] == [
        (0, "score", "score takes a number, not “many”"),
        (1, "user_id", "user_id takes a whole number, not “”"),
        (2, "", "4 fields, and there are 3 columns"),
    ]
    assert found.rows[0]["score"] == "many"
    assert found.rows[2]["entity_id"] == ""


def test_secrets_and_unknown_columns_are_left_out_and_said(seeded: str) -> None:
    studio = pharmdb.studio(seeded)
    text = "email,password_hash,mood,email\nx@y.test,hunter2hunter2,good,z@y.test\n"
    found, _ = studio.answer("import", {"table": "users", "text": text, "columns": ["email"]})
    assert found["rows"] == [{"email": "x@y.test"}]
    assert found["left_out"] == [
        "password_hash: secrets are not imported; type a password",
        "mood: users has no such column",
        "email: it is there twice",
    ]
    assert "hunter2" not in str(found)
    assert "hunter2" not in str(studio.answer("log", {}))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "no row"), ("\n\n", "no row"), ('score\n"5', "no CSV"), ("score\n" + "5\n" * 9, "at most 8")],
)
def test_what_can_not_be_read_is_said(table: Table, text: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MOST_CHANGES", 8)
    with pytest.raises(values.UnfitError, match=sentence):
        importing.imported(table, text, ORDER)


fields = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(fields, fields), min_size=1, max_size=4), separator=st.sampled_from("\t;,"))
def test_any_text_comes_back_as_it_was_written(table: Table, rows: list[tuple[str, str]], separator: str) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator)
    writer.writerow(["entity_type", "entity_id"])
    writer.writerows(rows)
    found = importing.imported(table, file.getvalue(), ORDER)
    assert [(row["entity_type"], row["entity_id"]) for row in found.rows] == [
        (restored(a), restored(b)) for a, b in rows
    ]


def test_imported_rows_are_saved_like_typed_ones(seeded: str, tmp_path: Any) -> None:
    studio = Studio(pharmdb.target(seeded), log=tmp_path / "log")
    text = "user_id,entity_type,entity_id\n" + "".join(f"{1 + n % 2},drug,d{n}\n" for n in range(50))
    found, _ = studio.answer("import", {"table": "bookmarks", "text": text, "columns": []})
    changes = [{"id": n, "kind": "insert", "table": "bookmarks", "values": row} for n, row in enumerate(found["rows"])]
    assert studio.answer("save", {"changes": changes})[0]["problems"] == []
    assert studio.answer("count", {"table": "bookmarks"})[0]["rows"] == 50
