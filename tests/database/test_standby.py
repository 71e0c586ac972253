"""A streaming standby: whatever reads works there as on its primary; what writes says why it can't."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from support import raw
from support.databases import Databases, name_of
from support.postgres import Server, Standby

import pharmdb
from pharmdb.database import targets
from pharmdb.doctor.results import FAIL, OK, WARN, Finding
from pharmdb.errors import ReadOnlyError, ReplayConflictError
from pharmdb.studio_app import browsing, sessions
from pharmdb.studio_app.catalogue import catalogue
from pharmdb.studio_app.filters import View
from pharmdb.studio_app.statement_log import StatementLog

LEARNER = "learner000001@cohort.invalid"


@pytest.fixture(scope="module")
def primary(databases: Databases) -> Iterator[str]:
    with databases.dropped(databases.seeded("postgresql")) as url:
        pharmdb.cohort(url, learners=3, days=20)
        yield url


@pytest.fixture(scope="module")
def standby(primary: str, server: Server) -> Iterator[str]:
    made = Standby(server)
    url = made.uri(name_of(primary))
    caught_up(primary, url)
    yield url
    made.close()


def caught_up(primary: str, standby: str) -> None:
    """Until the standby has replayed what the primary has written so far."""
    (at,) = raw.ask(primary, "SELECT pg_current_wal_lsn()::text")[0]
    within(lambda: raw.ask(standby, f"SELECT pg_last_wal_replay_lsn() >= '{at}'") == [(True,)])


def within(done: Callable[[], bool]) -> None:
    assert any(done() for _ in range(50_000))


def browsed(url: str) -> Any:
    with sessions.reading(targets.target(url), StatementLog()) as session:
        return browsing.page(session, catalogue(session)["attempts"], View()).rows


def framed(url: str) -> Any:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        frames = (
            pharmdb.attempts_frame(connection),
            pharmdb.progress_frame(connection),
            pharmdb.daily_progress(connection),
        )
        return [frame.to_dict() for frame in frames], pharmdb.fingerprint(connection)


READING: dict[str, Callable[[str], Any]] = {
    "inspect": lambda url: pharmdb.inspect(url, user_email=LEARNER).progress.to_dict(),
    "backup": lambda url: pharmdb.backup(url).tables.to_dict(),
    "account": lambda url: pharmdb.manage_account(url).accounts.to_dict(),
    "dataframes": framed,
    "the studio": browsed,
}


@pytest.mark.parametrize("verb", READING)
def test_what_reads_reads_the_same(primary: str, standby: str, verb: str) -> None:
    found = READING[verb](standby)
    assert found == READING[verb](primary)
    assert found


def test_an_export_goes_on_on_a_standby(primary: str, standby: str, tmp_path: Path) -> None:
    assert pharmdb.export(primary, folder=tmp_path).tables["kept"].sum() == 0
    assert pharmdb.export(standby, folder=tmp_path).tables["written"].sum() == 0


WRITING: dict[str, Callable[[str], Any]] = {
    "reset": pharmdb.reset,
    "seed": pharmdb.seed,
    "migrate": lambda url: pharmdb.migrate(url, revision="-1"),
    "cohort": lambda url: pharmdb.cohort(url, learners=5),
    "restore": lambda url: (pharmdb.backup(url), pharmdb.restore(url)),
}


@pytest.mark.parametrize("verb", WRITING)
def test_what_writes_says_that_it_can_not(standby: str, verb: str) -> None:
    with pytest.raises(ReadOnlyError) as error:
        WRITING[verb](standby)
    assert error.value.command or error.value.note


def told(url: str) -> list[Finding]:
    findings = pharmdb.check(url).findings
    assert [finding for finding in findings if finding.state == FAIL] == []
    return [finding for finding in findings if finding.check == "replica"]


def test_the_doctor_knows_a_standby_and_how_far_behind_it_is(primary: str, standby: str) -> None:
    assert told(primary) == []
    within(lambda: raw.ask(standby, "SELECT count(*) FROM pg_stat_wal_receiver") == [(1,)])
    (finding,) = told(standby)
    assert (finding.state, finding.remedy) == (OK, "")
    raw.run(standby, "SELECT pg_wal_replay_pause()")
    within(lambda: raw.ask(standby, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    raw.run(primary, "SELECT pg_switch_wal()")
    (received,) = raw.ask(primary, "SELECT pg_current_wal_lsn()::text")[0]
    within(lambda: raw.ask(standby, f"SELECT pg_last_wal_receive_lsn() >= '{received}'") == [(True,)])
    (finding,) = told(standby)
    assert finding.state == WARN
    assert " 0 bytes" not in finding.found
    *psql, statement = shlex.split(finding.remedy)
    assert psql[0] == "psql"
    raw.run(standby, statement)
    caught_up(primary, standby)
    (finding,) = told(standby)
    assert finding.state == OK


ACTIVE = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND wait_event = 'PgSleep'"


def test_a_reader_in_the_way_of_the_replay_is_told_so(primary: str, standby: str) -> None:
    def change() -> None:
        within(lambda: raw.ask(standby, ACTIVE) == [(1,)])
        # The reader holds the lock that everybody who reads holds; this takes an exclusive one.
        raw.run(primary, "ALTER TABLE users ALTER COLUMN role SET DEFAULT 'USER'")

    def read() -> None:
        with pharmdb.reading(pharmdb.target(standby)) as connection:
            connection.execute(text("SELECT pg_sleep(60)"))

    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(change)
        with pytest.raises(ReplayConflictError):
            read()
        changed.result()
