"""One value in many rows: all rows of a view, staged one by one, and saved all or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.chrome import fill

from pharmdb.database import targets, transactions
from pharmdb.studio_app import bulk, values
from pharmdb.studio_app.widget import Studio

BELOW = {"table": "attempts", "filters": [{"column": "score", "operator": "<", "value": "50"}]}


@pytest.fixture
def studio(seeded: str, tmp_path: Path) -> Studio:
    fill(seeded, 300)
    return Studio(targets.target(seeded), log=tmp_path / "log")


def query(studio: Studio, sql: str) -> list[tuple[Any, ...]]:
    with transactions.reading(studio.target) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def staged(studio: Studio, view: dict[str, Any], column: str, text: str | None) -> list[dict[str, Any]]:
    """The changes that the page stages for all rows of a view."""
    names = list(studio._tables[view["table"]].columns)
    found = studio.answer("rows", view)[0]["rows"]
    before = [dict(zip(names, row["cells"], strict=True)) for row in found]
    return [
        {
            "id": n,
            "kind": "update",
            "table": view["table"],
            "key": row["key"],
            "values": {column: text},
            "before": cells,
        }
        for n, (row, cells) in enumerate(zip(found, before, strict=True), start=1)
    ]


def test_all_rows_of_a_view_are_changed_in_one_transaction(studio: Studio) -> None:
    changes = staged(studio, BELOW, "entity_type", "case")
    ((below,),) = query(studio, "SELECT count(*) FROM attempts WHERE score < 50")
    assert len(changes) == below > 100
    outcome, _ = studio.answer("save", {"changes": changes})
    assert (outcome["problems"], len(outcome["saved"])) == ([], below)
    assert query(studio, "SELECT count(*) FROM attempts WHERE entity_type = 'case'") == [(below,)]


def test_one_row_that_somebody_changed_keeps_all_from_being_saved(studio: Studio) -> None:
    changes = staged(studio, BELOW, "entity_type", "case")
    key = int(changes[7]["key"][0].partition(":")[2])
    with transactions.writing(studio.target) as connection:
        connection.exec_driver_sql(f"UPDATE attempts SET score = 49.5 WHERE id = {key}")
    outcome, _ = studio.answer("save", {"changes": changes})
    assert [(p["change"], p["kind"], p["column"]) for p in outcome["problems"]] == [(8, "conflict", "score")]
    assert query(studio, "SELECT count(*) FROM attempts WHERE entity_type = 'case'") == [(0,)]


def test_a_value_that_does_not_fit_is_said_for_each_row(studio: Studio) -> None:
    changes = staged(studio, BELOW, "score", "101")
    problems = studio.answer("save", {"changes": changes})[0]["problems"]
    assert len(problems) == len(changes)
    assert query(studio, "SELECT max(score) FROM attempts") == [(100,)]


def test_too_many_rows_are_not_staged(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MOST_CHANGES", 100)
    with pytest.raises(values.UnfitError, match="more than 100 rows where score < 50: filter further, or use SQL"):
        studio.answer("rows", BELOW)
    # No hash comes along.
    users = studio.answer("rows", {"table": "users"})[0]["rows"]
    assert [row["cells"][2]["t"] for row in users] == ["••••••••"] * 2
