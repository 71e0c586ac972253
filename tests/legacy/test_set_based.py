"""SQL converts clean rows as Python does: with it and without it, target and report are the same to the last row."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from support import legacy, raw
from support.databases import DIALECTS, Databases
from support.either_way import both_ways, copied, old_rows
from support.legacy import Text, row

from pharmdb.database import indexes
from pharmdb.errors import PharmdbError
from pharmdb.legacy import columns, raw_rows, second_reader, set_based

# The kinds of columns, by table; whatever is not here is text.
TIMES = ("created_at", "updated_at", "last_attempt_at", "next_review_at", "last_reviewed_at")
KINDS = {
    **dict.fromkeys(TIMES, "time"),
    **dict.fromkeys(("answers", "feedback"), "document"),
    **dict.fromkeys(("score", "ease_factor"), "real"),
    **dict.fromkeys(("correct_count", "wrong_count", "interval_days", "is_active"), "count"),
    **dict.fromkeys(("user_id", "created_by_id"), "owner"),
}
ANY = [
    *(None, 0, 1, -1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)),
    *(0.0, -0.0, 1.0, 1.5, 1e-9, 5e-324, 1e300, float("inf"), float("-inf")),
    *(
        "",
        " ",
        "x",
        "0",
        "1",
        "1.0",
        "a\0b",
        "\0",
        "a\tb",
        "a\nb",
        "a\rb",
        "a\\b",
        "\\N",
        "\\.",
        "\x1f",
        "\ufeff",
        "é",
        "💊",
    ),
    *("a" * 160, "a" * 161, "ž" * 160, "💊" * 161, "a" * 3000),
    *(b"", b"x", b"\0\xff", Text(b"caf\xe9"), Text(b"\xed\xa0\x80"), Text(b"\xc0\x80"), Text(b"a\0\xff")),
]
OF_KIND: dict[str, list[Any]] = {
    "text": [
        *(
            "USER",
            "user",
            "ADMIN",
            "ADMIN ",
            "en",
            "EN",
            "e",
            "engli",
            "englis",
            "question",
            "Question",
            "calc",
            "case\0",
        ),
        *("A@b.test", " a@b.test", "a@b@c", "@b", "a@", "a@b.test\n", "a@é", "\u212a@x.test", "a'+-@b.test"),
    ],
    "owner": [1, 2, 3, 77, "1", 1.0, "1.0", 2.5],
    "count": [5, "5", 5.0, "5.5", True],
    "real": [
        *(62, "62", 50.5, 100.00000000000001, 66.66666666666667, 0.1 + 0.2, 0.001, 0.0009999, 1.3, 2.36, "2,5", 1e-5),
        *(1.2999999999999998, 1.3000000000000003, 99.99999999999999, 1_000_000.0, 1_000_000.5),
    ],
    "time": [
        *(cell.raw for cell in legacy.READABLE_TIMES),
        *legacy.UNREADABLE_TIMES,
        *(1e10, 9_999_999_999, "2026-01-02T03:04:05.678Z\0x", "2026-01-02T03:04:05.678+00:0"),
        *("2026-01-02T03:04:05.678z", "2026-01-02T24:00:00.000Z", "2026-02-30T00:00:00.000+00:00"),
        *("0000-12-31T00:00:00.000Z", "1969-12-31T23:59:59.999Z"),
    ],
    "document": [
        *(cell.raw for cell in (*legacy.DOCUMENTS, *legacy.SQLITE_DOCUMENTS)),
        *map(json.dumps, ('{"a": "\\u0000"}', '["\\/"]', "\x07[1]", "[1]\0", "\ufeff[1]", "[" * 900 + "]" * 900)),
        *('"[1]" ', ' "[1]"', '"\\/"', '"[\\/]"', '"\\u005b1]"', '"[\\"\\\\ud800\\"]"', '"[1]"\0', '"[1]"\0"', '"[1]'),
        *("[1]x", '{"a":1}\t', "[1]\n", '"[1,\\n2]"', '"\t"', "[" * 901 + "]" * 901, "[" * 450 + "]" * 450),
        *(json.dumps("[" * 450 + "]" * 450), json.dumps("ž" * 9_000), "[1e400]", '"1e400"'),
        *(json.dumps(json.dumps("x" * size)) for size in (880, 9990, 10_100)),
        *(
            "01",
            "-",
            "[01]",
            "[1.]",
            "[.5]",
            "[+1]",
            "[NaN]",
            "[1,]",
            "{'a':1}",
            "[\x7f]",
            '["\x7f"]',
            '"[\\"\x7f\\"]"',
        ),
        '["\x1f"]',
    ],
}


def build(path: Path, stage: int, rows: list[legacy.Row]) -> Path:
    """An old file whose tables forbid nothing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for statement in legacy.schema(stage, "sqlite"):
            if "INDEX" not in statement:
                connection.execute(statement.replace(" NOT NULL,", ",").replace(" NOT NULL DEFAULT", " DEFAULT"))
        legacy.insert_sqlite(connection, stage, rows)
        connection.execute("COMMIT")
    return path


def nasty_rows() -> list[legacy.Row]:
    """Each value that may be unclean in each column of its kind, in an otherwise clean row, among clean rows."""
    rows = [row("users", n, email=f"user{n}@example.test") for n in range(1, 40)]
    for table, names in raw.ROWS.items():
        n = 1000
        for name in names:
            for value in [*ANY, *OF_KIND[KINDS.get(name, "text")]]:
                n += 1
                own: dict[str, dict[str, Any]] = {
                    "users": {"email": f"{n}@example.test"},
                    "user_settings": {"user_id": n},
                }
                own |= {"progress_by_tag": {"tag": f"{n}"}, "spaced_repetition_items": {"entity_id": f"{n}"}}
                own |= {"dataset_overrides": {"name": f"{n}"}}
                if table == "user_settings":
                    rows.append(row("users", 10_000 + n, email=f"{n}@settings.test"))
                    own[table] = {"user_id": 10_000 + n}
                rows.append(row(table, n, **own.get(table, {}) | {name: value}))
    return rows


@pytest.mark.parametrize("decode", [False, True], ids=["kept", "decoded"])
def test_every_odd_value_has_the_same_fate_either_way(
    databases: Databases, dialect: str, decode: bool, tmp_path: Path
) -> None:
    rows = legacy.at_stage(nasty_rows(), 2)
    source = build(tmp_path / "old.db", 2, rows)
    by_sql = both_ways(source, databases.migrated(dialect), decode=decode)
    assert by_sql > 300


LETTERS = st.sampled_from(["a", "A", "é", "\0", "\n", "\\", '"', "[", "]", "{", "}", ":", ",", "1", "e", "u", "/", " "])
TEXTS = st.text(LETTERS, max_size=8)
DOCUMENTS = st.one_of(
    st.sampled_from(OF_KIND["document"]),
    TEXTS,
    TEXTS.map(json.dumps),
    TEXTS.map(lambda text: json.dumps(json.dumps(text, ensure_ascii=False), ensure_ascii=False)),
    st.recursive(st.one_of(st.none(), st.integers(), TEXTS), lambda inner: st.lists(inner, max_size=3))
    .map(lambda value: json.dumps(value, ensure_ascii=False))
    .flatmap(lambda text: st.sampled_from([text, json.dumps(text, ensure_ascii=False), json.dumps(text)])),
)
STAMPS = st.tuples(
    st.datetimes().map(lambda time: time.isoformat(timespec="milliseconds")),
    st.sampled_from(["", "Z", "+00:00", "+01:00", "-00:30"]),
    st.sampled_from(["T", " "]),
    st.sampled_from([None, 19, 23, 21]),
).map(lambda parts: parts[0].replace("T", parts[2])[: parts[3]] + parts[1])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "time": st.one_of(
        st.integers(-(10**14), 3 * 10**14),
        st.integers(10**10, 253402300799999),
        st.floats(-1e14, 3e14),
        STAMPS,
        st.sampled_from(OF_KIND["time"]),
    ),
    "document": DOCUMENTS,
    "real": st.one_of(st.floats(0, 100), st.floats(-1, 101), st.floats(), st.integers(-1, 101), TEXTS),
    "count": st.one_of(st.integers(-1, 9), st.integers(-(2**63), 2**63 - 1), st.floats(0, 9), TEXTS),
    "owner": st.one_of(st.integers(1, 9), st.sampled_from(OF_KIND["owner"])),
    "text": st.one_of(TEXTS, st.sampled_from([*ANY, *OF_KIND["text"]])),
}


def odd(table: str, name: str) -> st.SearchStrategy[Any]:
    return VALUES[KINDS.get(name, "text")]


@examples(
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    max_examples=int(os.environ.get("PHARMDB_EXAMPLES") or 12),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(rows=old_rows(odd), stage=st.sampled_from((1, 2, 3)), to=st.sampled_from(DIALECTS), decode=st.booleans())
def test_any_source_has_the_same_fate_either_way(
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[legacy.Row],
    stage: int,
    to: str,
    decode: bool,
) -> None:
    source = build(tmp_path_factory.mktemp("old") / "old.db", stage, legacy.at_stage(rows, stage))
    both_ways(source, databases.migrated(to), decode=decode)


# -- files, indexes and the second process --------------------------------------------------------------


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A source of 100 attempts, a few of them not clean."""
    rows = [row("users", n, email=f"{n}@b.test") for n in range(1, 5)]
    rows += [row("attempts", n, user_id=1 + n % 6, score=float(n)) for n in range(1, 101)]
    return build(tmp_path / "old.db", 2, rows)


def test_indexes_are_the_same_after_a_load_without_them(
    databases: Databases, old_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.migrated("sqlite")
    extra = "CREATE INDEX own_partial ON attempts (score DESC) WHERE score > 50 -- as written"
    raw.run(url, extra, "CREATE UNIQUE INDEX own_unique ON attempts (id, score)")
    copied(old_file, url)
    statements: list[str] = []
    with raw.session(url) as session:
        before = raw.schema(session)
    monkeypatch.setattr(indexes, "_MANY", 100)
    connect = raw_rows.attached

    def traced(writer: Any, source: raw_rows.Source) -> Any:
        writer.connection.driver_connection.set_trace_callback(statements.append)
        return connect(writer, source)

    monkeypatch.setattr(raw_rows, "attached", traced)
    copied(old_file, url)
    with raw.session(url) as session:
        assert raw.schema(session) == before
        assert session.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    dropped = [statement for statement in statements if statement.startswith("DROP INDEX")]
    assert len(dropped) == 3
    assert "own_unique" not in str(dropped)


@pytest.mark.parametrize("of", ["source", "target"])
def test_text_in_utf_16_is_left_to_python(databases: Databases, old_file: Path, tmp_path: Path, of: str) -> None:
    url = databases.empty("sqlite")
    other = raw.path(url) if of == "target" else tmp_path / "utf16.db"
    with closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        if of == "source":
            with closing(sqlite3.connect(old_file)) as plain:
                connection.executescript("\n".join(plain.iterdump()))
        else:
            connection.execute("PRAGMA user_version = 0")
            connection.execute("CREATE TABLE t (x)")
            connection.execute("DROP TABLE t")
    source = other if of == "source" else old_file
    assert copied(source, url) == copied(old_file, databases.migrated("sqlite"))


def test_without_a_second_process_one_reads(
    databases: Databases, old_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_based, "_MANY", 1)
    expected = copied(old_file, databases.migrated("sqlite"))
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert copied(old_file, databases.migrated("sqlite")) == expected


def test_a_second_process_that_ends_too_early_is_noticed(
    databases: Databases, old_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.migrated("sqlite")
    before = raw.everything(url)
    (tmp_path / "ends.py").write_text("import sys\nsys.stdin.buffer.read()\n")
    monkeypatch.setattr(second_reader, "__file__", str(tmp_path / "ends.py"))
    monkeypatch.setattr(set_based, "_MANY", 1)
    with pytest.raises(PharmdbError, match="process that reads the source has ended"):
        copied(old_file, url)
    assert raw.everything(url) == before


def reading(path: Path, rows: int = 10) -> second_reader.Query:
    """A query of so many attempts at a time."""
    some = f'SELECT id FROM "Attempt" WHERE id > ? ORDER BY id LIMIT {rows}'
    skip = f'SELECT id FROM "Attempt" WHERE id > ? ORDER BY id LIMIT 1 OFFSET ? * {rows} - 1'
    return second_reader.Query(path, f"SELECT count(*), 0, 0, max(id) FROM ({some})", (), 3, skip)


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("rows", [10, 7, 100, 1000])
def test_processes_read_in_turn_and_each_row_once(old_file: Path, processes: int, rows: int) -> None:
    whole, rest = divmod(100, rows)
    expected = [(rows, rows * n) for n in range(1, whole + 1)] + [(rest, 100)] * bool(rest) + [(0, None)]
    with second_reader.answers(reading(old_file, rows), processes) as found:
        assert [(count, last) for count, _, _, last in found] == expected


def test_no_second_process_is_left_behind(old_file: Path) -> None:
    with second_reader.answers(reading(old_file), 2) as rows:
        assert len(list(rows)) == 11
    with second_reader.answers(reading(old_file), 2) as rows:
        assert next(rows)[3] == 10
    commands = [child.cmdline() for child in psutil.Process().children()]
    assert [command for command in commands if second_reader.__file__ in command] == []


def test_an_error_of_the_second_process_has_its_code(tmp_path: Path) -> None:
    with (
        second_reader.answers(reading(tmp_path / "missing.db"), 1) as rows,
        pytest.raises(sqlite3.OperationalError) as error,
    ):
        next(rows)
    assert error.value.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN


def test_a_wrong_conversion_by_sql_is_noticed(migrated: str, old_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = raw.everything(migrated)
    monkeypatch.setattr(columns, "_WRITTEN_TIME", "'2026-01-02T03:04:05.001+00:00'")
    with pytest.raises(PharmdbError, match="unchanged values"):
        copied(old_file, migrated)
    assert raw.everything(migrated) == before
