"""An attempt that the application stored, with JSON in JSON strings, reads like one that has the JSON itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update
from support.databases import Databases

import pharmdb
from pharmdb.learning import queries
from pharmdb.models import Attempt

ANSWERS = [{"selected": "a"}, {"steps": [1, None, {"b": "\x1e \x1f é"}]}, [], 42, "plain"]


def stored(value: Any) -> str:
    """As JSON.stringify writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@pytest.fixture(scope="module")
def urls(databases: Databases) -> dict[str, str]:
    """Attempts 1 to 5 plain, and 11 to 15 as the application stores them."""
    made = {dialect: databases.seeded(dialect) for dialect in ("sqlite", "postgresql")}
    entity = {"user_id": 1, "entity_type": "case", "entity_id": "c", "score": 60.0}
    for url in made.values():
        with pharmdb.writing(pharmdb.target(url)) as connection:
            for n, value in enumerate(ANSWERS, 1):
                for id_, one in ((n, value), (n + 10, stored(value))):
                    feedback = one if n % 2 else None
                    connection.execute(insert(Attempt).values(id=id_, answers=one, feedback=feedback, **entity))
    return made


def halves(values: list[Any]) -> tuple[list[Any], list[Any]]:
    return values[: len(ANSWERS)], values[len(ANSWERS) :]


def test_every_reader_gives_the_same_for_both_shapes(urls: dict[str, str], dialect: str) -> None:
    with pharmdb.reading(pharmdb.target(urls[dialect])) as connection:
        rows = sorted(queries.attempt_history.rows(connection, user_id=1))
        history = queries.attempt_history.frame(connection, user_id=1).sort_values("id")
        plain = pharmdb.frame(connection, select(Attempt.answers, Attempt.feedback).order_by(Attempt.id))
        whole = pharmdb.attempts_frame(connection)
        value = pharmdb.json_value(Attempt.answers)
        selected = connection.scalars(select(value).order_by(Attempt.id)).all()
    for column in ("answers", "feedback"):
        expected = [value if column == "answers" or n % 2 else None for n, value in enumerate(ANSWERS, 1)]
        texts = [None if text != text else json.loads(text) for text in whole[column]]
        for found in ([getattr(row, column) for row in rows], list(history[column]), list(plain[column]), texts):
            assert halves(found) == (expected, expected)
    assert halves(list(selected)) == (ANSWERS, ANSWERS)


def test_sql_reaches_into_both_shapes(urls: dict[str, str], dialect: str) -> None:
    chosen = pharmdb.json_value(Attempt.answers)["selected"].as_string()
    counted = select(chosen, func.count()).where(chosen.is_not(None)).group_by(chosen)
    with pharmdb.reading(pharmdb.target(urls[dialect])) as connection:
        assert connection.execute(counted).all() == [("a", 2)]


def test_the_fingerprint_tells_the_shapes_apart(urls: dict[str, str], dialect: str) -> None:
    # The application parses what it reads: another shape is another content.
    url = urls[dialect]
    with pharmdb.writing(pharmdb.target(url)) as connection:
        before = pharmdb.fingerprint(connection)
        connection.execute(update(Attempt).where(Attempt.id == 11).values(answers=ANSWERS[0]))
        assert pharmdb.fingerprint(connection) != before
        connection.rollback()
