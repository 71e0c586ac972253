"""SQL of a PostgreSQL source converts clean rows as Python does: target and report are the same to the last row."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from support import legacy, raw
from support.databases import Databases, dsn
from support.either_way import both_ways, copied, old_rows
from support.legacy import row

from pharmdb.errors import PharmdbError
from pharmdb.legacy import server_based

INT = (-(2**31), 2**31 - 1)
LONG = (-(2**63), 2**31, 2**62, 2**62 + 1, 2**63 - 1)
TEXTS = [
    *(
        "",
        " ",
        "x",
        "0",
        "a\tb",
        "a\nb",
        "a\rb",
        "a\\b",
        "\\N",
        "\\.",
        "\x1f",
        "\x7f",
        "\ufeff",
        "é",
        "💊",
        "%s",
        "\\u0041",
    ),
    *(
        "a" * 160,
        "a" * 161,
        "ž" * 160,
        "💊" * 161,
        "a" * 3000,
        "user",
        "EN",
        "e",
        "engli",
        "englis",
        "čs",
        "en\n",
        "\nen",
    ),
    *(
        "A@b.test",
        "Bee@b.test",
        " a@b.test",
        "a@b@c",
        "@b",
        "a@",
        "a@b.test\n",
        "a@é",
        "\u212a@x.test",
        "a'+-@b.test",
        "a\\@b.test",
    ),
]
TIMES = [
    *("infinity", "-infinity", "2026-01-01 00:00:00 BC", "0001-01-01 00:00:00 BC", "4713-01-01 00:00:00 BC"),
    *("0001-01-01", "0001-01-01 00:00:00.001", "9999-12-31 23:59:59.999", "9999-12-31 23:59:59.9995", "10000-01-01"),
    *(
        "294276-12-31 23:59:59",
        "1970-01-01",
        "1969-12-31 23:59:59.999",
        "2000-01-01",
        "1582-10-10",
        "2026-03-29 02:30:00",
    ),
    *("2026-01-02 03:04:05.5", "2026-01-02 03:04:05.000400", "2026-01-02 03:04:05.000500", "1999-12-31 23:59:59.9995"),
]
REALS = [
    *(0.0, -0.0, 1.0, 62.5, 100.00000000000001, 66.66666666666667, 0.1 + 0.2, 0.001, 0.0009999, 1e-5, 5e-324, 1e300),
    *(1.3, 1.2999999999999998, 1.3000000000000003, 99.99999999999999, 1_000_000.0, 1_000_000.5, -1.0),
    *(float("inf"), float("-inf"), float("nan")),
]
DOCUMENTS = [
    *(cell.raw for cell in legacy.DOCUMENTS),
    *map(
        json.dumps,
        ('["\\/"]', "[1]\n", "\t[1]", "\f[1]", "\ufeff[1]", "[\x7f]", '["\x7f"]', '["\x1f"]', "[1.]", "[.5]", "-"),
    ),
    *map(
        json.dumps,
        ("[" * 900 + "]" * 900, "[" * 901 + "]" * 901, "[" * 900, "{" * 900, "[]" * 450, "[1]x", "01", "1e400"),
    ),
    *(json.dumps(json.dumps("x" * size)) for size in (880, 9990, 10_100)),
    *(
        json.dumps("9" * 5000),
        json.dumps("ž" * 9000, ensure_ascii=False),
        json.dumps('"\\u017e"'),
        '"\\u005b1]"',
        "1.50",
        "1e3",
    ),
]
KINDS: dict[str, list[Any]] = {
    **dict.fromkeys(("created_at", "updated_at", "last_attempt_at", "next_review_at", "last_reviewed_at"), TIMES),
    **dict.fromkeys(("answers", "feedback"), DOCUMENTS),
    **dict.fromkeys(("score", "ease_factor"), REALS),
    **{key: [-1, 0, 1, 5, *INT] for key in ("correct_count", "wrong_count", "interval_days")},
    **{key: [1, 2, 77, 0, -1, *INT] for key in ("user_id", "created_by_id")},
    "is_active": [True, False, 2],
    "role": ["USER", "ADMIN"],
}
# Columns of other types than Prisma's, each with what takes its place.
PRISMA: dict[str, str] = {}
WIDE = {
    "SERIAL": "BIGINT",
    " INTEGER": " BIGINT",
    "TIMESTAMP(3)": "TIMESTAMP",
    ' "Role"': " TEXT",
    '"AttemptEntityType"': "VARCHAR",
    " NOT NULL,": ",",
    " NOT NULL DEFAULT": " DEFAULT",
}
OTHER = {"JSONB": "JSON", "TIMESTAMP(3)": "TIMESTAMPTZ", "DOUBLE PRECISION": "REAL", " INTEGER": " SMALLINT"}
NUMERIC = {"DOUBLE PRECISION": "NUMERIC", 'Count" INTEGER': 'Count" NUMERIC', 'Days" INTEGER': 'Days" NUMERIC'}
TEXT = {"JSONB": "TEXT", "TIMESTAMP(3)": "TEXT", ' "Role"': " CHAR(5)", "DOUBLE PRECISION": "REAL"}


def build(url: str, stage: int, rows: list[legacy.Row], types: dict[str, str]) -> str:
    """An old database whose tables forbid nothing but what their types do; rows that these refuse are left out."""
    with psycopg.connect(dsn(url), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        for setting in ("timezone = 'Asia/Tokyo'", "datestyle = 'SQL, DMY'", "extra_float_digits = -3"):
            connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET {setting}')
        connection.execute("SET datestyle = ISO")
        with connection.transaction():
            for statement in legacy.schema(stage, "postgresql"):
                if "INDEX" not in statement:
                    for usual, other in types.items() if statement.startswith("CREATE TABLE") else ():
                        statement = statement.replace(usual, other)
                    connection.execute(statement)
            connection.execute("SET LOCAL session_replication_role = replica")
            for each in legacy.at_stage(rows, stage):
                names = legacy.columns(each.table, stage)
                listed = ", ".join(f'"{name}"' for name in ("id", *map(legacy.camel, names)))
                marks = ", ".join(["%s"] * (len(names) + 1))
                with suppress(*raw.REFUSED), connection.transaction():
                    connection.execute(
                        f'INSERT INTO "{legacy.OLD[each.table]}" ({listed}) VALUES ({marks})',
                        [each.id, *(each.cells[name].raw for name in names)],
                    )
    return url


def values(table: str, name: str) -> list[Any]:
    if (table, name) == ("attempts", "entity_type"):
        return ["question", "case", "calc", "Question"]
    return KINDS.get(name, TEXTS)


def nasty_rows() -> list[legacy.Row]:
    """Each odd value in each column that takes it, in an otherwise clean row, among clean rows."""
    rows = [row("users", n, email=f"user{n}@example.test") for n in range(-1, 40)]
    n = 1000
    for table, names in raw.ROWS.items():
        for name in names:
            for value in (None, *values(table, name)):
                n += 1
                own: dict[str, dict[str, Any]] = {
                    "users": {"email": f"{n}@example.test"},
                    "user_settings": {"user_id": 10_000 + n},
                    "progress_by_tag": {"tag": f"{n}"},
                    "spaced_repetition_items": {"entity_id": f"{n}"},
                    "dataset_overrides": {"name": f"{n}"},
                }
                if table == "user_settings":
                    rows.append(row("users", 10_000 + n, email=f"{n}@settings.test"))
                rows.append(row(table, n, **own.get(table, {}) | {name: value}))
        # Where the types take them.
        for id_ in (*INT, *LONG):
            rows.append(row(table, id_, **{"email": f"{id_}@far.test"} if table == "users" else {}))
    return rows


@pytest.mark.parametrize(
    ("types", "decode", "least"),
    [
        (PRISMA, False, 600),
        (PRISMA, True, 300),
        (WIDE, False, 500),
        (OTHER, False, 0),
        (NUMERIC, False, 200),
        (TEXT, False, 0),
    ],
    ids=["prisma", "decoded", "wide", "other", "numeric", "text"],
)
def test_every_odd_value_has_the_same_fate_either_way(
    databases: Databases, types: dict[str, str], decode: bool, least: int
) -> None:
    with databases.dropped(databases.empty("postgresql")) as url:
        source = build(url, 2 if types is WIDE else 4, nasty_rows(), types)
        by_sql = both_ways(source, databases.migrated("postgresql"), decode=decode)
    assert by_sql > least if least else by_sql == 0


def test_an_odd_value_among_clean_rows_has_the_same_fate_either_way(places: tuple[str, str]) -> None:
    odd = [*({"answers": value} for value in DOCUMENTS), *({"entity_id": value} for value in TEXTS)]
    # One in each batch of seven.
    rows = [row("attempts", n, **odd[n // 7] if n % 7 == 3 else {}) for n in range(7 * len(odd))]
    source, url = places
    assert both_ways(build(source, 4, [row("users", 1), *rows], PRISMA), url) > 6 * len(odd)


LETTERS = st.sampled_from(
    ["a", "A", "é", "\n", "\\", '"', "[", "]", "{", "}", ":", ",", "1", "e", "u", "/", " ", "\x7f"]
)
SHORT = st.text(LETTERS, max_size=8)
JSONS = st.recursive(st.one_of(st.none(), st.integers(), SHORT), lambda inner: st.lists(inner, max_size=3)).map(
    json.dumps
)
GENERATED: dict[str, st.SearchStrategy[Any]] = {
    "answers": st.one_of(st.sampled_from(DOCUMENTS), SHORT.map(json.dumps), JSONS, JSONS.map(json.dumps)),
    "score": st.one_of(st.floats(0, 100), st.floats()),
    "ease_factor": st.one_of(st.floats(1, 100), st.floats()),
    "created_at": st.one_of(st.datetimes().map(str), st.sampled_from(TIMES)),
    "email": st.one_of(SHORT, SHORT.map(lambda text: f"{text}@b.test"), st.sampled_from(TEXTS)),
}


def odd(table: str, name: str) -> st.SearchStrategy[Any]:
    same = {"feedback": "answers"}.get(name, "created_at" if name.endswith("_at") else name)
    return GENERATED.get(same, st.sampled_from(values(table, name)))


@examples(
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    max_examples=int(os.environ.get("PHARMDB_EXAMPLES") or 8),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(rows=old_rows(odd), stage=st.sampled_from(legacy.STAGES), types=st.sampled_from([PRISMA, WIDE]))
def test_any_source_has_the_same_fate_either_way(
    databases: Databases, places: tuple[str, str], rows: list[legacy.Row], stage: int, types: dict[str, str]
) -> None:
    source, url = places
    both_ways(build(source, stage, rows, types), url)


@pytest.fixture
def places(databases: Databases) -> Iterator[tuple[str, str]]:
    """An empty database and one at head, which one example after the other is copied into."""
    with (
        databases.dropped(databases.empty("postgresql")) as source,
        databases.dropped(databases.migrated("postgresql")) as url,
    ):
        yield source, url


@pytest.mark.parametrize("name", ["created_at", "answers", "score", "entity_id", "user_id"])
def test_a_wrong_conversion_by_sql_is_noticed(
    places: tuple[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    source, url = places
    rows = [row("users", n, email=f"{n}@b.test") for n in range(1, 5)]
    build(source, 4, [*rows, *(row("attempts", n, user_id=1 + n % 4) for n in range(1, 30))], PRISMA)
    before = raw.everything(url)
    wrong = {
        "created_at": "{x} AT TIME ZONE 'Asia/Tokyo'",
        "answers": "to_jsonb({x}::text)",
        "score": "{x} + 1e-13::float8",
        "entity_id": "{x} || ' '",
        "user_id": "{x} % 4 + 1",
    }
    made = server_based._forms

    def forms(table: Any) -> dict[str, server_based.Form]:
        found = made(table)
        return found | ({name: replace(found[name], written=wrong[name])} if table.table == "attempts" else {})

    monkeypatch.setattr(server_based, "_forms", forms)
    with pytest.raises(PharmdbError, match="unchanged values"):
        copied(source, url)
    assert raw.everything(url) == before


def test_without_is_json_python_converts_documents(places: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    source, url = places
    build(source, 4, legacy.clean("postgresql"), PRISMA)
    expected = copied(source, url)
    made: list[str] = []

    def seen(*arguments: Any, **options: Any) -> server_based.ServerLane:
        made.append(arguments[1].table)
        return lane(*arguments, **options)

    lane = server_based.ServerLane
    monkeypatch.setattr(server_based, "ServerLane", seen)
    monkeypatch.setattr(server_based, "_IS_JSON", 10**9)
    assert copied(source, url) == expected
    assert "bookmarks" in made
    assert "attempts" not in made


def test_a_rejected_row_is_kept_whatever_the_types_of_its_columns(places: tuple[str, str]) -> None:
    source, url = places
    rows = [row("users", 1), row("attempts", 2), row("attempts", 3, score=101.5)]
    build(source, 4, rows, {"DOUBLE PRECISION": "NUMERIC"})
    copied(source, url)
    assert raw.ask(url, "SELECT row ->> 'score' FROM upgrade_rejects WHERE source_id = 3") == [("101.5",)]
