"""A plain table shows what its dataframe shows, and is the dataframe for everything else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmdb import reports
from pharmdb.command import tables as terminal
from pharmdb.plain_table import PlainTable, framed

VALUES = {
    "str": st.text(max_size=110) | st.text("ab  <>&'\"", max_size=30),
    "bool": st.booleans(),
    "int64": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 99),
    "Int64": st.integers(0, 99) | st.none(),
    "float64": st.floats() | st.integers(0, 10**6).map(lambda tenths: tenths / 10),
}


@st.composite
def tables(draw: st.DrawFn) -> PlainTable:
    kinds = draw(st.lists(st.sampled_from(["str", *VALUES]), min_size=1, max_size=5))
    lengths = st.integers(0, 3) | st.sampled_from([11, 60, 61])
    row = st.tuples(*(VALUES[kind] for kind in kinds))
    some = draw(st.lists(row, min_size=1, max_size=3))
    rows = (some * 61)[: draw(lengths)]
    return PlainTable(rows, {f"{'long_' * number}name": kind for number, kind in enumerate(kinds)})


@pytest.fixture(scope="module", autouse=True)
def wide() -> Iterator[None]:
    with pd.option_context("display.width", 80):
        reports.wide_tables()
        yield


@given(tables())
def test_a_plain_table_shows_what_its_dataframe_shows(table: PlainTable) -> None:
    frame: Any = framed(table.plain_rows, table.plain_dtypes)
    assert repr(table) == repr(frame)
    assert table._repr_html_() == frame._repr_html_()
    assert len(table) == len(frame)
    for columns in (40, 120):
        assert terminal.rendered(PlainTable(table.plain_rows, table.plain_dtypes), "", columns) == (
            terminal.rendered(frame, "", columns)
        )


def test_it_is_the_dataframe_for_everything_else() -> None:
    table: Any = PlainTable([("a", 1), ("b", 2)], {"name": "str", "rows": "int64"})
    assert table.plain_texts == [["a", "1"], ["b", "2"]]
    assert list(table) == ["name", "rows"]
    assert table[table["rows"] > 1].to_dict("records") == [{"name": "b", "rows": 2}]
    table["more"] = table.rows * 2
    assert "more" in repr(table)
    assert not hasattr(table, "_repr_png_")


def test_tables_are_plain_until_something_imports_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, columns = [("a",)], {"name": "str"}
    monkeypatch.delitem(sys.modules, "pandas")
    with reports.without_pandas():
        assert isinstance(reports.table(rows, columns), pd.DataFrame), "this notebook did not ask for wide tables"
    monkeypatch.delitem(sys.modules, "pandas")
    with pd.option_context("display.width", 80), reports.without_pandas():
        reports.wide_tables()
        table = reports.table(rows, columns)
        assert isinstance(table, PlainTable)
        reports.widen()
        assert pd.get_option("display.width") == 80, "nothing has imported pandas"
        assert len(table.head()) == 1
        reports.widen()
        assert pd.get_option("display.width") == 120
        assert isinstance(reports.table(rows, columns), pd.DataFrame)
    monkeypatch.delitem(sys.modules, "pandas")
    with reports.without_pandas():
        reports.wide_tables()
    assert isinstance(reports.table(rows, columns), pd.DataFrame)
