"""Filters as the page sends them: whole days, empty and NULL, references, and refusals that say which one it was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.databases import DIALECTS, Databases

import pharmdb
from pharmdb.database import targets, transactions
from pharmdb.studio_app import filters, messages
from pharmdb.studio_app.filters import Filter, View
from pharmdb.studio_app.widget import Studio

TIMES = {
    "before": "2025-11-22T23:59:59.999+00:00",
    "midnight": "2025-11-23T00:00:00.000+00:00",
    "evening": "2025-11-23T23:59:59.999+00:00",
    "after": "2025-11-24T00:00:00.000+00:00",
}


@pytest.fixture(scope="module", params=DIALECTS)
def studio(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Studio]:
    """Attempts of both users around midnight, one a week ago, one of today and one of tomorrow."""
    with databases.dropped(databases.seeded(request.param)) as url:
        target = targets.target(url)
        mark = "?" if target.is_sqlite else "%s"
        insert = (
            "INSERT INTO attempts (user_id, entity_type, entity_id, answers, score, feedback, created_at) "
            f"VALUES ({mark}, 'case', {mark}, '{{}}', 50, {mark}, {mark})"
        )
        today = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
        days = {"a week ago": -7, "six days ago": -6, "today": 0, "tomorrow": 1}
        times = TIMES | {
            name: (today + timedelta(days=n)).isoformat(timespec="milliseconds") for name, n in days.items()
        }
        with transactions.writing(target) as connection:
            for number, (name, time) in enumerate({**times, "": TIMES["before"]}.items()):
                feedback = None if number % 2 else '"seen"'
                connection.exec_driver_sql(insert, (1 + number % 2, name, feedback, time))
        yield pharmdb.studio(url)


def found(studio: Studio, *each: tuple[Any, ...], match: str = "all") -> set[str]:
    """The names of the attempts that the filters leave."""
    names = ("column", "operator", "value", "upper", "items")
    wanted = [dict(zip(names, one, strict=False)) for one in each]
    page, _ = studio.answer("page", {"table": "attempts", "filters": wanted, "match": match})
    return {row["cells"][3] for row in page["rows"]}


DAY = "2025-11-23"
ON_IT = {"midnight", "evening"}
EARLIER, LATER = {"before", ""}, {"after", "a week ago", "six days ago", "today", "tomorrow"}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (("=", DAY), ON_IT),
        (("≠", DAY), EARLIER | LATER),
        (("<", DAY), EARLIER),
        (("≤", DAY), EARLIER | ON_IT),
        ((">", DAY), LATER),
        (("≥", DAY), ON_IT | LATER),
        (("between", DAY, DAY), ON_IT),
        (("between", "2025-11-22", DAY), EARLIER | ON_IT),
        (("between", "2025-11-23 12:00", "2025-11-24"), {"evening", "after"}),
        (("=", "2025-11-23T00:00"), {"midnight"}),
        (("in", "", "", [DAY, "2025-11-24 00:00:00"]), ON_IT | {"after"}),
        (("≤", "9999-12-31"), EARLIER | ON_IT | LATER),
        ((">", "9999-12-31"), set()),
        (("last days", "7"), {"six days ago", "today"}),
        (("last days", "8"), {"a week ago", "six days ago", "today"}),
    ],
    # The order of a set's items differs between processes.
    ids=lambda value: "" if isinstance(value, set) else str(value),
)
def test_a_day_is_the_whole_day_in_utc(studio: Studio, condition: tuple[Any, ...], expected: set[str]) -> None:
    assert found(studio, ("created_at", *condition)) == expected


def test_empty_is_null_or_an_empty_text_and_null_is_only_null(studio: Studio) -> None:
    assert found(studio, ("entity_id", "is empty")) == {""}
    assert "" not in found(studio, ("entity_id", "is not empty"))
    assert found(studio, ("entity_id", "is NULL")) == set()
    nothing = found(studio, ("feedback", "is NULL"))
    assert found(studio, ("feedback", "is empty")) == nothing
    assert found(studio, ("feedback", "is not NULL")) == found(studio) - nothing


def test_filters_follow_references(studio: Studio) -> None:
    admins, users = (found(studio, ("user_id.role", "=", role)) for role in ("ADMIN", "USER"))
    assert admins == found(studio, ("user_id", "=", "2"))
    assert users == found(studio, ("user_id", "=", "1"))
    assert found(studio, ("user_id.email", "contains", "ADMIN@")) == admins
    assert found(studio, ("user_id.role", "=", "ADMIN"), ("created_at", "=", DAY)) == admins & ON_IT
    assert found(studio, ("user_id.role", "=", "ADMIN"), ("user_id.role", "=", "USER"), match="any") == admins | users


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (("score", ">", "many"), "score takes a number, not “many”"),
        (("created_at", "=", "yesterday"), "created_at takes a time"),
        (("created_at", "last days", "0"), "from 1 to 100000, not “0”"),
        (("score", "last days", "7"), "score contains no times"),
        (("user_id.password_hash", "contains", "$2b$"), "password_hash is a secret"),
        (("user_id.password_hash", "is empty"), "password_hash is a secret"),
        (("user_id.nothing", "=", "1"), "users has no column 'nothing'"),
        (("score.role", "=", "1"), "attempts has no column 'score.role'"),
        (("score", "like", "1"), "a filter must use one of"),
    ],
    ids=str,
)
def test_a_refused_filter_is_named_by_its_number(studio: Studio, refused: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(filters.FilterError) as error:
        found(studio, ("score", ">", "1"), refused)
    shown = messages.error_of(error.value)
    assert sentence in shown["sentence"]
    assert shown["filter"] == 1


def test_each_column_offers_the_comparisons_that_fit(studio: Studio) -> None:
    told = {
        (table["name"], column["name"]): column["operators"]
        for table in studio.answer("hello", {})[0]["tables"]
        for column in table["columns"]
    }
    assert told["users", "password_hash"] == filters.NULLS
    assert told["users", "role"] == ("=", "≠", "in", "is NULL", "is not NULL")
    assert "last days" in told["attempts", "created_at"]
    assert "contains" in told["users", "email"]
    # Whatever is offered can be used.
    values = {"last days": "7", "integer": "1", "number": "1", "datetime": DAY, "boolean": "true"}
    for name, table in studio._tables.items():
        for column in table.columns.values():
            for operator in filters.operators_of(column):
                value = values.get(operator) or values.get(column.kind) or (*column.values, "1")[0]
                each = Filter(column.name, operator, value, value, (value,))
                filters.condition(studio._tables[name], View(filters=(each,)))


def test_the_filters_are_said_in_words() -> None:
    score, roles = Filter("score", "<", "50"), Filter("user_id.role", "in", items=("ADMIN", "USER"))
    between, null = Filter("score", "between", "1", "2"), Filter("feedback", "is NULL")
    assert filters.words(View()) == ""
    assert filters.words(View((score, roles))) == "score < 50 and user_id.role in ADMIN, USER"
    assert filters.words(View((between, null), "any", "q1")) == (
        "(score between 1 and 2 or feedback is NULL) and any column contains “q1”"
    )
    assert filters.words(View((Filter("created_at", "last days", "7"),))) == "created_at in the last 7 days"
