"""JSON itself, or in a JSON string as the application stores it: Python and both databases see the same value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, Text, cast, select
from support.databases import Databases

import pharmdb
from pharmdb.schema import json_values
from pharmdb.types import DOCUMENT

TABLE = Table("shapes", MetaData(), Column("id", Integer, primary_key=True), Column("x", DOCUMENT))


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def meant(text: str) -> Any:
    """What a JSON string with this content stands for."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def fits_jsonb(value: Any) -> bool:
    """Whether JSONB can store its characters."""
    if isinstance(value, dict):
        return all(fits_jsonb(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(map(fits_jsonb, value))
    return not isinstance(value, str) or not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)


# Everything that JSON is made of, and what is nearly JSON.
TOKENS = (
    *'{}[],:"\\ \t\n1-.euk',
    *('"a"', '"a":', "true", "null", "00", "1.5E+3", "-0", "\\u0000", "\\ud83d", "\\udc8a", '"\\ud83d\\udc8a"'),
    *("\\\\", '\\"', "ž", "💊", "\x1f", "\x7f", "\u00a0"),
)
CONTENTS = st.lists(st.sampled_from(TOKENS), max_size=9).map("".join)
TRICKY = [
    '{"selected":"a"}',
    ' {"steps" : [1, {"b": null}], "é": "💊"}\n',
    "42",
    '"42"',
    "plain",
    "",
    "01",
    "[1][2]",
    "[1}",
    "{1:2}",
    '["a\t"]',
    '":',
    '"\\ud83d\\\\\\udc8a"',
    '"\\ud83d\\ud83d\\udc8a\\udc8a"',
    '"\\\\u0000"',
    '"\\\\\\u0000"',
    "1e999",
    # Not more, as Python's stack has other frames on it as well.
    "[" * 500 + "]" * 500,
    "[" * 6000 + "]" * 6000,
    "[" * 100_000,
    f"[{'[],' * 3000}0]",
]


@pytest.fixture(scope="module")
def urls(databases: Databases) -> dict[str, str]:
    made = {dialect: databases.migrated(dialect) for dialect in ("sqlite", "postgresql")}
    for url in made.values():
        with pharmdb.writing(pharmdb.target(url)) as connection:
            TABLE.create(connection)
    return made


@examples(deadline=None, max_examples=15)
@given(st.lists(CONTENTS, min_size=50, max_size=300))
@example(TRICKY)
def test_strings_are_decoded_where_they_hold_json(urls: dict[str, str], contents: list[str]) -> None:
    expected = [meant(content) for content in contents]
    # The repr tells 1 from 1.0 and from true.
    assert [repr(json_values.decoded(content)) for content in contents] == list(map(repr, expected))
    texts = [json_values.decoded_text(json.dumps(content)) for content in contents]
    assert [repr(json.loads(text)) for text in texts] == list(map(repr, expected))
    for dialect, url in urls.items():
        with pharmdb.writing(pharmdb.target(url)) as connection:
            connection.execute(TABLE.delete())
            connection.execute(TABLE.insert(), [{"id": n, "x": content} for n, content in enumerate(contents)])
            value = cast(json_values.json_value(TABLE.c.x), Text)
            found = connection.scalars(select(value).order_by(TABLE.c.id)).all()
        for content, value, text in zip(contents, expected, found, strict=True):
            if "inf" in repr(value):
                # JSONB has these numbers, and Python does not.
                continue
            stays = dialect == "postgresql" and not fits_jsonb(value)
            wanted = content if stays else value
            assert json.loads(text) == wanted, content[:60]


VALUES: list[Any] = [{"a": [1, 2.5]}, [], 42, None, True, "plain", '{"not": "decoded"']


def test_other_values_stay_as_they_are(urls: dict[str, str], dialect: str) -> None:
    with pharmdb.writing(pharmdb.target(urls[dialect])) as connection:
        connection.execute(TABLE.delete())
        connection.execute(TABLE.insert(), [{"id": n, "x": value} for n, value in enumerate(VALUES)])
        found = connection.scalars(select(json_values.json_value(TABLE.c.x)).order_by(TABLE.c.id)).all()
    assert list(found) == VALUES
    assert list(map(json_values.decoded, VALUES)) == VALUES
    assert [json.loads(json_values.decoded_text(json.dumps(value))) for value in VALUES] == VALUES


def test_damaged_json_of_a_file_is_shown_as_it_is(databases: Databases) -> None:
    table = Table("damaged", MetaData(), Column("x", DOCUMENT))
    with pharmdb.writing(pharmdb.target(databases.migrated("sqlite"))) as connection:
        connection.exec_driver_sql("CREATE TABLE damaged (x TEXT)")
        connection.exec_driver_sql("INSERT INTO damaged VALUES ('{\"a'), ('')")
        found = connection.scalars(select(cast(json_values.json_value(table.c.x), Text))).all()
    assert list(found) == ['{"a', ""]
