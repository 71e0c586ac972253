"""What PostgreSQL can't store although no constraint forbids it: told by line, by row or by a typed error."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from sqlalchemy import Table
from support import legacy, raw
from support.backups import backed_up
from support.databases import Databases, dsn
from support.legacy import Cell
from support.postgres import Server

import pharmdb
from pharmdb.database import index_limits, storable, targets, transactions
from pharmdb.errors import SeedError, UnstorableError
from pharmdb.learning import attempts
from pharmdb.models import MODELS, ProgressByTag
from pharmdb.studio_app import editing, sessions
from pharmdb.studio_app.catalogue import catalogue
from pharmdb.studio_app.changes import Change
from pharmdb.studio_app.statement_log import StatementLog

MOST = index_limits.MOST_BYTES
# The same length, at random and repeated: PostgreSQL compresses the one only.
RANDOM = "".join(random.Random(4711).choices(string.ascii_letters + string.digits, k=4000))
LONG = [pytest.param(RANDOM[:3000], id="random"), pytest.param("ab" * 1500, id="repeated")]


@pytest.mark.parametrize("model", MODELS)
def test_the_longest_keys_can_be_stored(databases: Databases, model: Any) -> None:
    """Whatever the text is: incompressible ASCII, and characters of two to four bytes."""
    table = cast(Table, model.__table__)
    texts = sorted({c.name for key in (*table.indexes, *table.constraints) for c in getattr(key, "columns", ())})
    texts = [name for name in texts if table.columns[name].type.python_type is str and name != "entity_type"]
    if not texts:
        return
    with databases.dropped(databases.migrated("postgresql")) as url, raw.session(url) as session:
        raw.fill(session)
        # entity_type has a word of its own in some tables.
        size = (MOST - 8) // len(texts)
        for letters in (RANDOM, "é€𝒳ж"):
            value = (letters * MOST).encode()[:size].decode(errors="ignore").lower()
            changes = dict.fromkeys(texts, f"'{value}'")
            if model is MODELS[0]:
                changes = {"email": f"'{RANDOM[: MOST - 2].lower()}@x'"}
            raw.put(session, table.name, **changes)
            if model is MODELS[0]:
                break


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("aé€𝒳"), st.integers(0, 1500)), min_size=3, max_size=3))
def test_a_key_is_measured_in_bytes(parts: list[tuple[str, int]]) -> None:
    values = [letter * times for letter, times in parts]
    size = sum(len(value.encode()) for value in values)
    row = {"module": values[0], "course_block": values[1], "tag": values[2]}
    table = cast(Table, ProgressByTag.__table__)
    fault = storable.Limits(keys=True).checker(table)([row.get(column.name, 1) for column in table.columns])
    assert (fault is None) == (size <= MOST)
    assert storable.Limits().checker(table)([row.get(column.name, 1) for column in table.columns]) is None


@pytest.mark.parametrize("value", LONG)
def test_a_long_key_is_rejected_by_the_upgrade_and_by_its_dry_run(
    databases: Databases, dialect: str, tmp_path: Path, value: str
) -> None:
    part = value[:1000]
    rows = [
        *legacy.clean("sqlite"),
        legacy.row("bookmarks", 901, entity_id=value),
        legacy.row("attempts", 902, entity_id=value),
        legacy.row("progress_by_tag", 903, module=part, course_block=part, tag=part),
        legacy.row("spaced_repetition_items", 904, entity_id=value),
        legacy.row("dataset_overrides", 905, name=value),
        legacy.row("users", 906, email=f"{value.lower()}@example.test"),
    ]
    source = legacy.make(f"sqlite:///{tmp_path / 'old.db'}", 4, rows)
    with databases.dropped(databases.empty(dialect)) as url:
        reports = [pharmdb.upgrade(source, url, dry_run=dry, backup=False) for dry in (True, False)]
    wanted = set(range(901, 907)) if dialect == "postgresql" else set()
    for report in reports:
        assert {id_ for _, id_, _, _ in report.account.rejects} == wanted
        assert all(str(MOST) in reason for _, _, reason, _ in report.account.rejects)


@pytest.mark.parametrize("value", LONG)
def test_a_long_key_in_a_seed_file_is_a_fault_of_its_line(migrated: str, tmp_path: Path, value: str) -> None:
    (tmp_path / "users.csv").write_text(
        f"email,password,role,language\na@x.test,Long enough 1,USER,en\n{value.lower()}@x,Long enough 1,USER,en\n"
    )
    part = value[:900]
    (tmp_path / "progress.csv").write_text(
        "user_email,module,course_block,tag,correct_count,wrong_count\n"
        f"a@x.test,m,b,t,1,1\na@x.test,{part},{part},{part},1,1\n"
    )
    with pytest.raises(SeedError) as error:
        pharmdb.seed(migrated, seed_dir=str(tmp_path))
    assert [problem[:3] for problem in error.value.problems] == [("progress.csv", 3, "tag"), ("users.csv", 3, "email")]


def test_a_long_key_elsewhere_is_a_typed_error(databases: Databases, tmp_path: Path) -> None:
    with databases.dropped(databases.seeded("postgresql")) as url:
        target = targets.target(url)
        with pytest.raises(UnstorableError) as error, transactions.writing(target) as connection:
            attempts.record_attempt(connection, 1, "question", RANDOM, answers={}, score=1)
        allowed = "at most 2,600 bytes of text in entity_type and entity_id together: an index holds no more"
        assert error.value.expected == allowed
        assert "ix_attempts_user_id_entity_type_entity_id" in error.value.found
        assert error.value.unchanged == "what was under way was rolled back"
        assert error.value.note == "shorten entity_type or entity_id, then run the same command again"
        change = Change(1, "insert", "bookmarks", values={"user_id": "1", "entity_type": "x", "entity_id": RANDOM})
        with sessions.reading(target, StatementLog()) as session:
            tables = catalogue(session)
        saved = editing.save(target, tables, [change], StatementLog(), log=tmp_path / "log")
        (problem,) = saved.problems
        assert (problem.kind, problem.column) == ("violation", "entity_id")
        assert problem.sentence == f"too long for PostgreSQL: {allowed}"
        assert raw.ask(url, "SELECT count(*) FROM bookmarks") == [(0,)]


def test_a_long_key_in_an_index_of_another_program_is_a_typed_error(databases: Databases) -> None:
    with databases.dropped(databases.seeded("postgresql")) as url:
        raw.run(url, "CREATE INDEX own ON users (password_hash)")
        with pytest.raises(UnstorableError) as error, transactions.writing(targets.target(url)) as connection:
            connection.exec_driver_sql(f"UPDATE users SET password_hash = '{RANDOM}'")
        assert "can store" in error.value.expected
        assert 'index "own"' in error.value.found


# -- encodings --------------------------------------------------------------------------------------

CODECS = {
    "LATIN1": "iso8859-1",
    "LATIN9": "iso8859-15",
    "WIN1252": "cp1252",
    "WIN866": "cp866",
    "ISO_8859_5": "iso8859-5",
    "KOI8R": "koi8-r",
    "EUC_CN": "gb2312",
    "EUC_JP": "euc_jp",
    "MULE_INTERNAL": "ascii",
}


def test_each_encoding_of_a_server_has_its_codec() -> None:
    assert {name: storable.codec(name) for name in CODECS} == CODECS


LACKING = "β-blocker"
THERE = "Ärzte & café"


@pytest.fixture(params=["LATIN2", "SQL_ASCII"])
def encoded(request: pytest.FixtureRequest, server: Server, databases: Databases) -> Iterator[tuple[str, str]]:
    """The URL of an empty database, and its encoding; clients in another encoding are told nothing."""
    name = f"encoded_{request.param.lower()}"
    with psycopg.connect(dsn(server.uri()), autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' TEMPLATE template0")
        connection.execute(create.format(sql.Identifier(name), sql.Literal(request.param)))
    with databases.dropped(server.uri(name)) as url:
        yield url, request.param


def test_text_comes_back_in_any_encoding(encoded: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    url, _ = encoded
    # Most of these encodings can't even be converted to it.
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN9")
    pharmdb.reset(url, backup=False)
    with transactions.writing(targets.target(url)) as connection:
        attempts.record_attempt(connection, 1, "question", THERE, answers={}, score=1)
    with transactions.reading(targets.target(url)) as connection:
        assert connection.exec_driver_sql("SELECT entity_id FROM attempts").scalar_one() == THERE
    taken = backed_up(url)
    pharmdb.reset(url)
    pharmdb.restore(url, backup=taken.id)
    with transactions.reading(targets.target(url)) as connection:
        assert connection.exec_driver_sql("SELECT entity_id FROM attempts").scalar_one() == THERE
    assert [f for f in pharmdb.check(url).findings if f.state == "fail"] == []


def test_what_an_encoding_lacks_is_rejected_with_its_reason(encoded: tuple[str, str], tmp_path: Path) -> None:
    url, encoding = encoded
    rows = [
        legacy.row("users", 1),
        legacy.row("users", 2, email="hash@example.test", password_hash=LACKING),
        legacy.row("bookmarks", 901, user_id=1, entity_id=LACKING),
        legacy.row("bookmarks", 902, user_id=1, entity_id=THERE),
        legacy.row("bookmarks", 903, user_id=1, entity_id=LACKING, created_at="never"),
        legacy.row("attempts", 904, user_id=1, answers=Cell('{"a": "\\u03b2"}')),
        legacy.row("attempts", 905, user_id=1, answers=Cell(f'{{"a": "{LACKING}"}}')),
        legacy.row("attempts", 906, user_id=1, answers=Cell(f'{{"a": "{THERE}"}}')),
        legacy.row("attempts", 907, user_id=1, answers=Cell('{"a": "\\\\u03b2"}')),
    ]
    source = legacy.make(f"sqlite:///{tmp_path / 'old.db'}", 4, rows)
    dry, real = (pharmdb.upgrade(source, url, dry_run=each, backup=False) for each in (True, False))
    wanted = {903, 904} if encoding == "SQL_ASCII" else {2, 901, 903, 904, 905}
    assert {id_ for _, id_, _, _ in real.account.rejects} == wanted
    assert dry.account.rejects == real.account.rejects
    kept = raw.ask(url, 'SELECT source_id, "row" FROM upgrade_rejects')
    assert {id_ for id_, _ in kept} == wanted
    if encoding != "SQL_ASCII":
        assert {"hex": LACKING.encode().hex()} in dict(kept)[901].values()


def test_what_an_encoding_lacks_in_a_seed_file_is_a_fault_of_its_line(encoded: tuple[str, str], tmp_path: Path) -> None:
    url, encoding = encoded
    (tmp_path / "users.csv").write_text("email,password,role,language\na@x.test,Long enough β,USER,en\n")
    (tmp_path / "progress.csv").write_text(
        "user_email,module,course_block,tag,correct_count,wrong_count\n"
        f"a@x.test,m,b,{THERE},1,1\na@x.test,m,b,{LACKING},1,1\n"
    )
    pharmdb.migrate(url)
    if encoding == "SQL_ASCII":
        assert pharmdb.seed(url, seed_dir=str(tmp_path)).counts[-1][:2] == ("progress_by_tag", 2)
        return
    before = raw.everything(url)
    for verb in (pharmdb.seed, pharmdb.reset):
        with pytest.raises(SeedError) as error:
            verb(url, seed_dir=str(tmp_path))
        assert [problem[:4] for problem in error.value.problems] == [("progress.csv", 3, "tag", LACKING)]
        assert raw.everything(url) == before


def test_what_an_encoding_lacks_elsewhere_is_a_typed_error(encoded: tuple[str, str]) -> None:
    url, encoding = encoded
    pharmdb.reset(url, backup=False)
    target = targets.target(url)
    with pytest.raises(UnstorableError), transactions.writing(target) as connection:
        attempts.record_attempt(connection, 1, "question", "q", answers={"a": LACKING}, score=1)
    if encoding == "SQL_ASCII":
        raw.run(
            url,
            r"INSERT INTO bookmarks (user_id, entity_type, entity_id) "
            r"VALUES (1, 'x', E'\xff')",
        )
        with pytest.raises(UnstorableError), transactions.reading(target) as connection:
            connection.exec_driver_sql("SELECT entity_id FROM bookmarks").all()


def test_an_old_database_of_any_bytes_is_read(server: Server, databases: Databases) -> None:
    with psycopg.connect(dsn(server.uri()), autocommit=True) as connection:
        connection.execute("CREATE DATABASE old_bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    with databases.dropped(server.uri("old_bytes")) as source, databases.dropped(databases.empty("sqlite")) as url:
        legacy.make(source, 4, [legacy.row("users", 1), legacy.row("bookmarks", 1, user_id=1, entity_id=Cell("b"))])
        raw.run(
            source,
            """INSERT INTO "Bookmark" (id, "userId", "entityType", "entityId") """
            r"""VALUES (2, 1, 'x', E'\xff'), (3, 1, 'x', E'\xc3\xa9')""",
        )
        report = pharmdb.upgrade(source, url, backup=False)
        assert [entry[:2] for entry in report.account.rejects] == [("bookmarks", 2)]
        assert raw.ask(url, "SELECT entity_id FROM bookmarks WHERE id = 3") == [("é",)]


def test_the_doctor_names_an_encoding_that_lacks_characters(encoded: tuple[str, str]) -> None:
    url, encoding = encoded
    pharmdb.migrate(url)
    (finding,) = [f for f in pharmdb.check(url).findings if f.check == "encoding"]
    assert (finding.state, encoding in finding.found) == ("warn", True)
