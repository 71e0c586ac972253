"""What a column contains, against the same rows in plain Python; and nothing of a secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support.chrome import fill
from support.databases import DIALECTS, Databases

import pharmdb
from pharmdb.database import targets, transactions
from pharmdb.studio_app import values
from pharmdb.studio_app.widget import Studio

ROWS = 700


@pytest.fixture(scope="module", params=DIALECTS)
def studio(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Studio]:
    """Attempts of twelve minutes, and a table of odd numbers and times."""
    with databases.dropped(databases.seeded(request.param)) as url:
        fill(url, ROWS)
        target = targets.target(url)
        with transactions.writing(target) as connection:
            double = "REAL" if target.is_sqlite else "DOUBLE PRECISION"
            columns = f"id INTEGER PRIMARY KEY, part {double}, same INTEGER, day DATE, note TEXT"
            connection.exec_driver_sql(f"CREATE TABLE odd ({columns})")
            mark = "?" if target.is_sqlite else "%s"
            for n in range(40):
                row = (n, None if n % 4 == 0 else n / 7, 3, f"2026-01-{n % 28 + 1:02}", "" if n % 2 else "long " * 90)
                connection.exec_driver_sql(f"INSERT INTO odd VALUES ({', '.join([mark] * 5)})", row)
                at = f"20{n % 4 + 10}-0{n % 9 + 1}-15T00:00:00.000+00:00"
                insert = "INSERT INTO bookmarks (user_id, entity_type, entity_id, created_at) VALUES (1, 'x', 'y', "
                connection.exec_driver_sql(f"{insert}{mark})", (at,))
        yield pharmdb.studio(url)


def ask(studio: Studio, part: str, column: str, table: str = "attempts", *filters: dict[str, str]) -> dict[str, Any]:
    return studio.answer(part, {"table": table, "column": column, "filters": list(filters)})[0]


def cells(studio: Studio, column: str, table: str = "attempts", *filters: dict[str, str]) -> list[str | None]:
    """The column's values, page by page."""
    names = list(studio._tables[table].columns)
    found: list[str | None] = []
    place = None
    while True:
        page, _ = studio.answer("page", {"table": table, "size": 500, "place": place, "filters": list(filters)})
        found += [row["cells"][names.index(column)] for row in page["rows"]]
        place = page["last"]
        if not page["has_next"]:
            return found


LOW = {"column": "score", "operator": "<", "value": "40"}


@pytest.mark.parametrize("filters", [(), (LOW,)], ids=["all", "filtered"])
def test_statistics_and_frequent_values_are_those_of_the_rows(
    studio: Studio, filters: tuple[dict[str, str], ...]
) -> None:
    scores = [float(str(cell)) for cell in cells(studio, "score", "attempts", *filters)]
    summary = ask(studio, "summary", "score", "attempts", *filters)
    assert summary == {
        "rows": len(scores),
        "nulls": 0,
        "least": f"{min(scores):g}",
        "greatest": f"{max(scores):g}",
        "mean": values.shown(round(sum(scores) / len(scores), 4), "number"),
    }
    counted = Counter(scores)
    frequent = ask(studio, "frequent", "score", "attempts", *filters)
    assert frequent["distinct"] == len(counted)
    expected = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:20]
    assert [(float(v["text"]), v["rows"]) for v in frequent["values"]] == expected
    bars = ask(studio, "bars", "score", "attempts", *filters)["bars"]
    assert len(bars) == 20
    assert sum(bar["rows"] for bar in bars) == len(scores)
    assert (float(bars[0]["low"]), float(bars[-1]["high"])) == (min(scores), max(scores))


@pytest.mark.parametrize(
    ("table", "column", "number"),
    [("attempts", "created_at", 24), ("odd", "day", 28), ("bookmarks", "created_at", 45), ("odd", "id", 20)],
)
def test_each_bar_is_the_filter_between_its_ends(studio: Studio, table: str, column: str, number: int) -> None:
    bars = ask(studio, "bars", column, table)["bars"]
    if (column, studio.target.is_sqlite) == ("day", True):
        # SQLite has no dates: the column holds any values.
        assert bars == []
        return
    assert len(bars) == number
    assert sum(bar["rows"] for bar in bars) == len(cells(studio, column, table))
    for bar in bars:
        between = {"column": column, "operator": "between", "value": bar["low"], "upper": bar["high"]}
        assert studio.answer("count", {"table": table, "filters": [between]})[0]["rows"] == bar["rows"]


def test_null_equal_and_long_values(studio: Studio) -> None:
    assert ask(studio, "summary", "part", "odd")["nulls"] == 10
    assert ask(studio, "bars", "same", "odd") == {"bars": []}
    assert ask(studio, "frequent", "same", "odd") == {
        "values": [{"text": "3", "rows": 40, "whole": True}],
        "distinct": 1,
    }
    notes = ask(studio, "frequent", "note", "odd")["values"]
    assert sorted((v["text"] == "", v["whole"], v["rows"]) for v in notes) == [(False, False, 20), (True, True, 20)]
    nothing = {"column": "score", "operator": ">", "value": "1000"}
    assert ask(studio, "summary", "score", "attempts", nothing)["rows"] == 0
    assert ask(studio, "frequent", "score", "attempts", nothing) == {"values": [], "distinct": 0}
    assert ask(studio, "bars", "created_at", "attempts", nothing) == {"bars": []}


def test_every_column_has_a_facet_and_a_secret_tells_only_its_nulls(studio: Studio) -> None:
    for name, table in studio._tables.items():
        for column in table.columns.values():
            summary = ask(studio, "summary", column.name, name)
            if column.secret:
                assert {summary[part] for part in ("least", "greatest", "mean")} == {None}
                for part in ("frequent", "bars"):
                    with pytest.raises(values.UnfitError, match="is a secret"):
                        ask(studio, part, column.name, name)
            else:
                assert ask(studio, "frequent", column.name, name)["distinct"] <= summary["rows"]
                ask(studio, "bars", column.name, name)
    assert ask(studio, "summary", "password_hash", "users")["rows"] == 2
