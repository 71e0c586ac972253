"""UTC for every session of a database: set where pharmdb may, told with the command where it may not."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from support import raw
from support.databases import Databases

import pharmdb
from pharmdb.doctor.results import OK, WARN, Finding


@pytest.fixture
def empty(databases: Databases) -> str:
    return databases.empty("postgresql")


def name(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(raw.libpq(url))["dbname"])


def zone(url: str, user: str = "postgres") -> str:
    """Of a session that knows nothing of pharmdb."""
    with psycopg.connect(raw.libpq(url), user=user) as connection:
        return str(connection.execute("SHOW timezone").fetchone()[0])  # type: ignore[index]


def told(url: str) -> Finding:
    (found,) = [f for f in pharmdb.check(url).findings if f.check == "time zone"]
    return found


def runs(url: str, remedy: str) -> None:
    """Carries out the remedy: what psql would be given."""
    words = shlex.split(remedy)
    assert words[0] == "psql"
    assert words[2] == "-c"
    raw.run(url, words[3])


MAKING: dict[str, Callable[[str], object]] = {
    "migrate": pharmdb.migrate,
    "reset": pharmdb.reset,
}


@pytest.mark.parametrize("verb", MAKING)
def test_a_database_that_pharmdb_makes_is_in_utc_for_everybody(empty: str, verb: str) -> None:
    raw.run(empty, f"ALTER DATABASE {name(empty)} SET timezone TO 'Asia/Tokyo'")
    assert zone(empty) == "Asia/Tokyo"
    MAKING[verb](empty)
    assert zone(empty) == "UTC"
    assert told(empty) == Finding("time zone", OK, "UTC for every session")
    # What the application's driver sends names no zone.
    with psycopg.connect(raw.libpq(empty)) as connection:
        connection.execute(
            "INSERT INTO users (email, password_hash, created_at) VALUES ('x@x.test', '!', '2026-01-01 12:00:00.123')"
        )
        found = connection.execute("SELECT created_at FROM users WHERE email = 'x@x.test'").fetchone()
    assert found == (datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC),)


def test_a_restored_database_is_in_utc_too(databases: Databases, empty: str) -> None:
    pharmdb.reset(empty)
    pharmdb.backup(empty)
    raw.run(empty, f"ALTER DATABASE {name(empty)} RESET timezone")
    assert told(empty).state == WARN
    pharmdb.restore(empty)
    assert told(empty).state == OK


def test_a_migration_that_fails_sets_nothing(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pharmdb.schema import revisions

    def fail(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(revisions, "record_step", fail)
    with pytest.raises(KeyboardInterrupt):
        pharmdb.migrate(empty)
    assert raw.ask(
        empty,
        "SELECT count(*) FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase "
        "WHERE datname = current_database()",
    ) == [(0,)]


@pytest.mark.parametrize("setting", ["SET timezone TO 'Asia/Tokyo'", "SET timezone TO DEFAULT", "RESET timezone"])
def test_another_setting_of_the_database_is_told_with_its_remedy(empty: str, setting: str) -> None:
    pharmdb.migrate(empty)
    raw.run(empty, f"ALTER DATABASE {name(empty)} {setting}")
    found = told(empty)
    assert found.state == WARN
    assert found.found == ("database: Asia/Tokyo" if "Tokyo" in setting else "database: not set")
    runs(empty, found.remedy)
    assert told(empty).state == OK
    assert zone(empty) == "UTC"


@pytest.mark.parametrize("same", ["utc", "Etc/UTC", "GMT", "Zulu"])
def test_another_name_of_utc_is_as_good(empty: str, same: str) -> None:
    pharmdb.migrate(empty)
    raw.run(empty, f"ALTER DATABASE {name(empty)} SET timezone TO '{same}'")
    assert told(empty).state == OK
    pharmdb.migrate(empty)
    assert zone(empty).lower() == same.lower()


@pytest.fixture
def role(empty: str) -> Iterator[str]:
    raw.run(empty, 'DROP ROLE IF EXISTS "The App"', 'CREATE ROLE "The App" LOGIN')
    yield "The App"
    raw.run(empty, 'DROP OWNED BY "The App"', 'DROP ROLE "The App"')


@pytest.mark.parametrize("where", ["", " IN DATABASE {}"])
def test_a_role_with_another_zone_is_told_with_its_remedy(empty: str, role: str, where: str) -> None:
    pharmdb.migrate(empty)
    raw.run(empty, f"ALTER ROLE \"{role}\"{where.format(name(empty))} SET timezone TO 'America/New_York'")
    assert zone(empty, role) == "America/New_York"
    found = told(empty)
    assert (found.state, found.found) == (WARN, 'role "The App": America/New_York')
    runs(empty, found.remedy)
    assert told(empty).state == OK
    assert zone(empty, role) == "UTC"


def test_who_may_not_set_it_migrates_all_the_same_and_is_told(empty: str, role: str) -> None:
    raw.run(empty, f'GRANT ALL ON SCHEMA public TO "{role}"')
    url = empty.replace("postgres@", "The%20App@", 1)
    pharmdb.migrate(url)
    found = told(url)
    assert (found.state, found.found) == (WARN, "database: not set")
    assert f"ALTER DATABASE {name(empty)} SET timezone TO" in found.remedy


def test_the_owner_of_a_database_may_set_it(empty: str, role: str) -> None:
    raw.run(empty, f'ALTER DATABASE {name(empty)} OWNER TO "{role}"', f'GRANT ALL ON SCHEMA public TO "{role}"')
    url = empty.replace("postgres@", "The%20App@", 1)
    try:
        pharmdb.migrate(url)
        assert told(url).state == OK
    finally:
        raw.run(empty, f"ALTER DATABASE {name(empty)} OWNER TO postgres")


def test_a_file_is_always_in_utc(databases: Databases) -> None:
    assert told(databases.migrated("sqlite")).state == OK
