"""Keys and indexes that a load drops and makes again: the same as before, to the last of what the catalogue knows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event
from support import raw
from support.databases import Databases
from support.postgres import Server

import pharmdb
from pharmdb.database import indexes, targets, transactions
from pharmdb.errors import PharmdbError
from pharmdb.schema import drift

KEYS = ("fk_attempts_user_id_users", "ix_attempts_user_id_created_at", "ix_attempts_user_id_entity_type_entity_id")
LOADED = (*KEYS, "pk_attempts")


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "_MANY", 10)


@pytest.fixture
def url(databases: Databases) -> str:
    return databases.migrated("postgresql")


def dump(server: Server, url: str) -> str:
    """The schema as pg_dump writes it."""
    options = ["--schema-only", "--restrict-key=x", f"--dbname={raw.libpq(url)}"]
    return subprocess.run(
        [str(server.binaries / "pg_dump"), *options], check=True, capture_output=True, text=True
    ).stdout


@contextmanager
def loading(url: str, table: str = "attempts", rows: int = 10, *, exclusive: bool = True) -> Iterator[Connection]:
    with (
        transactions.changing_schema(targets.target(url)) as connection,
        indexes.rebuilt(connection, table, rows, exclusive=exclusive),
    ):
        yield connection


def there(connection: Connection, table: str = "attempts") -> set[str]:
    """The table's constraints that are not checks, and its indexes."""
    found = connection.exec_driver_sql(
        "SELECT conname FROM pg_constraint WHERE conrelid = %(table)s::regclass AND contype NOT IN ('c', 'n') "
        "UNION SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %(table)s::regclass",
        {"table": table},
    )
    return set(found.scalars())


def test_keys_and_indexes_are_gone_meanwhile_and_the_same_afterwards(url: str, server: Server) -> None:
    raw.run(
        url,
        'CREATE INDEX "Own % index" ON attempts (score DESC NULLS LAST) INCLUDE (id) WITH (fillfactor = 50) '
        "WHERE entity_id LIKE 'a%'",
        'ALTER TABLE attempts ADD CONSTRAINT "Own % key" UNIQUE NULLS NOT DISTINCT (user_id, created_at, feedback)',
        "CREATE UNIQUE INDEX own_unique ON attempts (lower(entity_id), created_at)",
    )
    before, everything = dump(server, url), raw.everything(url)
    with loading(url) as connection:
        assert there(connection) == set()
    assert dump(server, url) == before
    assert raw.everything(url) == everything


@pytest.mark.parametrize("table", raw.TABLES)
def test_each_table_is_as_it_was(url: str, server: Server, table: str) -> None:
    before = dump(server, url)
    with loading(url, table) as connection:
        left = there(connection, table)
        # The keys of the other tables need it.
        assert left == ({"pk_users"} if table == "users" else set())
    assert dump(server, url) == before
    with pharmdb.reading(pharmdb.target(url)) as connection:
        assert drift.differences(connection) == []


SPECIAL = {
    "comment on an index": ("COMMENT ON INDEX ix_attempts_user_id_created_at IS 'ours'", KEYS[1]),
    "comment on a key": (f"COMMENT ON CONSTRAINT {KEYS[0]} ON attempts IS 'ours'", KEYS[0]),
    "clustered": ("ALTER TABLE attempts CLUSTER ON ix_attempts_user_id_created_at", KEYS[1]),
    "statistics": (
        "CREATE INDEX own ON attempts (lower(entity_id)); ALTER INDEX own ALTER COLUMN 1 SET STATISTICS 7",
        "own",
    ),
    "replica identity": (
        "CREATE UNIQUE INDEX own ON attempts (id, score); ALTER TABLE attempts REPLICA IDENTITY USING INDEX own",
        "own",
    ),
    "a view that needs it": (
        "CREATE VIEW own AS SELECT id, user_id, score, count(*) FROM attempts GROUP BY id, user_id",
        "pk_attempts",
    ),
    "a part of an extension": (
        "CREATE INDEX own ON attempts (score); ALTER INDEX own DEPENDS ON EXTENSION plpgsql",
        "own",
    ),
    "disabled triggers": ("ALTER TABLE attempts DISABLE TRIGGER ALL", KEYS[0]),
    "not yet valid": (
        f"ALTER TABLE attempts DROP CONSTRAINT {KEYS[0]}, ADD CONSTRAINT own "
        "FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE NOT VALID",
        "own",
    ),
    "deferrable": (f"ALTER TABLE attempts ALTER CONSTRAINT {KEYS[0]} DEFERRABLE INITIALLY DEFERRED", KEYS[0]),
    "storage of a key": ("ALTER INDEX pk_attempts SET (fillfactor = 70)", "pk_attempts"),
    "another tablespace": ("ALTER INDEX ix_attempts_user_id_created_at SET TABLESPACE own_place", KEYS[1]),
}


@pytest.fixture
def place(url: str) -> Iterator[str]:
    """A tablespace."""
    with raw.session(url) as session:
        session.execute("SET allow_in_place_tablespaces = on")
        session.execute("CREATE TABLESPACE own_place LOCATION ''")
    yield "own_place"
    raw.run(url, "ALTER TABLE ALL IN TABLESPACE own_place SET TABLESPACE pg_default")
    raw.run(url, "ALTER INDEX ALL IN TABLESPACE own_place SET TABLESPACE pg_default")
    raw.run(url, "DROP TABLESPACE own_place")


@pytest.mark.parametrize("special", SPECIAL)
def test_what_the_definition_does_not_tell_stays(
    url: str, server: Server, special: str, request: pytest.FixtureRequest
) -> None:
    statements, kept = SPECIAL[special]
    if "TABLESPACE" in statements:
        request.getfixturevalue("place")
    raw.run(url, statements)
    before = dump(server, url)
    with loading(url) as connection:
        assert there(connection) & {kept, *LOADED} == {kept}
    assert dump(server, url) == before


@pytest.mark.parametrize("options", [{"rows": 9}, {"exclusive": False}], ids=str)
def test_few_rows_and_readers_keep_all(url: str, options: dict[str, Any]) -> None:
    with loading(url, **options) as connection:
        assert there(connection) == set(LOADED)


def test_somebody_who_reads_keeps_all_and_nobody_waits(url: str) -> None:
    with raw.session(url) as reader, raw.transaction(reader):
        reader.execute("SELECT count(*) FROM attempts").fetchall()
        with loading(url) as connection:
            assert there(connection) == set(LOADED)


def test_a_role_that_does_not_own_the_table_keeps_all(url: str) -> None:
    role = f"loader_{targets.target(url).name}"
    raw.run(url, f"CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        with loading(url.replace("//postgres@", f"//{role}@")) as connection:
            assert there(connection) == set(LOADED)
    finally:
        raw.run(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_another_default_tablespace_changes_nothing(url: str, server: Server, place: str) -> None:
    name, before = targets.target(url).name, dump(server, url)
    raw.run(url, f"ALTER DATABASE {name} SET default_tablespace = {place}")
    with loading(url) as connection:
        assert connection.exec_driver_sql("SHOW default_tablespace").scalar_one() == ""
        assert there(connection) == set()
    assert dump(server, url) == before


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        ("(1, 77, 'question', 'q', '1', 1)", "FOREIGN KEY"),
        ("(1, 1, 'question', 'q', '1', 1), (1, 1, 'question', 'q', '1', 1)", "PRIMARY KEY"),
    ],
)
def test_a_row_that_breaks_a_dropped_rule_undoes_all(url: str, server: Server, rows: str, rule: str) -> None:
    raw.run(url, "INSERT INTO users (id, email, password_hash) VALUES (1, 'a@b.test', '!')")
    before, everything = dump(server, url), raw.everything(url)
    with pytest.raises(PharmdbError, match="everything was rolled back") as error, loading(url) as connection:
        connection.exec_driver_sql(
            f"INSERT INTO attempts (id, user_id, entity_type, entity_id, answers, score) VALUES {rows}"
        )
    assert rule in error.value.expected
    assert dump(server, url) == before
    assert raw.everything(url) == everything


def test_indexes_are_made_in_their_old_order_and_foreign_keys_last(url: str) -> None:
    """The planner prefers the older one of two equal indexes."""
    with loading(url) as connection:
        made: list[str] = []
        event.listen(connection, "before_cursor_execute", lambda *arguments: made.append(arguments[2]))
    order = [next(name for name in LOADED if f" {name} " in statement) for statement in made if "attempts" in statement]
    assert order == ["pk_attempts", KEYS[2], KEYS[1], KEYS[0]]
