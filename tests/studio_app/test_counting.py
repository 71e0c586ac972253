"""Numbers of rows, and where a row is in a view's order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chrome import fill
from support.databases import DIALECTS, Databases

import pharmdb
from pharmdb.studio_app import browsing, values
from pharmdb.studio_app.widget import Studio

ROWS = 260


@pytest.fixture(scope="module", params=DIALECTS)
def studio(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Studio]:
    with databases.dropped(databases.seeded(request.param)) as url:
        fill(url, ROWS)
        yield pharmdb.studio(url)


views = st.fixed_dictionaries(
    {
        "sort": st.sampled_from([[], [["score", True]], [["user_id", False], ["score", True]], [["feedback", False]]]),
        "filters": st.sampled_from([[], [{"column": "score", "operator": "<", "value": "50"}]]),
        "search": st.sampled_from(["", "q1"]),
    }
)


def ids(studio: Studio, view: dict[str, Any], **more: Any) -> list[str]:
    page, _ = studio.answer("page", {"table": "attempts", "size": 500, **view, **more})
    return [row["cells"][0] for row in page["rows"]]


@settings(max_examples=15, deadline=None)
@given(view=views, part=st.floats(0, 1, exclude_max=True))
def test_a_row_is_found_by_its_number_and_by_its_key(studio: Studio, view: dict[str, Any], part: float) -> None:
    order = ids(studio, view)
    at = int(part * len(order))
    wanted = {"table": "attempts", **view}
    by_number, _ = studio.answer("locate", {**wanted, "number": f"{at + 1:,}"})
    by_key, _ = studio.answer("locate", {**wanted, "key": order[at]})
    assert by_number == by_key
    assert by_key["start"] == at + 1
    assert ids(studio, view, place=by_key["place"], direction="from") == order[at:]
    assert studio.answer("exact", wanted)[0]["rows"] == len(order)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"number": "261"}, "there is no row 261"),
        ({"number": "0"}, "there is no row 0"),
        ({"number": "-1"}, "a whole number"),
        ({"number": "five"}, "a row's number is a whole number, not “five”"),
        ({"key": "9999"}, "there is no row with id = 9999"),
        ({"key": "x"}, "id takes a whole number"),
        ({"key": "1", "search": "nothing"}, "there is no row with id = 1 where any column contains “nothing”"),
    ],
    ids=str,
)
def test_a_row_that_is_not_there_is_said(studio: Studio, asked: dict[str, str], sentence: str) -> None:
    with pytest.raises(values.UnfitError, match=sentence):
        studio.answer("locate", {"table": "attempts", **asked})


def test_every_table_has_its_size_and_a_large_one_is_counted_exactly(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = studio.answer("sizes", {})[0]["sizes"]
    assert {name: sizes[name]["text"] for name in ("users", "attempts", "bookmarks", "pharmdb_environment")} == {
        "users": "2 rows",
        "attempts": f"{ROWS} rows",
        "bookmarks": "0 rows",
        "pharmdb_environment": "1 row",
    }
    monkeypatch.setattr(browsing, "COUNT_CAP", 100)
    view = {"table": "attempts", "filters": [{"column": "score", "operator": "≥", "value": "0"}]}
    assert studio.answer("count", view)[0]["exact"] is False
    exact, _ = studio.answer("exact", view)
    assert (exact["rows"], exact["exact"]) == (ROWS, True)


def test_the_page_says_its_filters_in_words(studio: Studio) -> None:
    view = {"table": "attempts", "filters": [{"column": "score", "operator": "<", "value": "50"}]}
    assert studio.answer("page", view)[0]["where"] == "score < 50"
