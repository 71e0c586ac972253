"""Tables on a terminal: they fit it, and hide nothing without saying so."""

from __future__ import annotations

import pandas as pd
import pytest

from pharmdb.command import tables

LONG = "psql -c 'ALTER TABLE attempts VALIDATE CONSTRAINT ck_attempts_score' && pharmdb doctor --thorough"


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_table_fits_and_holds_every_word(columns: int) -> None:
    frame = pd.DataFrame({"check": ["constraints", "seed"], "rows": [1, 1_000_000], "remedy": [LONG, ""]})
    text = tables.table(frame, columns)
    assert max(map(len, text.splitlines())) <= columns
    assert sorted((LONG + " constraints seed check rows remedy 1 1000000").split()) == sorted(text.split())
    assert (len(text.splitlines()) == 3) == (columns >= 120)


def test_a_row_that_does_not_fit_is_shown_value_by_value_in_one_piece() -> None:
    text = tables.table(pd.DataFrame({"ok": [True], "changed": ["7 tables"], "next": [LONG]}), 80)
    assert text.splitlines() == ["ok       True", "changed  7 tables", f"next     {LONG}"]


def test_more_columns_than_fit_are_shown_row_by_row() -> None:
    text = tables.table(pd.DataFrame({f"column_{n}": [n, n] for n in range(20)}), 80)
    assert text.splitlines()[19] == "column_19  19"
    assert len(text.splitlines()) == 41


def test_nothing_is_called_nothing() -> None:
    assert tables.table(pd.DataFrame({"a": []}), 80) == "nothing"


def test_rows_that_are_left_out_are_counted() -> None:
    lines = tables.table(pd.DataFrame({"n": range(1100)}), 80).splitlines()
    assert lines[-2:] == ["59", "… and 1,040 more rows"]


def test_values_are_shown_as_a_person_writes_them() -> None:
    frame = pd.DataFrame(
        {
            "f": pd.array([0.1 + 0.2, None], dtype="Float64"),
            "t": pd.Series([pd.Timestamp("2026-01-02 03:04:05+00:00"), None], dtype="datetime64[us, UTC]"),
            "d": pd.to_datetime(["2026-01-02", "2026-01-03"]),
            "s": ["a\nb", "\x1b[31m"],
        }
    )
    assert tables.table(frame, 80).splitlines() == [
        "  f  t                          d           s",
        "0.3  2026-01-02 03:04:05+00:00  2026-01-02  a\\nb",
        "                                2026-01-03  \\x1b[31m",
    ]


def test_a_string_is_not_quoted_and_a_picture_is_its_words() -> None:
    assert tables.rendered("it's", '"it\'s"', 80) == "it's"
    assert tables.rendered(object(), "word " * 30, 80).splitlines()[0] == ("word " * 16).strip()


def test_markdown_becomes_text() -> None:
    markdown = "> ⚠️ **WARNING: all** of `x` goes.\n\nSee [the doctor](doctor.ipynb),\nand so on."
    assert tables.plain(markdown, 80) == "⚠️ WARNING: all of x goes.\n\nSee the doctor, and so on."
