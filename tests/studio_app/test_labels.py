"""Labels of the rows that references refer to, the rows to pick from, and what production keeps to itself."""

from __future__ import annotations

import pytest
from support.chrome import fill

import pharmdb
from pharmdb.database import targets, transactions
from pharmdb.studio_app import labels, values
from pharmdb.studio_app.widget import Studio

DEMO, ADMIN = "demo@pharmtrainer.test", "admin@pharmtrainer.test"


@pytest.fixture
def studio(seeded: str) -> Studio:
    fill(seeded, 20)
    return pharmdb.studio(seeded)


def choices(studio: Studio, text: str = "", column: str = "user_id") -> list[tuple[str, str]]:
    found, _ = studio.answer("choices", {"table": "attempts", "column": column, "text": text})
    return [(each["value"], each["label"]) for each in found["choices"]]


def production(studio: Studio) -> None:
    with transactions.writing(studio.target) as connection:
        connection.exec_driver_sql("UPDATE pharmdb_environment SET name = 'production'")


def test_a_page_names_the_rows_that_it_refers_to(studio: Studio) -> None:
    page, _ = studio.answer("page", {"table": "attempts"})
    assert page["labels"] == {"user_id": {"1": DEMO, "2": ADMIN}}
    assert studio.answer("page", {"table": "users"})[0]["labels"] == {}
    told = {table["name"]: table["label"] for table in studio.answer("hello", {})[0]["tables"]}
    assert (told["users"], told["dataset_overrides"], told["attempts"]) == ("email", "name", "")


def test_rows_to_pick_are_found_by_label_and_by_key(studio: Studio) -> None:
    assert choices(studio) == [("2", ADMIN), ("1", DEMO)]
    assert choices(studio, "DEMO") == choices(studio, "1") == [("1", DEMO)]
    assert choices(studio, "nobody") == []
    with pytest.raises(values.UnfitError, match="does not refer to another table"):
        choices(studio, column="score")


def test_a_secret_is_never_a_label(studio: Studio) -> None:
    with transactions.writing(studio.target) as connection:
        connection.exec_driver_sql("CREATE TABLE keys (api_key TEXT UNIQUE, name TEXT, id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE hidden (api_key TEXT UNIQUE, id INTEGER PRIMARY KEY)")
    tables = pharmdb.studio(studio.target.url.render_as_string(hide_password=False))._tables
    own = {name: labels.label_column(tables[name]) for name in ("keys", "hidden", "users")}
    assert {name: c and c.name for name, c in own.items()} == {"keys": "name", "hidden": None, "users": "email"}


def test_locked_production_spreads_no_address_and_lets_none_be_guessed(studio: Studio) -> None:
    production(studio)
    page, _ = studio.answer("page", {"table": "attempts", "unlocked": True})
    assert page["labels"] == {"user_id": {"1": "d•••@pharmtrainer.test", "2": "a•••@pharmtrainer.test"}}
    assert DEMO not in str(page)
    assert choices(studio, "demo") == []
    assert choices(studio) == [("1", "d•••@pharmtrainer.test"), ("2", "a•••@pharmtrainer.test")]
    studio.unlocked = True
    assert studio.answer("page", {"table": "attempts"})[0]["labels"]["user_id"]["1"] == DEMO
    assert choices(studio, "demo") == [("1", DEMO)]


def test_a_label_is_cut_and_a_hash_in_it_is_masked(studio: Studio) -> None:
    mark = "?" if targets.target(str(studio.target.url)).is_sqlite else "%s"
    names = ["$2b$10$" + "a" * 53, "long " * 100]
    with transactions.writing(studio.target) as connection:
        connection.exec_driver_sql("CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT)")
        connection.exec_driver_sql("CREATE TABLE kids (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id))")
        for number, name in enumerate(names, start=1):
            connection.exec_driver_sql(f"INSERT INTO parents VALUES ({number}, {mark})", (name,))
            connection.exec_driver_sql(f"INSERT INTO kids VALUES ({number}, {number})")
    page, _ = studio.answer("page", {"table": "kids"})
    assert page["labels"]["parent"] == {"1": "••••••••", "2": names[1][:300]}
