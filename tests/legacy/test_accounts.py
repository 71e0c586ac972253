"""An upgrade touches no account: what the seed would reset or bring back is as it was in the source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from support import legacy, raw
from support.databases import Databases
from support.legacy import row

import pharmdb
from pharmdb.errors import PharmdbError
from pharmdb.seeding import passwords

DEMO, ADMIN = "demo@pharmtrainer.test", "admin@pharmtrainer.test"
OWN = legacy.bcrypt_hash("my own password")
BEFORE = datetime(2021, 5, 4, 3, 2, 1, tzinfo=UTC)
ATTEMPTED = "2021-05-04T03:02:01.000Z"
# Those of the seed's progress rows that the demo account has in the source; the first is also elsewhere in its counts.
PROGRESS = [("questions", "cardiology", "arrhythmias"), ("cases", "pulmonary", "asthma")]
COLUMNS = "SELECT id, email, password_hash, role FROM users WHERE id <= 10 ORDER BY id"


def source(databases: Databases, dialect: str, tmp_path: Any, *emails: str) -> str:
    """An old database with these accounts: own passwords, swapped roles, no settings, the demo's progress."""
    users = [
        row("users", n, email=email, password_hash=OWN, role="USER" if email == ADMIN else "ADMIN")
        for n, email in enumerate(emails, 1)
    ]
    moment = legacy.Cell(BEFORE.replace(tzinfo=None) if dialect == "postgresql" else ATTEMPTED, BEFORE)
    rows = [
        row("progress_by_tag", n, user_id=1, module=m, course_block=b, tag=t, last_attempt_at=moment)
        for n, (m, b, t) in enumerate(PROGRESS, 1)
    ]
    url = f"sqlite:///{tmp_path / 'old.db'}" if dialect == "sqlite" else databases.empty("postgresql")
    return legacy.make(url, 4, [*users, *rows])


def attempted(url: str) -> list[Any]:
    as_text = "last_attempt_at" if url.startswith("sqlite") else "last_attempt_at AT TIME ZONE 'UTC'"
    return [
        (module, block, tag, str(at).replace("T", " ")[:19])
        for module, block, tag, at in raw.ask(
            url, f"SELECT module, course_block, tag, {as_text} FROM progress_by_tag WHERE id <= 2 ORDER BY id"
        )
    ]


def changes(report: Any) -> dict[str, int]:
    found = report.changes
    return dict(found[found["change"] == "created by --seed"][["table", "rows"]].itertuples(index=False))


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
@pytest.mark.parametrize("seed", [False, True])
def test_passwords_roles_and_times_are_the_sources_own(
    databases: Databases, dialect: str, to: str, seed: bool, tmp_path: Any
) -> None:
    url = databases.empty(to)
    report = pharmdb.upgrade(source(databases, dialect, tmp_path, DEMO, ADMIN), url, seed=seed)
    assert raw.ask(url, COLUMNS) == [(1, DEMO, OWN, "ADMIN"), (2, ADMIN, OWN, "USER")]
    assert attempted(url) == [(*key, "2021-05-04 03:02:01") for key in PROGRESS]
    assert changes(report) == ({"user_settings": 2, "progress_by_tag": 2} if seed else {})
    assert raw.ask(url, "SELECT count(*) FROM user_settings") == [(2 if seed else 0,)]
    assert raw.ask(url, "SELECT count(*) FROM progress_by_tag") == [(4 if seed else 2,)]
    assert report.tables["source_checksum"].tolist() == report.tables["target_checksum"].tolist()
    assert (report.seeded is None) == (not seed)


def test_a_deleted_account_comes_back_only_if_that_is_asked_for(
    databases: Databases, dialect: str, tmp_path: Any
) -> None:
    old = source(databases, dialect, tmp_path, "ann@example.test", ADMIN)
    without, with_seed = databases.empty(dialect), databases.empty(dialect)
    assert changes(pharmdb.upgrade(old, without)) == {}
    assert raw.ask(without, "SELECT email FROM users ORDER BY id") == [("ann@example.test",), (ADMIN,)]
    report = pharmdb.upgrade(old, with_seed, seed=True)
    assert changes(report) == {"users": 1, "user_settings": 2, "progress_by_tag": 4}
    ((email, role, hashed),) = raw.ask(with_seed, "SELECT email, role, password_hash FROM users WHERE id > 2")
    assert (email, role) == (DEMO, "USER")
    assert passwords.verify_password("Password123!", hashed)
    assert report.tables["imported"].sum() == 4
    assert pharmdb.upgrade(old, with_seed, seed=True).nothing_left


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    "written",
    [
        "UPDATE users SET role = 'USER'",
        "DELETE FROM progress_by_tag WHERE id = 2",
        "INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (1, 'drug', 'x')",
    ],
)
def test_whatever_is_written_after_the_copy_is_noticed(
    databases: Databases, dialect: str, tmp_path: Any, written: str
) -> None:
    url = databases.migrated("sqlite")
    pharmdb.upgrade(source(databases, dialect, tmp_path, DEMO), url)
    raw.run(
        url,
        *(f"DELETE FROM {table}" for table in reversed(raw.TABLES)),
        "DELETE FROM pharmdb_upgrades",
        # The record of the upgrade is the last statement before the checksums.
        f"CREATE TRIGGER late AFTER INSERT ON pharmdb_upgrades BEGIN {written}; END",
    )
    before = raw.everything(url)
    with pytest.raises(PharmdbError, match="everything was rolled back"):
        pharmdb.upgrade(f"sqlite:///{tmp_path / 'old.db'}", url)
    assert raw.everything(url) == before
