"""PostgreSQL behind a pooler in transaction mode, which keeps nothing of a session between two transactions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from support import poolers, raw
from support.backups import backed_up
from support.databases import Databases, name_of
from support.postgres import SUPERUSER, Server

import pharmdb
from pharmdb.database import postgresql_engines, targets, transactions
from pharmdb.errors import BackupError, PharmdbError
from pharmdb.learning import attempts, queries

INSTALLED = pytest.mark.skipif(poolers.PGBOUNCER is None, reason="PgBouncer is not installed")


@pytest.fixture(scope="module", params=["forgetful", pytest.param("pgbouncer", marks=INSTALLED)])
def pooler(request: pytest.FixtureRequest, server: Server) -> Iterator[Path]:
    with getattr(poolers, request.param)(server) as folder:
        yield folder


@pytest.fixture
def pooled(databases: Databases, pooler: Path) -> Iterator[str]:
    """The pooler's URL of a known-good database."""
    with databases.dropped(databases.seeded("postgresql")) as direct:
        yield through(pooler, direct)


def through(pooler: Path, direct: str) -> str:
    return f"postgresql+psycopg://{SUPERUSER}@/{name_of(direct)}?host={pooler}"


def test_commands_from_the_first_to_the_last(databases: Databases, pooler: Path) -> None:
    with databases.dropped(databases.empty("postgresql")) as direct:
        url = through(pooler, direct)
        pharmdb.migrate(url)
        pharmdb.seed(url)
        assert pharmdb.migrate(url, revision="-1", backup=False).steps
        pharmdb.migrate(url)
        pharmdb.reset(url, backup=False)
        findings = pharmdb.check(url).findings
        assert [finding for finding in findings if finding.state == "fail"] == []
        assert "pooler" in findings[0].found
        assert len(pharmdb.inspect(url).user) == 1


def test_statements_that_are_repeated_are_not_prepared(pooled: str) -> None:
    with transactions.keeping(targets.target(pooled)) as transaction:
        for n in range(8):
            with transaction() as connection:
                attempts.record_attempt(connection, 1, "question", f"q{n}", answers={}, score=50)
                assert len(queries.attempt_history.rows(connection, user_id=1)) == n + 1
                assert connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one() == 0


def test_statements_of_their_own_have_the_settings_too(pooled: str) -> None:
    with transactions.keeping(targets.target(pooled), autocommit=True) as transaction:
        for _ in range(2):
            with transaction() as connection:
                assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "7s"


@pytest.fixture(autouse=True)
def _timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "7")


OPTIONS = "&options=" + quote(
    r'-csearch_path="A\ ",public -c work_mem=3MB --enable-sort=off -ctimezone=Asia/Tokyo -c client_encoding=LATIN1'
)


def test_each_transaction_has_its_settings_and_leaves_none_behind(pooled: str) -> None:
    names = (
        "lock_timeout",
        "statement_timeout",
        "timezone",
        "extra_float_digits",
        "client_encoding",
        "search_path",
        "work_mem",
        "enable_sort",
    )
    wanted = ("7s", "30min", "UTC", "1", "UTF8", '"A ", public', "3MB", "off")
    target = targets.target(pooled + OPTIONS)
    for transaction in (transactions.reading, transactions.writing):
        with transaction(target) as connection:
            assert tuple(connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names) == wanted
            assert connection.exec_driver_sql("SELECT count(*) FROM users").scalar_one() == 2
    with psycopg.connect(raw.libpq(pooled)) as session:
        for name, value in zip(names[:-1], wanted, strict=False):
            assert session.execute(f"SHOW {name}").fetchone() != (value,) or name in postgresql_engines.ALWAYS


def test_a_transaction_without_the_tables_has_its_settings(databases: Databases, pooler: Path) -> None:
    with (
        databases.dropped(databases.empty("postgresql")) as direct,
        transactions.reading(targets.target(through(pooler, direct))) as connection,
    ):
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "7s"


def test_a_backup_is_refused_and_a_restore_leaves_no_setting(databases: Databases, pooler: Path) -> None:
    with databases.dropped(databases.seeded("postgresql")) as direct:
        taken = backed_up(direct)
        before = raw.everything(direct)
        for verb in (pharmdb.backup, pharmdb.reset, partial(pharmdb.restore, backup=taken.id)):
            with pytest.raises(BackupError):
                verb(through(pooler, direct))
        assert raw.everything(direct) == before
        raw.run(direct, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        url = through(pooler, direct)
        assert pharmdb.restore(url, backup=taken.id).backup == taken
        with psycopg.connect(raw.libpq(url)) as session:
            settings = ("search_path", "row_security", "check_function_bodies", "client_min_messages")
            found = [session.execute(f"SHOW {name}").fetchone() for name in settings]
            assert found == [('"$user", public',), ("on",), ("on",), ("notice",)]


def test_a_server_that_refuses_an_option_is_no_pooler(databases: Databases) -> None:
    with databases.dropped(databases.empty("postgresql")) as direct:
        with pytest.raises(PharmdbError), transactions.watching(targets.target(f"{direct}&options=-cnonsense%3D1")):
            pass
        with transactions.watching(targets.target(direct)) as connection:
            assert not postgresql_engines.is_pooled(connection)
