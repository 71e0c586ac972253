"""An upgrade of many rows into PostgreSQL: an empty target is locked and loaded without its keys, a full one is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event
from support import legacy, raw
from support.databases import Databases
from support.legacy import row

import pharmdb
from pharmdb.database import indexes
from pharmdb.errors import PharmdbError
from pharmdb.legacy.accounting import Account

ATTEMPTS = 40


@pytest.fixture
def old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A source with many attempts, of which two have no user."""
    monkeypatch.setattr(indexes, "_MANY", ATTEMPTS)
    rows = [row("users", n, email=f"{n}@b.test") for n in range(1, 4)]
    rows += [row("attempts", n, user_id=77 if n in (5, 6) else 1 + n % 3) for n in range(1, ATTEMPTS + 1)]
    return legacy.make(f"sqlite:///{tmp_path / 'dev.db'}", 4, rows)


@pytest.fixture
def dropped() -> Iterator[list[str]]:
    """The statements that drop something; those of a migration are among them until they are cleared."""
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *others: Any) -> None:
        if statement.startswith(("DROP ", "ALTER TABLE ")) and "DROP " in statement:
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


@contextmanager
def before_the_end(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> Iterator[list[int]]:
    """Does this while the upgrade compares what it wrote."""
    verify, times = Account.verify, list[int]()

    def and_work(*arguments: Any) -> None:
        times.append(1)
        work()
        verify(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Account, "verify", and_work)
        yield times


def read(url: str) -> int:
    """How many attempts another session sees, without waiting for long."""
    with raw.session(url) as session:
        session.execute("SET lock_timeout = '50ms'")
        return int(session.execute("SELECT count(*) FROM attempts").fetchone()[0])


def schema(url: str) -> set[Any]:
    with raw.session(url) as session:
        return set(raw.schema(session))


@pytest.mark.parametrize("state", ["migrated", "seeded"])
def test_a_target_without_learners_data_is_locked_and_as_before(
    databases: Databases, state: str, old_file: str, dropped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = getattr(databases, state)("postgresql")
    before = schema(url)
    dropped.clear()

    def cannot_be_read() -> None:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            read(url)

    with before_the_end(monkeypatch, cannot_be_read) as times:
        report = pharmdb.upgrade(old_file, url)
    assert times == [1]
    assert len(dropped) == 4
    assert read(url) == ATTEMPTS - 2
    assert before <= schema(url)
    assert set(report.checks["state"]) <= {"ok", "warn"}
    assert {(table, reason) for table, _, reason, _ in report.account.rejects} == {
        ("attempts", "user_id names no user: 77")
    }


def test_learners_data_can_be_read_until_it_is_replaced(
    databases: Databases, old_file: str, dropped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.seeded("postgresql")
    with raw.session(url) as session:
        raw.fill(session)
    there, seen = read(url), list[int]()
    dropped.clear()
    with before_the_end(monkeypatch, lambda: seen.append(read(url))):
        pharmdb.upgrade(old_file, url, confirm=pharmdb.target(url).name)
    assert seen == [there]
    assert dropped == []
    assert read(url) == ATTEMPTS - 2


def test_somebody_who_reads_an_empty_target_is_not_in_the_way(
    databases: Databases, old_file: str, dropped: list[str]
) -> None:
    url = databases.migrated("postgresql")
    dropped.clear()
    with raw.session(url) as reader, raw.transaction(reader):
        assert reader.execute("SELECT count(*) FROM attempts").fetchone() == (0,)
        pharmdb.upgrade(old_file, url)
    assert read(url) == ATTEMPTS - 2
    # It was tried.
    assert len(dropped) == 1


LOSES_ITS_USER = """
CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.user_id := 78; RETURN NEW; END';
CREATE TRIGGER lose BEFORE INSERT ON attempts FOR EACH ROW WHEN (NEW.id = 9) EXECUTE FUNCTION lose()
"""


def test_a_row_that_loses_its_user_on_the_way_undoes_all(databases: Databases, old_file: str) -> None:
    url = databases.migrated("postgresql")
    raw.run(url, LOSES_ITS_USER)
    before = raw.everything(url)
    with pytest.raises(PharmdbError, match="rolled back") as error:
        pharmdb.upgrade(old_file, url)
    assert "FOREIGN KEY (user_id) REFERENCES users" in error.value.expected
    assert "fk_attempts_user_id_users" in error.value.found
    assert "trigger" in error.value.note
    assert raw.everything(url) == before
