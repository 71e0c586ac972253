"""The guide's troubleshooting: each trouble is made for real, and the doctor's remedy, run as printed, ends it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from support import raw
from support.databases import Databases
from support.faults import ends, holding, truncated
from support.findings import found
from support.postgres import Server
from support.project import ROOT, tracked
from support.raw import run

import pharmdb
from pharmdb import settings
from pharmdb.doctor.results import FAIL, OK, WARN
from pharmdb.errors import LockedError, PharmdbError, RevisionError, SeedError
from pharmdb.seeding import seeding
from pharmdb.seeding.seeding import KNOWN_GOOD

HEAD = "7b1f4e90d2a6"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a URL the one that PHARMDB_URL names, here and in the shell."""

    def use(url: str) -> str:
        monkeypatch.setenv("PHARMDB_URL", url)
        return url

    return use


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of the project whose files a test may change, in a folder with a space in its name."""
    folder = tmp_path / "pharm db"
    for path in tracked():
        if path.is_relative_to(ROOT / "tests") or path.is_relative_to(ROOT / "benchmarks"):
            continue
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    git = ["git", "-c", "user.name=ann", "-c", "user.email=ann@example.test"]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=x"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True, capture_output=True)
    monkeypatch.setattr(settings, "SOURCE", folder)
    monkeypatch.setattr(seeding, "SEED_DIRECTORY", folder / "data" / "seed")
    return folder


def shell(command: str, server: Server | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a remedy as it was printed, in the project's folder."""
    programs = [str(Path(sys.executable).parent), *([str(server.binaries)] if server else []), os.environ["PATH"]]
    return subprocess.run(
        ["bash", "-c", command],
        cwd=settings.SOURCE,
        env=os.environ | {"PATH": ":".join(programs), "PYTHONPATH": str(settings.SOURCE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def heal(check: str, remedy: str, server: Server | None = None) -> None:
    """Runs the remedy of the check, which has failed, and sees that nothing fails any more."""
    told = found()[check]
    assert told.state == FAIL
    assert told.remedy == remedy or (" -c " in told.remedy and remedy in told.remedy)
    result = shell(told.remedy, server)
    assert result.returncode == 0, result.stdout + result.stderr
    after = found()
    assert [finding for finding in after.values() if finding.state == FAIL] == []
    assert after[check].state == OK


def known_good(url: str) -> bool:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return pharmdb.fingerprint(connection, seed=True) == KNOWN_GOOD


# -- "Database Locked Error" --------------------------------------------------------------------------


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_locked_file_is_freed(
    databases: Databases, use: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
    url = use(databases.seeded("sqlite"))
    run(url, "PRAGMA journal_mode = DELETE")
    with holding(url, begin) as pid:
        with pytest.raises(LockedError, match=f"pid {pid} "):
            pharmdb.seed()
        remedy = found()["locks" if begin == "BEGIN IMMEDIATE" else "answers"].remedy
        assert remedy == ends(url, pid)
        assert shell(remedy).returncode == 0
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
        assert {finding.state for finding in found().values()} == {OK, WARN}
        assert found()["locks"].state == OK
        assert pharmdb.seed().fingerprint == KNOWN_GOOD


def test_a_locked_server_is_freed(
    databases: Databases, server: Server, use: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
    url = use(databases.seeded("postgresql"))
    with psycopg.connect(raw.libpq(url)) as session:
        session.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        pid = session.info.backend_pid
        with pytest.raises(LockedError, match=f"pid {pid} "):
            pharmdb.seed()
        heal("answers", ends(url, pid), server)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        session.close()
    assert pharmdb.seed().fingerprint == KNOWN_GOOD


# -- "Migration Conflicts" ----------------------------------------------------------------------------


def revision(project: Path, name: str, statement: str = "SELECT 1") -> Path:
    """A revision after the newest one, as a branch brings it."""
    path = project / "migrations" / "versions" / f"20990101_{name}.py"
    path.write_text(
        "from alembic import op\n\n"
        f"revision = {name!r}\ndown_revision = {HEAD!r}\nbranch_labels = depends_on = None\n\n\n"
        f"def upgrade():\n    op.execute({statement!r})\n\n\ndef downgrade():\n    pass\n"
    )
    return path


def test_two_heads_from_two_branches_are_merged(databases: Databases, project: Path, use: Callable[[str], str]) -> None:
    url = use(databases.seeded("sqlite"))
    revision(project, "ffff00000001")
    pharmdb.migrate()
    folder = revision(project, "ffff00000002").parent
    with pytest.raises(RevisionError):
        pharmdb.migrate()
    heal("revision", 'alembic merge heads -m "merge" && pharmdb migrate')
    assert len(list(folder.glob("*_merge.py"))) == 1
    assert known_good(url)


def test_an_edited_revision_that_was_applied_is_applied_anew(
    databases: Databases, project: Path, use: Callable[[str], str]
) -> None:
    use(databases.seeded("sqlite"))
    path = project / "migrations" / "versions" / "20260128_guide_indexes.py"
    path.write_text(path.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    heal("revision files", "pharmdb reset")


def test_an_edited_revision_is_taken_back_in_production(
    databases: Databases, project: Path, use: Callable[[str], str]
) -> None:
    url = use(databases.seeded("sqlite"))
    run(url, "UPDATE pharmdb_environment SET name = 'production'; UPDATE users SET password_hash = '!'")
    path = project / "migrations" / "versions" / "20260128_guide_indexes.py"
    path.write_text(path.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    heal("revision files", "git checkout -- migrations/versions")


def test_a_revision_row_without_its_file_is_left_behind(
    databases: Databases, project: Path, server: Server, use: Callable[[str], str]
) -> None:
    url = use(databases.seeded("postgresql"))
    path = revision(project, "ffff00000001", "CREATE INDEX ix_of_a_branch ON users (role)")
    pharmdb.migrate()
    path.unlink()
    with pytest.raises(RevisionError):
        pharmdb.migrate()
    heal("revision", "pharmdb reset", server)
    with raw.session(url) as session:
        assert "ix_of_a_branch" not in str(raw.schema(session))


def git(*arguments: str, folder: Path | None = None) -> None:
    author = ("-c", "user.name=ann", "-c", "user.email=ann@example.test")
    command = ["git", *author, *arguments]
    subprocess.run(command, cwd=folder or settings.SOURCE, check=True, capture_output=True)


def test_a_deleted_revision_is_taken_back(databases: Databases, project: Path, use: Callable[[str], str]) -> None:
    use(databases.seeded("sqlite"))
    path = revision(project, "ffff00000001")
    git("add", "--all")
    git("commit", "--message=x")
    pharmdb.migrate()
    path.unlink()
    heal("revision", "git checkout -- migrations/versions")


@pytest.mark.parametrize("remote", [False, True])
def test_a_revision_of_another_branch_is_found_there(
    databases: Databases, project: Path, use: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    use(databases.seeded("sqlite"))
    git("switch", "--create", "a/feature")
    revision(project, "ffff00000001")
    git("add", "--all")
    git("commit", "--message=x")
    pharmdb.migrate()
    git("switch", "-")
    if remote:
        clone = project.with_name("a clone")
        git("clone", "--quiet", str(project), str(clone))
        monkeypatch.setattr(settings, "SOURCE", clone)
    with pytest.raises(RevisionError) as error:
        pharmdb.seed()
    # What destroys is named only as the other way.
    assert "pharmdb reset" in error.value.note
    heal("revision", "git switch a/feature")
    assert pharmdb.seed().fingerprint == KNOWN_GOOD


def test_a_revision_of_newer_code_is_pulled(
    databases: Databases, project: Path, use: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(databases.seeded("sqlite"))
    clone = project.with_name("a clone")
    git("clone", "--quiet", str(project), str(clone))
    revision(project, "ffff00000001")
    git("add", "--all")
    git("commit", "--message=x")
    pharmdb.migrate()
    monkeypatch.setattr(settings, "SOURCE", clone)
    heal("revision", "git pull")


def test_a_database_behind_is_migrated(databases: Databases, use: Callable[[str], str]) -> None:
    url = use(databases.seeded("sqlite"))
    pharmdb.migrate(revision="8f1c2a6d4b10", backup=False)
    with pytest.raises(RevisionError):
        pharmdb.seed()
    heal("revision", "pharmdb migrate")
    assert known_good(url)


def test_drift_is_built_anew(databases: Databases, server: Server, use: Callable[[str], str]) -> None:
    url = use(databases.seeded("postgresql"))
    run(url, "DROP INDEX ix_attempts_user_id_created_at; DROP TABLE bookmarks")
    heal("drift", "pharmdb reset", server)
    assert known_good(url)


# -- "Seed Failures" ----------------------------------------------------------------------------------


def test_missing_rows_are_seeded_where_only_the_parameter_names_the_database(databases: Databases) -> None:
    url = databases.seeded("sqlite")
    copy = raw.path(url).with_name("a learner's database.db")
    shutil.copy(raw.path(url), copy)
    url = f"sqlite:///{copy}"
    with raw.session(url) as session:
        session.execute("DELETE FROM progress_by_tag")
    (told,) = (finding for finding in pharmdb.check(url).findings if finding.check == "seed")
    assert told.state == WARN
    result = shell(told.remedy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert known_good(url)


def test_a_database_that_was_never_made_is_made(server: Server, use: Callable[[str], str]) -> None:
    """Two remedies, one after the other: there is no database, then it has no schema."""
    use(server.uri("a learner's database"))
    with pytest.raises(PharmdbError, match="does not exist"):
        pharmdb.seed()
    assert shell(found()["answers"].remedy, server).returncode == 0
    with pytest.raises(RevisionError):
        pharmdb.seed()
    heal("revision", "pharmdb migrate", server)
    assert pharmdb.seed().fingerprint == KNOWN_GOOD


def test_a_faulty_seed_file_is_taken_back(databases: Databases, project: Path, use: Callable[[str], str]) -> None:
    use(databases.seeded("sqlite"))
    path = project / "data" / "seed" / "users.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("ADMIN", "BOSS"), encoding="utf-8")
    with pytest.raises(SeedError):
        pharmdb.seed()
    heal("seed", "git checkout -- data/seed")
    assert pharmdb.seed().fingerprint == KNOWN_GOOD


# -- damage -------------------------------------------------------------------------------------------


def test_a_half_restored_file_is_restored(databases: Databases, use: Callable[[str], str]) -> None:
    url = use(databases.seeded("sqlite"))
    pharmdb.backup()
    damaged = raw.path(url)
    truncated(damaged)
    heal("answers", "pharmdb restore")
    assert known_good(url)


def test_a_damaged_file_without_a_backup_is_set_aside(databases: Databases, use: Callable[[str], str]) -> None:
    path = raw.path(use(databases.seeded("sqlite")))
    truncated(path)
    half = path.read_bytes()
    heal("answers", f"mv {path} {path}.damaged && pharmdb reset")
    assert path.with_name(f"{path.name}.damaged").read_bytes() == half
