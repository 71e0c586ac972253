"""What no session gets past, whoever opens it: the rules are the database's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import exc, select, update
from sqlalchemy import insert as core_insert
from sqlalchemy.dialects import postgresql, sqlite
from support import raw
from support.raw import ANN, LATER, OWNERS, REFUSED, ROWS, TABLES, TIME, TIMES, insert

import pharmdb
from pharmdb.models import Attempt, Base, DatasetOverride, User, UserSettings
from pharmdb.types import UTCDateTime, milliseconds

DIALECTS = ("sqlite", "postgresql")
NUL = "|| char(0) || 'x'"
FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")


@pytest.fixture(scope="module")
def sessions(databases: Any) -> Iterator[dict[str, Any]]:
    """A raw session on a database at head, for each dialect."""
    with raw.session(databases.migrated("sqlite")) as one, raw.session(databases.migrated("postgresql")) as other:
        yield {"sqlite": one, "postgresql": other}


@pytest.fixture
def session(sessions: dict[str, Any], dialect: str) -> Any:
    """It holds the rows of raw.fill and no others."""
    connection = sessions[dialect]
    with raw.transaction(connection):
        for table in reversed(TABLES):
            connection.execute(f"DELETE FROM {table}")
        raw.fill(connection)
    return connection


@pytest.fixture
def engine_session(migrated: str) -> Iterator[sa.Connection]:
    """A transaction of pharmdb's own, with one user."""
    with pharmdb.writing(pharmdb.target(migrated)) as connection:
        connection.execute(core_insert(User).values(id=1, email="ann@example.test", password_hash="x"))
        yield connection


# -- refused ----------------------------------------------------------------------------------------

BOTH: dict[str, list[dict[str, str]]] = {
    "users": [
        {"email": "'ann@example.test'"},
        {"email": "'Ann@example.test'"},
        {"email": "'ANN@EXAMPLE.TEST'"},
        {"email": "'new@Example.test'"},
        {"email": "'ännn@example.test'"},
        {"email": "'new@exämple.test'"},
        {"email": "'ÄNN@example.test'"},
        {"email": "'ann＠example.test'"},
        {"email": "' ann@example.test'"},
        {"email": "'ann@example.test '"},
        {"email": "'an n@example.test'"},
        {"email": "'ann@example.test\t'"},
        {"email": "'ann@example.test\n'"},
        {"email": "'\nann@example.test'"},
        {"email": "'ann@example.test\u00a0'"},
        {"email": "'ann@example.test\x7f'"},
        {"email": "'ann.example.test'"},
        {"email": "'ann@home@example.test'"},
        {"email": "'@example.test'"},
        {"email": "'ann@'"},
        {"email": "'@'"},
        {"email": "''"},
        {"role": "'STUDENT'"},
        {"role": "'user'"},
        {"role": "'ADMIN '"},
        {"role": "''"},
    ],
    "user_settings": [
        {"user_id": ANN},
        {"language": "'e'"},
        {"language": "''"},
        {"language": "'english'"},
        {"language": "'e1'"},
        {"language": "'en '"},
        {"language": "'en\n'"},
        {"language": "'en-US'"},
        {"language": "'ру'"},
    ],
    "bookmarks": [{"user_id": "'abc'"}],
    "attempts": [
        {"entity_type": "'drug'"},
        {"entity_type": "'Question'"},
        {"entity_type": "'CALC'"},
        {"entity_type": "''"},
        {"score": "101"},
        {"score": "100.0000001"},
        {"score": "-1"},
        {"score": "-0.0000001"},
        {"score": "'abc'"},
        {"score": "''"},
        {"answers": "''"},
        {"answers": "'{'"},
        {"answers": "'abc'"},
        {"answers": "'NaN'"},
        {"answers": "'{''a'': 1}'"},
        {"answers": """'{"a": 1} x'"""},
        {"feedback": "'{'"},
        {"feedback": "''"},
    ],
    "progress_by_tag": [
        {"user_id": ANN},
        {"correct_count": "-1"},
        {"wrong_count": "-1"},
        {"correct_count": "'abc'"},
        {"wrong_count": "'1.5'"},
    ],
    "spaced_repetition_items": [
        {"user_id": ANN},
        {"ease_factor": "1.29"},
        {"ease_factor": "1.2999999"},
        {"ease_factor": "-2.5"},
        {"ease_factor": "'abc'"},
        {"interval_days": "0"},
        {"interval_days": "-1"},
        {"interval_days": "'abc'"},
        {"next_review_at": TIME, "last_reviewed_at": LATER},
        {"next_review_at": "'2026-01-02T03:04:05.005+00:00'"},
    ],
    "dataset_overrides": [
        {"name": "'ann''s override'"},
        *(
            {"json_text": text, "is_active": "'1'"}
            for text in ("''", "'{'", "'abc'", """'{"a": 1,}'""", """'{"a": 1} x'""", "'\ufeff{}'")
        ),
        {"is_active": "'2'"},
        {"is_active": "'-1'"},
        {"is_active": "'abc'"},
    ],
}
SQLITE: dict[str, list[dict[str, str]]] = {
    "users": [
        {"email": f"'new@example.test' {NUL}"},
        {"email": "CAST('new@example.test' AS BLOB)"},
        {"password_hash": "x'00ff'"},
        {"role": f"'USER' {NUL}"},
    ],
    "user_settings": [{"language": f"'en' {NUL}"}],
    "attempts": [
        {"score": "9e999 - 9e999"},
        {"score": "9e999"},
        {"score": "x'31'"},
        {"answers": f"'{{}}' {NUL}"},
        {"answers": "CAST('{}' AS BLOB)"},
        {"feedback": f"'{{}}' {NUL}"},
    ],
    "progress_by_tag": [{"correct_count": "1.5"}],
    "spaced_repetition_items": [
        {"ease_factor": "9e999"},
        {"ease_factor": "9e999 - 9e999"},
        {"interval_days": "1.5"},
    ],
    "dataset_overrides": [{"is_active": "0.5"}, {"json_text": f"'{{}}' {NUL}"}],
}
POSTGRESQL: dict[str, list[dict[str, str]]] = {
    "users": [{"email": r"'\x6e'::bytea"}],
    "attempts": [
        {"score": "'NaN'"},
        {"score": "'Infinity'"},
        {"score": "'-Infinity'"},
        {"answers": r"""'{"a": "\u0000"}'"""},
    ],
    "spaced_repetition_items": [{"ease_factor": "'NaN'"}, {"ease_factor": "'Infinity'"}],
    "dataset_overrides": [{"is_active": "2"}],
}
ALWAYS: dict[str, list[dict[str, str]]] = {
    table: [{column: "NULL"} for column in row if column not in ("feedback", "last_reviewed_at")]
    + ([{OWNERS[table]: "-1"}] if table in OWNERS else [])
    for table, row in ROWS.items()
}


def cases() -> Iterator[Any]:
    for dialect, own in zip(DIALECTS, (SQLITE, POSTGRESQL), strict=True):
        for source in (BOTH, ALWAYS, own):
            for table, changes in source.items():
                for change in changes:
                    values = ", ".join(f"{column}={value}" for column, value in change.items())
                    yield pytest.param(dialect, table, change, id=f"{dialect}-{table}-{values!a}")


@pytest.mark.parametrize(("dialect", "table", "changes"), list(cases()))
def test_a_value_that_breaks_a_rule_is_refused(session: Any, table: str, changes: dict[str, str]) -> None:
    before = raw.content(session)
    with pytest.raises(REFUSED):
        session.execute(insert(table, **changes))
    assert raw.content(session) == before


@pytest.mark.parametrize("table", TABLES)
def test_the_same_row_without_the_broken_value_is_accepted(session: Any, table: str) -> None:
    session.execute(insert(table))


NO_TIMES = {
    "sqlite": [
        *(
            f"'{time}+00:00'"
            for time in (
                *("2026-02-30T00:00:00.000", "2025-02-29T00:00:00.000", "2026-13-01T00:00:00.000"),
                *("2026-00-01T00:00:00.000", "2026-01-00T00:00:00.000", "2026-01-01T24:00:00.000"),
                *("2026-01-01T00:60:00.000", "2026-01-01T00:00:60.000", "0000-01-01T00:00:00.000"),
                *("-001-01-01T00:00:00.000", "10000-01-01T00:00:00.000", "2026-1-01T00:00:00.0000"),
                *("2026-01-01 00:00:00.000", "2026-01-01t00:00:00.000", "2026-01-01T00:00:00,000"),
                *("2026-01-01T00:00:00", "2026-01-01T00:00:00.00", "2026-01-01T00:00:00.0000"),
                *("2026-01-01T00:00:00.000000", "2026-01-01T00:00", "2026-01-01", "２０２６-01-01T00:00:00.000"),
                *(" 2026-01-01T00:00:00.000", "2026-01-01T00:00:00.000 ", "20260101T000000.000"),
            )
        ),
        *(
            f"'2026-01-01T00:00:00.000{zone}'"
            for zone in ("", "Z", "z", "+00", "+0000", "-00:00", "+01:00", "+00:01", "+00:00 ", " +00:00", "+00:00:00")
        ),
        "'2026-01-01 00:00:00.000000'",
        f"'2026-01-01T00:00:00.000+00:00' {NUL}",
        f"'2026-01-01T00:00:00.000+00:0' {NUL}",
        "CAST('2026-01-01T00:00:00.000+00:00' AS BLOB)",
        "'now'",
        "'abc'",
        "''",
        "1767225600000",
        "2460000.5",
    ],
    "postgresql": [
        "'2026-02-30 00:00:00.000000'",
        "'2025-02-29 00:00:00.000000'",
        "'2026-13-01 00:00:00.000000'",
        "'2026-01-01 25:00:00.000000'",
        "'2026-01-01 00:60:00.000000'",
        "'2026-01-01 00:00:00.000000 x'",
        "'2026-01-01 00:00:00.000000 BC'",
        "'10000-01-01 00:00:00.000000'",
        "'infinity'",
        "'-infinity'",
        "'abc'",
        "''",
        "1767225600000",
    ],
}


LATE = "'9999-12-31T00:00:00.000+00:00'"


@pytest.mark.parametrize(
    ("dialect", "time"), [pytest.param(d, t, id=f"{d}-{t!a}") for d, times in NO_TIMES.items() for t in times]
)
def test_no_column_takes_a_time_that_is_no_time(session: Any, time: str) -> None:
    before = raw.content(session)
    for table, column in TIMES:
        # Whatever the time, it must not be the order of the two review times that refuses it.
        free = {"next_review_at": {"last_reviewed_at": "NULL"}, "last_reviewed_at": {"next_review_at": LATE}}
        with pytest.raises(REFUSED):
            session.execute(insert(table, **{column: time} | free.get(column, {})))
    assert raw.content(session) == before


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE users SET email = upper(email)",
        "UPDATE users SET email = 'ann@example.test'",
        "UPDATE users SET role = 'ROOT'",
        "UPDATE users SET id = id + 1000",
        "UPDATE user_settings SET language = 'x'",
        "UPDATE bookmarks SET user_id = -1",
        "UPDATE attempts SET score = score + 50",
        "UPDATE attempts SET answers = '{'",
        "UPDATE progress_by_tag SET correct_count = -1",
        "UPDATE spaced_repetition_items SET ease_factor = 1",
        "UPDATE spaced_repetition_items SET next_review_at = '1999-01-01T00:00:00.000+00:00'",
        "UPDATE dataset_overrides SET json_text = 'x'",
        "UPDATE dataset_overrides SET json_text = 'x', is_active = '1'",
    ],
)
def test_an_update_meets_the_same_rules(session: Any, sql: str) -> None:
    before = raw.content(session)
    with pytest.raises(REFUSED):
        session.execute(sql)
    assert raw.content(session) == before


# -- accepted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("users", {"email": "'!#$%&*+/=?^_`{|}~.-@x'"}),
        ("users", {"role": "'ADMIN'"}),
        ("user_settings", {"language": "'abcde'"}),
        ("user_settings", {"language": "'EN'"}),
        ("bookmarks", {"entity_type": "'anything'"}),
        ("bookmarks", {"user_id": ANN}),
        ("attempts", {"entity_type": "'case'"}),
        ("attempts", {"entity_type": "'calc'"}),
        ("attempts", {"score": "0"}),
        ("attempts", {"score": "0.5"}),
        ("attempts", {"score": "100"}),
        ("attempts", {"feedback": "NULL"}),
        ("attempts", {"answers": "'null'"}),
        ("attempts", {"answers": "'[1, 2.5, \"é\", null]'"}),
        ("progress_by_tag", {"user_id": ANN, "tag": "'Arrhythmias'"}),
        ("progress_by_tag", {"correct_count": "0", "wrong_count": "2147483647"}),
        ("spaced_repetition_items", {"ease_factor": "1.3"}),
        ("spaced_repetition_items", {"interval_days": "1"}),
        ("spaced_repetition_items", {"next_review_at": TIME, "last_reviewed_at": TIME}),
        ("spaced_repetition_items", {"last_reviewed_at": "NULL"}),
        ("dataset_overrides", {"name": "'New Override'"}),
        ("dataset_overrides", {"json_text": "'[]'"}),
        ("dataset_overrides", {"is_active": "'0'"}),
        *(
            ("dataset_overrides", {"is_active": "'0'", "json_text": text})
            for text in ("''", "'{'", "'not yet, α'", """'{"a": 1,}'""", "'\ufeff{}'")
        ),
    ],
)
def test_a_value_at_the_border_of_its_rule_is_accepted(session: Any, table: str, changes: dict[str, str]) -> None:
    count = len(raw.rows(session, table))
    session.execute(insert(table, **changes))
    assert len(raw.rows(session, table)) == count + 1


@pytest.mark.parametrize(
    "time",
    [
        "'0001-01-01T00:00:00.000+00:00'",
        "'1900-02-28T23:59:59.999+00:00'",
        "'1969-12-31T23:59:59.999+00:00'",
        "'2000-02-29T00:00:00.000+00:00'",
        "'2028-02-29T12:00:00.001+00:00'",
        "'2038-01-19T03:14:08.000+00:00'",
        "'9999-12-31T23:59:59.999+00:00'",
    ],
)
def test_every_column_takes_every_real_time(session: Any, time: str) -> None:
    for table, column in TIMES:
        free = {"next_review_at": {"last_reviewed_at": "NULL"}, "last_reviewed_at": {"next_review_at": time}}
        unique = {"users": {"email": f"'{column}@example.test'"}, "dataset_overrides": {"name": f"'{column}'"}}
        session.execute(insert(table, **{column: time} | free.get(column, {}) | unique.get(table, {})))
        session.execute(f"DELETE FROM {table} WHERE {column} = {time} AND {OWNERS.get(table, 'id')} <> {ANN}")


def test_a_row_takes_its_defaults(session: Any, dialect: str) -> None:
    defaults: dict[str, dict[str, Any]] = {
        "users": {"role": "USER"},
        "user_settings": {"language": "en"},
        "bookmarks": {},
        "attempts": {"feedback": None},
        "progress_by_tag": {"correct_count": 0, "wrong_count": 0},
        "spaced_repetition_items": {"last_reviewed_at": None},
        "dataset_overrides": {"description": "", "is_active": False},
    }
    started = datetime.now(UTC)
    for table, expected in defaults.items():
        times = [c for t, c in TIMES if t == table and c not in ("next_review_at", "last_reviewed_at")]
        row = {column: value for column, value in ROWS[table].items() if column not in {*expected, *times}}
        columns = [*expected, *times]
        found = session.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(row.values())}) "
            f"RETURNING {', '.join([*columns, 'id'])}"
        ).fetchone()
        assert dict(zip(expected, found, strict=False)) == expected, table
        for value in found[len(expected) : -1]:
            if dialect == "sqlite":
                assert FORM.fullmatch(value), table
                value = datetime.fromisoformat(value)
            assert abs(value - started) < timedelta(minutes=5), table


def test_ids_and_owners_have_64_bits(session: Any) -> None:
    largest = str(2**63 - 1)
    # Not to be kept: after the last id of all there is none.
    with raw.transaction(session, keep=False):
        session.execute(insert("users", id=largest))
        for table, owner in OWNERS.items():
            session.execute(insert(table, **{"id": largest, owner: largest}))
        assert session.execute(f"DELETE FROM users WHERE id = {largest}").rowcount == 1


def test_the_id_of_a_deleted_row_is_never_given_again(session: Any) -> None:
    for table in TABLES:
        (last,) = session.execute(f"{insert(table)} RETURNING id").fetchone()
        session.execute(f"DELETE FROM {table} WHERE id = {last}")
        (new,) = session.execute(f"{insert(table)} RETURNING id").fetchone()
        assert new > last, table


def test_deleting_a_user_deletes_all_that_is_theirs(session: Any) -> None:
    for table in OWNERS:
        session.execute(insert(table))
    before = raw.content(session)
    assert all(before.values())
    session.execute(f"DELETE FROM users WHERE id = {ANN}")
    for table, owner in OWNERS.items():
        (ben,) = session.execute(raw.BEN.strip("()")).fetchone()
        owners = session.execute(f"SELECT {owner} FROM {table}").fetchall()
        assert owners == [(ben,)], table


# -- the schema -------------------------------------------------------------------------------------


def test_every_constraint_and_index_is_named_by_the_convention(migrated: str) -> None:
    with pharmdb.reading(pharmdb.target(migrated)) as connection:
        inspector = sa.inspect(connection)
        for table in TABLES:
            assert inspector.get_pk_constraint(table)["name"] == f"pk_{table}"
            for key in inspector.get_foreign_keys(table):
                assert key["name"] == f"fk_{table}_{key['constrained_columns'][0]}_users"
                assert key["referred_table"] == "users"
                assert key["options"].get("ondelete") == "CASCADE"
                assert "onupdate" not in key["options"]
            for unique in inspector.get_unique_constraints(table):
                assert unique["name"] == f"uq_{table}_{'_'.join(unique['column_names'])}"
            for index in inspector.get_indexes(table):
                prefix = "uq" if index.get("duplicates_constraint") else "ix"
                assert index["name"] == f"{prefix}_{table}_{'_'.join(map(str, index['column_names']))}"
            checks = inspector.get_check_constraints(table)
            assert checks, f"{table} has no check"
            assert all(str(check["name"]).startswith(f"ck_{table}_") for check in checks), checks


def test_no_trigger_view_or_enum_type_is_left_in_the_schema(session: Any, dialect: str) -> None:
    if dialect == "sqlite":
        kinds = {row[0] for row in raw.schema(session)}
        assert kinds == {"table", "index"}
    else:
        found = {row[:3:2] for row in raw.schema(session) if row[0] in ("type", "function")}
        # A table brings a row type, c, and its array type, b.
        assert found <= {("type", "c"), ("type", "b")}
        assert {row[2] for row in raw.schema(session) if row[0] == "relation"} == {"r", "i", "S"}


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_ids_come_from_bigint_sequences_and_not_from_identity_columns(session: Any) -> None:
    columns = session.execute(
        "SELECT table_name, data_type, is_identity, column_default FROM information_schema.columns "
        "WHERE table_schema = 'public' AND column_name = 'id' AND table_name <> 'pharmdb_environment'"
    ).fetchall()
    assert sorted(columns) == sorted(
        (table, "bigint", "NO", f"nextval('{table}_id_seq'::regclass)") for table in TABLES
    )
    assert session.execute(
        "SELECT DISTINCT data_type FROM information_schema.sequences "
        "WHERE sequence_schema = 'public' AND sequence_name <> 'pharmdb_environment_id_seq'"
    ).fetchall() == [("bigint",)]


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_every_table_of_sqlite_is_strict(session: Any) -> None:
    strict = dict(session.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall())
    assert {table: strict[table] for table in TABLES} == dict.fromkeys(TABLES, 1)


def test_every_table_says_how_it_is_distributed() -> None:
    assert {table.name: table.info.get("placement") for table in Base.metadata.sorted_tables} == {
        "users": "reference",
        "dataset_overrides": "reference",
        "user_settings": "user_id",
        "bookmarks": "user_id",
        "attempts": "user_id",
        "progress_by_tag": "user_id",
        "spaced_repetition_items": "user_id",
    }


def test_every_unique_constraint_of_a_distributed_table_contains_user_id(migrated: str) -> None:
    with pharmdb.reading(pharmdb.target(migrated)) as connection:
        inspector = sa.inspect(connection)
        for table in Base.metadata.sorted_tables:
            if table.info["placement"] == "user_id":
                for unique in inspector.get_unique_constraints(table.name):
                    assert "user_id" in unique["column_names"], unique["name"]
                assert not any(
                    i["unique"] for i in inspector.get_indexes(table.name) if "duplicates_constraint" not in i
                )


# -- times ------------------------------------------------------------------------------------------

ZONED = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23)).map(timezone),
)


def as_stored(time: datetime) -> str:
    return str(UTCDateTime().process_bind_param(time, sqlite.dialect()))


@given(ZONED, ZONED)
def test_text_order_is_time_order_on_sqlite(one: datetime, other: datetime) -> None:
    assert (as_stored(one) < as_stored(other)) == (milliseconds(one) < milliseconds(other))
    assert (as_stored(one) == as_stored(other)) == (milliseconds(one) == milliseconds(other))
    assert as_stored(one) <= as_stored(other) or one > other


@given(time=ZONED)
def test_sqlite_takes_every_time_that_python_stores(sessions: dict[str, Any], time: datetime) -> None:
    stored = as_stored(time)
    assert FORM.fullmatch(stored)
    session = sessions["sqlite"]
    with raw.transaction(session, keep=False):
        session.execute(insert("users", created_at=f"'{stored}'"))


@pytest.mark.parametrize(
    "time",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(1969, 7, 20, 20, 17, 40, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 8, 1000, tzinfo=UTC),
        datetime(2026, 1, 1, 3, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(2026, 12, 31, 22, 0, tzinfo=timezone(timedelta(hours=-11))),
    ],
    ids=str,
)
def test_a_time_in_any_zone_comes_back_as_the_same_moment_in_utc(engine_session: sa.Connection, time: datetime) -> None:
    engine_session.execute(update(User).values(created_at=time))
    found = engine_session.scalars(select(User.created_at)).one()
    assert found == time
    assert found.tzinfo is UTC
    assert engine_session.scalar(select(User.id).where(User.created_at == time)) == 1


HALVES = [
    (datetime(2026, 1, 1, 0, 0, 0, 499, tzinfo=UTC), "2026-01-01T00:00:00.000"),
    (datetime(2026, 1, 1, 0, 0, 0, 500, tzinfo=UTC), "2026-01-01T00:00:00.001"),
    (datetime(2000, 1, 1, 0, 0, 0, 500, tzinfo=UTC), "2000-01-01T00:00:00.001"),
    (datetime(1999, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC), "1999-12-31T23:59:59.999"),
    (datetime(1999, 12, 31, 23, 59, 59, 999_501, tzinfo=UTC), "2000-01-01T00:00:00.000"),
    (datetime(1, 1, 1, 0, 0, 0, 500, tzinfo=UTC), "0001-01-01T00:00:00.000"),
    (datetime(2026, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC), "2027-01-01T00:00:00.000"),
    (datetime(9999, 12, 31, 23, 59, 59, 999_499, tzinfo=UTC), "9999-12-31T23:59:59.999"),
    (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "9999-12-31T23:59:59.999"),
]


@pytest.mark.parametrize(("time", "expected"), HALVES)
def test_a_time_is_rounded_to_the_nearest_millisecond(
    engine_session: sa.Connection, time: datetime, expected: str
) -> None:
    engine_session.execute(update(User).values(created_at=time))
    assert engine_session.scalars(select(User.created_at)).one() == datetime.fromisoformat(f"{expected}+00:00")
    # The same time finds it again.
    assert engine_session.scalar(select(User.id).where(User.created_at == time)) == 1


# So near to a half that the direction is what counts; and any time at all.
NEAR_HALVES = st.builds(
    lambda time, micro: time.replace(microsecond=time.microsecond // 1000 * 1000 + micro),
    ZONED,
    st.integers(498, 502),
)


@given(time=ZONED | NEAR_HALVES)
def test_postgresql_rounds_as_python_does(sessions: dict[str, Any], time: datetime) -> None:
    # What another program sends is rounded by the server.
    (found,) = sessions["postgresql"].execute("SELECT CAST(%s AS timestamptz(3))", [time]).fetchone()
    assert found == milliseconds(time)


@given(time=ZONED | NEAR_HALVES)
def test_any_time_comes_back_as_the_same_millisecond(sessions: dict[str, Any], time: datetime) -> None:
    expected = milliseconds(time)
    assert abs(expected - time) <= timedelta(microseconds=500)
    assert expected.microsecond % 1000 == 0
    for name, dialect in (("sqlite", sqlite.dialect()), ("postgresql", postgresql.dialect())):  # type: ignore[no-untyped-call]
        session, bound = sessions[name], UTCDateTime().process_bind_param(time, dialect)
        mark = "?" if name == "sqlite" else "%s"
        with raw.transaction(session, keep=False):
            row = f"INSERT INTO users (email, password_hash, created_at) VALUES ('t@x', 'x', {mark})"
            (stored,) = session.execute(f"{row} RETURNING created_at", [bound]).fetchone()
        assert UTCDateTime().process_result_value(stored, dialect) == expected


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_sqlite_stores_a_time_of_another_zone_in_the_one_form(engine_session: sa.Connection) -> None:
    engine_session.execute(update(User).values(created_at=datetime(2026, 1, 1, 3, tzinfo=timezone(timedelta(hours=5)))))
    stored = engine_session.exec_driver_sql("SELECT created_at FROM users").scalar_one()
    assert stored == "2025-12-31T22:00:00.000+00:00"


def test_a_naive_time_is_refused(engine_session: sa.Connection) -> None:
    with pytest.raises(exc.StatementError, match="a time needs a zone"):
        engine_session.execute(update(User).values(created_at=datetime(2026, 1, 1)))  # noqa: DTZ001


@pytest.mark.parametrize("model", [UserSettings, DatasetOverride])
def test_updated_at_changes_with_an_update(engine_session: sa.Connection, model: Any) -> None:
    old = datetime(2000, 1, 1, tzinfo=UTC)
    own = {"user_id": 1} if model is UserSettings else {"created_by_id": 1, "name": "x", "json_text": "{}"}
    change = {"language": "de"} if model is UserSettings else {"is_active": True}
    engine_session.execute(core_insert(model).values(**own, created_at=old, updated_at=old))
    engine_session.execute(update(model).values(**change))
    created, updated = engine_session.execute(select(model.created_at, model.updated_at)).one()
    assert created == old
    assert abs(updated - datetime.now(UTC)) < timedelta(minutes=5)


# -- JSON -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"a": {"b": [1, {"c": None}]}, "é": "β 💊", 'q"': "it's"}, "object"),
        ({}, "object"),
        ([1, 2.5, True, None, "x"], "array"),
        ("text", ("text", "string")),
        ("{}", ("text", "string")),
        (7, ("integer", "number")),
        (True, ("true", "boolean")),
    ],
    ids=str,
)
def test_a_document_comes_back_as_it_was_and_is_json_but_once(
    engine_session: sa.Connection, dialect: str, document: Any, kind: str | tuple[str, str]
) -> None:
    row = {"user_id": 1, "entity_type": "case", "entity_id": "c1", "score": 50}
    engine_session.execute(core_insert(Attempt).values(**row, answers=document, feedback=document))
    assert engine_session.execute(select(Attempt.answers, Attempt.feedback)).one() == (document, document)
    function = "json_type" if dialect == "sqlite" else "jsonb_typeof"
    found = engine_session.exec_driver_sql(f"SELECT {function}(answers), {function}(feedback) FROM attempts").one()
    expected = kind if isinstance(kind, str) else kind[DIALECTS.index(dialect)]
    assert tuple(found) == (expected, expected)


def test_no_feedback_is_null_in_the_database_and_not_json_null(engine_session: sa.Connection) -> None:
    row = {"user_id": 1, "entity_type": "case", "entity_id": "c1", "score": 50, "answers": {}}
    engine_session.execute(core_insert(Attempt).values(**row, feedback=None))
    assert engine_session.exec_driver_sql("SELECT count(*) FROM attempts WHERE feedback IS NULL").scalar_one() == 1
    assert engine_session.scalars(select(Attempt.feedback)).one() is None


def test_a_document_that_json_does_not_know_is_refused(engine_session: sa.Connection) -> None:
    row = {"user_id": 1, "entity_type": "case", "entity_id": "c1", "score": 50, "answers": {"x": float("nan")}}
    with pytest.raises(exc.DBAPIError):
        engine_session.execute(core_insert(Attempt).values(**row))
