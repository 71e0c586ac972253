"""The doctor: each harm is done for real, is told by its own check with its own remedy, and looking changes nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from support import raw
from support.backups import backed_up
from support.databases import Databases
from support.drifts import DRIFT, rebuild
from support.faults import (
    HARM,
    ends,
    holding,
    truncated,
)
from support.findings import found
from support.postgres import Server
from support.raw import run

import pharmdb
from pharmdb.backups import manifests
from pharmdb.database import servers, targets
from pharmdb.doctor import content
from pharmdb.doctor.results import FAIL, OK, WARN, Finding
from pharmdb.errors import (
    CheckFailedError,
    DamagedError,
    MissingFileError,
    ParameterError,
    PharmdbError,
    UnavailableError,
    mask,
)
from pharmdb.schema import branches, revisions
from pharmdb.seeding import seeding

CHECKS = [
    "answers",
    "environment",
    "integrity",
    "foreign keys",
    "orphans",
    "revision",
    "revision files",
    "drift",
    "constraints",
    "query plans",
    "seed",
    "JSON shapes",
    "default passwords",
    "password hashes",
    "journal mode",
    "time zone",
    "locks",
    "disk",
    "newest backup",
    "versions",
]
BESIDE = CHECKS[-4:]
BEHIND = [name for name in CHECKS if name not in CHECKS[CHECKS.index("drift") : CHECKS.index("journal mode")]]


@pytest.fixture
def ours(seeded: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A known-good database that PHARMDB_URL names, as for most who run the doctor."""
    monkeypatch.setenv("PHARMDB_URL", seeded)
    # What git knows of this checkout is no matter of these tests.
    monkeypatch.setattr(branches, "command", lambda revision: "")
    return seeded


def wrong(findings: dict[str, Finding] | None = None) -> dict[str, Finding]:
    """What is not well, but for the backup that no test database has."""
    findings = findings or found()
    return {name: f for name, f in findings.items() if f.state != OK and (name, f.found) != ("newest backup", "none")}


# -- a known-good database ----------------------------------------------------------------------------


def test_every_check_of_a_known_good_database_is_well(ours: str) -> None:
    pharmdb.backup()
    report = pharmdb.check()
    assert [finding.check for finding in report.findings] == CHECKS
    assert {(f.state, f.remedy) for f in report.findings} == {(OK, "")}
    assert {str(dtype) for dtype in report.checks.dtypes} == {"str"}
    assert list(report.checks.columns) == ["check", "state", "found", "remedy"]
    assert list(report.checks.itertuples(index=False, name=None)) == [
        (f.check, f.state, f.found, f.remedy) for f in report.findings
    ]
    (row,) = report.outcome.itertuples(index=False, name=None)
    assert row == (True, len(CHECKS), 0, "pharmdb inspect")
    assert report.outcome.dtypes.astype(str).to_dict() == {
        "ok": "bool",
        "checks": "int64",
        "warnings": "int64",
        "next": "str",
    }


def test_without_a_backup_there_is_one_warning_and_it_does_not_fail(ours: str) -> None:
    report = pharmdb.check()
    assert [f for f in report.findings if f.state != OK] == [Finding("newest backup", WARN, "none", "pharmdb backup")]
    (row,) = report.outcome.itertuples(index=False, name=None)
    assert row == (True, len(CHECKS), 1, "pharmdb backup")


def test_looking_writes_nothing_to_a_file(databases: Databases, tmp_path: Path) -> None:
    url = databases.seeded("sqlite")
    path = Path(shutil.copy(raw.path(url), tmp_path / "known good.db"))
    pharmdb.backup(url)
    before = path.read_bytes(), sorted(os.listdir(manifests.folder())), path.stat().st_mtime_ns
    report = pharmdb.check(f"sqlite:///{path}")
    assert len(report.findings) == len(CHECKS)
    assert (path.read_bytes(), sorted(os.listdir(manifests.folder())), path.stat().st_mtime_ns) == before
    assert {p.name for p in tmp_path.iterdir()} - {f"{path.name}-wal", f"{path.name}-shm"} == {path.name}


def test_looking_writes_nothing_to_a_server(databases: Databases) -> None:
    """Every session of the database is made read-only: whatever tried to write would be told as a failed check."""
    url = databases.seeded("postgresql")
    before = raw.everything(url)
    name = psycopg.conninfo.conninfo_to_dict(raw.libpq(url))["dbname"]
    run(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        run(url, "CREATE TABLE x (id INTEGER)")
    report = pharmdb.check(url)
    assert [f.check for f in report.findings if f.state != OK] == ["newest backup"]
    assert raw.everything(url) == before


def test_a_missing_database_is_not_made(databases: Databases) -> None:
    url = databases.empty("sqlite")
    pharmdb.check(url)
    assert not raw.path(url).exists()


def harms() -> list[Any]:
    return [
        pytest.param(dialect, script, *expected, id=f"{dialect}-{what}")
        for what, sqlite, postgresql, *expected in HARM
        for dialect, script in (("sqlite", sqlite), ("postgresql", postgresql))
        if script
    ]


# What a harm does beside what it is there for.
ALSO = {
    "not enforced: attempts.ck_attempts_score": {"drift"},
    "query plans": {"drift"},
    "environment": {"default passwords"},
    "default passwords": {"environment"},
    "orphans": {"constraints"},
    "revision": {"environment"},
    "revision files": {"environment", "default passwords"},
}


@pytest.mark.parametrize(("dialect", "script", "check", "state", "piece", "remedy"), harms())
def test_a_harm_is_told_by_its_check_and_no_other(
    ours: str, script: str, check: str, state: str, piece: str, remedy: str
) -> None:
    run(ours, script)
    findings = found()
    told = findings[check]
    assert told.state == state
    assert piece in told.found
    assert told.remedy == spelt(remedy, ours) == mask(told.remedy)
    assert wrong(findings).keys() - ALSO.get(piece, ALSO.get(check, set())) == {check} - (
        {check} if state == OK else set()
    )


def spelt(remedy: str, url: str) -> str:
    """The remedy for this database: its path or URL as a word of a shell, SQL as its own command."""
    word = shlex.quote(pharmdb.target(url).url.set(drivername="postgresql").render_as_string())
    path = "" if not url.startswith("sqlite") else shlex.quote(str(raw.path(url)))
    if remedy.startswith("{sql} "):
        sql = remedy.removeprefix("{sql} ")
        code = f"import sqlite3; sqlite3.connect({str(raw.path(url))!r}, isolation_level=None).execute({sql!r})"
        return f"python -c {shlex.quote(code)}" if path else f"psql {word} -c {shlex.quote(sql)}"
    return remedy.format(url=word, path=path) if "{" in remedy else remedy


DRIFTS = [
    "a dropped unique constraint",
    "an altered check",
    "a missing column",
    "another default",
    "a missing table",
    "a foreign key without its cascade",
    "a table that is not strict",
]


@pytest.mark.parametrize(
    ("dialect", "change", "difference"),
    [
        pytest.param(dialect, change, difference, id=f"{dialect}-{what}")
        for what, sqlite, postgresql, difference in DRIFT
        for dialect, change in (("sqlite", sqlite), ("postgresql", postgresql))
        if change and what in DRIFTS
    ],
)
def test_drift_is_told_by_name(ours: str, change: Any, difference: tuple[str, str, str]) -> None:
    kind, table, name = difference
    if isinstance(change, str):
        run(ours, change)
    else:
        with raw.session(ours) as session:
            rebuild(session, *change)
    told = wrong()
    assert told["drift"].state == FAIL
    assert told["drift"].found.startswith(f"{kind} {table}.{name}: expected ")
    assert ";" not in told["drift"].found, "one change is one difference"
    assert told["drift"].remedy == "pharmdb reset"
    # What can't be asked any more is left out, not told as another fault.
    assert set(told) <= {"drift", "query plans", "seed"}


def test_production_is_not_told_to_reset(ours: str) -> None:
    pharmdb.backup()
    run(ours, "UPDATE pharmdb_environment SET name = 'production'; DROP INDEX ix_attempts_user_id_created_at")
    told = found()
    # The backup is one of development, which is not restored in production.
    assert told["drift"].remedy == told["query plans"].remedy == ""
    assert told["drift"].note
    pharmdb.backup()
    told = found()
    assert told["drift"].remedy == told["query plans"].remedy == "pharmdb restore"


@pytest.mark.parametrize("revision", ["8f1c2a6d4b10", "base"])
def test_a_database_behind_is_told_as_that_alone(ours: str, revision: str) -> None:
    pharmdb.migrate(revision=revision, backup=False)
    told = pharmdb.check()
    assert [f.check for f in told.findings if f.check != "revision files"] == [
        n for n in BEHIND if n != "revision files"
    ]
    (finding,) = (f for f in told.findings if f.state == FAIL)
    assert finding.check == "revision"
    assert finding.found == f"{'none' if revision == 'base' else revision}, behind {revisions.head()}"
    assert finding.remedy == "pharmdb migrate"


def test_two_heads_are_told(ours: str, scripts: Path) -> None:
    (scripts / "20990101_branch.py").write_text(
        "revision = 'ffff00000001'\ndown_revision = '5a3d81e7f92c'\nbranch_labels = depends_on = None\n"
        "def upgrade(): pass\ndef downgrade(): pass\n"
    )
    told = wrong()
    assert list(told) == ["revision"]
    assert told["revision"].state == FAIL
    assert "2: " in told["revision"].found
    assert "ffff00000001" in told["revision"].found
    assert told["revision"].remedy == 'alembic merge heads -m "merge" && pharmdb migrate'


def test_an_edited_file_is_told_and_one_with_other_line_ends_is_not(ours: str, scripts: Path) -> None:
    path = scripts / "20260128_guide_indexes.py"
    text = path.read_bytes()
    path.write_bytes(text.replace(b"\n", b"\r\n"))
    assert wrong() == {}
    path.write_bytes(text + b"# edited\n")
    assert wrong()["revision files"].found == "edited after they were applied: 20260128_guide_indexes.py"


def test_faulty_seed_files_are_told_with_file_and_line(
    ours: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(seeding.SEED_DIRECTORY, tmp_path / "seed"))
    monkeypatch.setattr(seeding, "SEED_DIRECTORY", folder)
    users = folder / "users.csv"
    users.write_text(users.read_text(encoding="utf-8").replace("ADMIN", "BOSS"), encoding="utf-8")
    findings = found()
    assert list(findings) == [name for name in CHECKS if name != "default passwords"]
    told = wrong(findings)
    assert list(told) == ["seed"]
    assert told["seed"].state == FAIL
    assert "users.csv:3: role = 'BOSS'" in told["seed"].found
    assert "\n" not in told["seed"].found
    assert told["seed"].remedy == "git checkout -- data/seed"


def test_the_stricter_environment_counts(ours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_ENV", "production")
    told = wrong()
    assert told["environment"].remedy == "export PHARMDB_ENV=development"
    assert told["default passwords"].state == FAIL


def test_little_room_is_told(ours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> Any:
        asked.append(path)
        return SimpleNamespace(free=100 * 2**20)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    told = wrong()
    assert list(told) == ["disk"]
    assert told["disk"].state == WARN
    assert told["disk"].found == f"100 MiB free at {asked[0]}"
    assert told["disk"].remedy == f"du -xh {shlex.quote(str(asked[0]))} | sort -h | tail"
    assert asked[0] == (raw.path(ours).parent if ours.startswith("sqlite") else manifests.folder())


# -- backups ------------------------------------------------------------------------------------------


def test_an_old_backup_is_told_with_its_age(ours: str) -> None:
    taken = backed_up()
    manifest = Path(f"{taken.path}.json")
    text = manifest.read_text(encoding="utf-8")
    for days, state in ((6, OK), (30, WARN)):
        at = datetime.now(UTC) - timedelta(days=days, minutes=1)
        manifest.write_text(json.dumps(json.loads(text) | {"taken_at": at.isoformat()}), encoding="utf-8")
        assert found()["newest backup"].state == state
    assert wrong()["newest backup"] == Finding("newest backup", WARN, "30 days old", "pharmdb backup")


def test_a_damaged_backup_is_told(ours: str) -> None:
    taken = backed_up()
    with taken.path.open("ab") as file:
        file.write(b"x")
    told = wrong()["newest backup"]
    assert (told.state, told.remedy) == (FAIL, "pharmdb backup")
    assert told.found == f"{taken.name}: a file that has changed since it was taken"


@pytest.mark.parametrize("check", ["orphans", "constraints"])
def test_wrong_rows_are_brought_back_from_a_backup_where_there_is_one(ours: str, check: str) -> None:
    pharmdb.backup()
    (script,) = (
        h[1] if ours.startswith("sqlite") else h[2]
        for h in HARM
        if h[0] == {"orphans": "an orphan", "constraints": "rows that break a check"}[check]
    )
    run(ours, script)
    assert found()[check].remedy == "pharmdb restore"


@pytest.mark.parametrize("with_backup", [True, False])
def test_an_error_of_unknown_cause_is_no_reason_to_destroy_anything(
    ours: str, with_backup: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    overflow = ("SELECT abs(-9223372036854775807 - 1)", "integer overflow")
    query, words = overflow if ours.startswith("sqlite") else ("SELECT 1 / 0", "division by zero")
    if with_backup:
        pharmdb.backup()
    monkeypatch.setattr(content, "fingerprint", lambda connection, **_: connection.exec_driver_sql(query).scalar())
    told = wrong()["seed"]
    assert (told.state, told.found, told.remedy) == (FAIL, words, "")
    assert "then run the doctor again" in told.note
    assert not re.search("restore|reset", told.note)


def test_an_error_of_unknown_cause_before_all_checks_is_a_finding(ours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "SELECT abs(-9223372036854775807 - 1)" if ours.startswith("sqlite") else "SELECT 1 / 0"
    monkeypatch.setattr(servers, "size", lambda connection: connection.exec_driver_sql(query).scalar())
    report = pharmdb.check()
    assert [finding.check for finding in report.findings] == ["answers", *BESIDE]
    told = report.findings[0]
    assert (told.state, told.remedy) == (FAIL, "")
    assert re.search("integer overflow|division by zero", told.found)
    assert "then run the doctor again" in told.note


def test_a_damaged_page_of_postgresql_is_a_reason_to_restore(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_URL", databases.seeded("postgresql"))
    pharmdb.backup()
    raised = "DO $$ BEGIN RAISE 'invalid page in block 3' USING ERRCODE = 'XX001'; END $$"
    monkeypatch.setattr(content, "fingerprint", lambda connection, **_: connection.exec_driver_sql(raised))
    told = found()["seed"]
    assert (told.state, told.found, told.remedy) == (FAIL, "invalid page in block 3", "pharmdb restore")


def test_who_holds_a_lock_is_told(ours: str) -> None:
    with holding(ours) as pid:
        told = wrong()
    assert list(told) == ["locks"]
    assert told["locks"].state == WARN
    assert told["locks"].found.startswith(f"pid {pid} (")
    assert ("python" if ours.startswith("sqlite") else "a learner") in told["locks"].found
    assert told["locks"].remedy == ends(ours, pid)
    assert wrong() == {}, "the lock is gone with its holder"


def test_who_only_reads_is_never_the_one_to_end(ours: str) -> None:
    with holding(ours, "BEGIN") as reader:
        assert wrong() == {}
        with holding(ours) as writer:
            told = found()["locks"]
    assert reader != writer
    assert told.found.startswith(f"pid {writer} (")
    assert told.remedy == ends(ours, writer)


def test_a_database_that_nobody_can_read_names_its_holder_too(ours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
    if ours.startswith("sqlite"):
        run(ours, "PRAGMA journal_mode = DELETE")
    begin = "BEGIN EXCLUSIVE" if ours.startswith("sqlite") else "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"
    with holding(ours, begin) as pid:
        told = wrong()
    assert set(told) == {"answers", "locks"}
    assert told["answers"].state == FAIL
    assert told["answers"].found.startswith(f"LockedError: held by pid {pid} (")
    assert told["answers"].remedy == told["locks"].remedy == ends(ours, pid)


# -- the ways of not answering ------------------------------------------------------------------------


def answers(url: str, monkeypatch: pytest.MonkeyPatch) -> Finding:
    monkeypatch.setenv("PHARMDB_URL", url)
    report = pharmdb.check()
    assert [finding.check for finding in report.findings] == ["answers", *BESIDE]
    first = report.findings[0]
    assert first.state == FAIL
    assert first.remedy or first.note
    return first


FILES: dict[str, tuple[Callable[[Path], object], type[PharmdbError], str, str]] = {
    "no file": (Path.unlink, MissingFileError, "no file {path}", "pharmdb reset"),
    "no folder": (
        lambda path: shutil.rmtree(path.parent),
        MissingFileError,
        "the folder {folder} does not exist",
        "mkdir -p {folder} && pharmdb reset",
    ),
    "a folder": (raw.folder_instead, UnavailableError, "{path} is a folder", ""),
    "not a database": (
        lambda path: path.write_text("x" * 9999),
        DamagedError,
        "file is not a database",
        "mv {path} {path}.damaged && pharmdb reset",
    ),
    "truncated": (
        truncated,
        DamagedError,
        "database disk image is malformed",
        "mv {path} {path}.damaged && pharmdb reset",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_does_not_answer(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    harm, kind, piece, remedy = FILES[what]
    (tmp_path / "folder").mkdir()
    path = Path(shutil.copy(raw.path(databases.seeded("sqlite")), tmp_path / "folder" / "x.db"))
    harm(path)
    told = answers(f"sqlite:///{path}", monkeypatch)
    names = {"path": path, "folder": path.parent}
    assert told.found == f"{kind.__name__}: {piece.format(**names)}"
    assert told.remedy == remedy.format(**names)


@pytest.mark.parametrize("what", ["no file", "not a database", "truncated"])
def test_a_file_comes_back_from_its_backup_where_there_is_one(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    url = databases.seeded("sqlite")
    pharmdb.backup(url)
    FILES[what][0](raw.path(url))
    assert answers(url, monkeypatch).remedy == "pharmdb restore"


def test_nothing_that_production_refuses_is_advised(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_ENV", "production")
    assert answers(databases.empty("sqlite"), monkeypatch).remedy == "pharmdb migrate"


def test_an_empty_file_is_told_to_be_migrated(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    url = databases.empty("sqlite")
    raw.path(url).touch()
    monkeypatch.setenv("PHARMDB_URL", url)
    assert found()["revision"] == Finding("revision", FAIL, f"none, behind {revisions.head()}", "pharmdb migrate")


def test_a_port_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = answers(f"postgresql://ann@127.0.0.1:{port}/x", monkeypatch)
    assert "Connection refused" in told.found
    assert told.note.startswith("start the server")


def test_a_socket_folder_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = answers(f"postgresql://ann@/x?host={tmp_path}", monkeypatch)
    assert "No such file or directory" in told.found
    assert told.note.startswith("start the server")


def test_an_unknown_database(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    told = answers(server.uri("no such"), monkeypatch)
    assert 'database "no such" does not exist' in told.found
    maintenance = (
        server.uri("postgres").replace("+psycopg", "").replace("host=/", "host=%2F").replace("/data", "%2Fdata")
    )
    program, option, name = shlex.split(told.remedy)
    assert (program, name) == ("createdb", "no such")
    assert psycopg.conninfo.conninfo_to_dict(option.removeprefix("--maintenance-db=")) == (
        psycopg.conninfo.conninfo_to_dict(maintenance.replace("%2F", "/"))
    )


@pytest.fixture
def joe(server: Server) -> Iterator[str]:
    """A role that owns nothing and may do nothing; gone again at the end."""
    with raw.session(server.uri()) as session:
        session.execute("CREATE ROLE joe LOGIN PASSWORD 'right-canary'")
        try:
            yield "joe"
        finally:
            session.execute("DROP ROLE joe")


def test_a_role_without_rights(databases: Databases, joe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = databases.seeded("postgresql").replace("//postgres@", f"//{joe}@")
    told = answers(url, monkeypatch)
    assert "permission denied" in told.found
    assert "GRANT" in told.note


def test_a_wrong_password_is_told_and_not_shown(server: Server, joe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    with raw.session(server.uri()) as session:
        try:
            rules.write_text(f"local all {joe} scram-sha-256\n{before}")
            session.execute("SELECT pg_reload_conf()")
            wait_until(lambda: refused(server.uri().replace("//postgres@", f"//{joe}:wrong-canary@")))
            told = answers(server.uri().replace("//postgres@", f"//{joe}:wrong-canary@"), monkeypatch)
        finally:
            rules.write_text(before)
            session.execute("SELECT pg_reload_conf()")
            wait_until(lambda: not refused(server.uri().replace("//postgres@", f"//{joe}@")))
    assert 'password authentication failed for user "joe"' in told.found
    assert told.note == "correct the password in PHARMDB_URL or ~/.pgpass"
    assert "canary" not in repr(told)


def refused(url: str) -> bool:
    with suppress(psycopg.OperationalError), raw.session(url):
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    limit = datetime.now(UTC) + timedelta(seconds=10)
    while not condition():
        assert datetime.now(UTC) < limit


@pytest.mark.parametrize("url", ["oracle://x/y", "sqlite://"])
def test_an_unusable_url_is_refused(url: str) -> None:
    with pytest.raises(ParameterError):
        pharmdb.check(url)


# -- remedies and the outcome -------------------------------------------------------------------------


def test_a_remedy_names_the_database_that_only_the_parameter_named(databases: Databases, dialect: str) -> None:
    url = databases.seeded(dialect)
    option = f" --database-url {shlex.quote(str(targets.target(url)))}"
    report = pharmdb.check(url)
    assert report.findings[-2].remedy == f"pharmdb backup{option}"
    assert report.outcome["next"][0] == f"pharmdb backup{option}"
    pharmdb.backup(url)
    assert pharmdb.check(url).outcome["next"][0] == f"pharmdb inspect{option}"
    run(url, "DROP INDEX ix_bookmarks_user_id")
    with pytest.raises(CheckFailedError) as failed:
        _ = pharmdb.check(url).outcome
    assert failed.value.command == f"pharmdb reset{option}"


def test_a_path_with_spaces_quotes_and_our_own_name_is_one_word(databases: Databases, tmp_path: Path) -> None:
    path = tmp_path / "pharmdb data's" / "x y.db"
    path.parent.mkdir()
    path.write_text("x" * 9999)
    remedy = pharmdb.check(f"sqlite:///{path}").findings[0].remedy
    expected = ["mv", str(path), f"{path}.damaged", "&&", "pharmdb", "reset", "--database-url", f"sqlite:///{path}"]
    assert shlex.split(remedy) == expected


def test_the_password_of_the_url_is_in_no_remedy(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    url = databases.seeded("postgresql")
    run(url, "UPDATE pharmdb_environment SET name = 'production'; ALTER TABLE bookmarks DISABLE TRIGGER ALL")
    monkeypatch.setenv("PHARMDB_URL", url.replace("//postgres@", "//postgres:canary@") + "&password=canary")
    report = pharmdb.check()
    assert sum("psql" in finding.remedy for finding in report.findings) == 2
    assert "canary" not in repr(report) + report.checks.to_string()
    assert "*" not in "".join(finding.remedy for finding in report.findings)


def test_a_failed_check_fails_the_outcome_in_four_parts(ours: str) -> None:
    run(ours, "DROP INDEX ix_attempts_user_id_created_at")
    report = pharmdb.check()
    with pytest.raises(CheckFailedError) as failed:
        _ = report.outcome
    error = failed.value
    assert error.expected == "no check to fail"
    assert error.found.startswith("drift: index attempts.ix_attempts_user_id_created_at: expected user_id, created_at")
    assert "; query plans: " in error.found
    assert error.unchanged == "nothing was written; the doctor only reads"
    assert error.command == "pharmdb reset"
    assert (report.count(FAIL), report.count(WARN)) == (2, 1)


@pytest.mark.parametrize("harmed", [True, False])
def test_the_command_prints_every_check_and_its_status_tells_a_failure(
    databases: Databases, tmp_path: Path, harmed: bool
) -> None:
    url = databases.seeded("sqlite")
    with raw.session(url) as session:
        session.execute("DELETE FROM progress_by_tag WHERE tag = 'asthma'")
        if harmed:
            session.execute("DROP INDEX ix_attempts_user_id_created_at")
    result = subprocess.run(
        [sys.executable, "-m", "pharmdb.command", "doctor"],
        cwd=tmp_path,
        env=os.environ | {"PHARMDB_URL": url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == (1 if harmed else 0), result.stdout + result.stderr
    lines = result.stdout.splitlines()
    for check in CHECKS:
        assert any(line.startswith(f"{check} ") for line in lines), check
    assert "missing: progress_by_tag demo@pharmtrainer.test cases/pulmonary/asthma" in result.stdout
    assert "pharmdb seed" in result.stdout
    if harmed:
        assert "CheckFailedError" in result.stderr
        assert "next:      pharmdb reset" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_damaged_page_fails_its_checks_and_the_others_are_still_made(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.seeded("sqlite")
    monkeypatch.setenv("PHARMDB_URL", url)
    path = raw.path(url)
    with sqlite3.connect(path) as session:
        (page,), (size,) = (
            session.execute("SELECT rootpage FROM sqlite_master WHERE name = 'user_settings'").fetchone(),
            session.execute("PRAGMA page_size").fetchone(),
        )
    session.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(data)
    told = found()
    assert told["integrity"].state == FAIL
    assert told["seed"].state == FAIL
    assert "malformed" in told["seed"].found
    assert told["revision"].state == told["drift"].state == OK
    assert list(told)[-4:] == BESIDE


def test_a_schema_with_an_odd_name_is_looked_at_as_any_other(databases: Databases) -> None:
    url = databases.empty("postgresql")
    with raw.session(url) as session:
        (name,) = session.execute("SELECT current_database()").fetchone()
        session.execute('CREATE SCHEMA "My Schema"')
        session.execute(f'ALTER DATABASE {name} SET search_path TO "My Schema"')
    pharmdb.reset(url)
    assert [finding for finding in pharmdb.check(url).findings if finding.state == FAIL] == []
    assert pharmdb.inspect(url).tables["size_mib"].notna().all()


def test_a_full_temporary_folder_takes_no_other_finding_away(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [finding.check for finding in pharmdb.check(seeded).findings]

    def full(*_: object) -> None:
        raise UnavailableError(expected="room for temporary files", found="/tmp: disk is full", command="df -h /tmp")

    monkeypatch.setattr(seeding, "read", full)
    after = {finding.check: finding for finding in pharmdb.check(seeded).findings}
    assert set(before) - set(after) == {"default passwords"}
    assert (after["seed"].state, after["seed"].found) == (FAIL, "/tmp: disk is full")
