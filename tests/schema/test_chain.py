"""The newest revision as the files state it, compared with what Alembic reads from them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from support import raw

import pharmdb
from pharmdb import settings
from pharmdb.database import targets, transactions
from pharmdb.errors import RevisionError, UnknownRevisionError
from pharmdb.schema import chain, revisions


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the revisions that a test may add to."""
    shutil.copy(settings.SOURCE / "pyproject.toml", tmp_path)
    shutil.copytree(settings.SOURCE / "migrations", tmp_path / "migrations")
    monkeypatch.setattr(settings, "SOURCE", tmp_path)
    return tmp_path / "migrations" / "versions"


def alembic_heads() -> tuple[str, ...]:
    return tuple(sorted(ScriptDirectory.from_config(revisions.config()).get_heads()))


def test_both_read_the_same_newest_revision() -> None:
    assert chain.heads() == alembic_heads()
    assert len(chain.heads()) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_new_revision_is_seen_and_so_are_two_branches(versions: Path, count: int) -> None:
    (head,) = chain.heads()
    for number in range(count):
        text = (
            f'revision: str = "new{number}"\ndown_revision = ("{head}",)\ndef upgrade(): pass\ndef downgrade(): pass\n'
        )
        (versions / f"new_{number}.py").write_text(text, encoding="utf-8")
    assert chain.heads() == alembic_heads() == tuple(f"new{number}" for number in range(count))


def test_a_file_that_computes_its_revision_is_left_to_alembic(versions: Path) -> None:
    (head,) = chain.heads()
    text = f'revision = "a" + "b"\ndown_revision = "{head}"\n'
    (versions / "computed.py").write_text(text, encoding="utf-8")
    assert chain.heads() == ()
    assert revisions.head() == "ab"


def test_the_database_is_compared_with_the_newest_revision(seeded: str, versions: Path) -> None:
    target = targets.target(seeded)
    with transactions.reading(target) as connection:
        revisions.require_head(connection, target)
        assert revisions.is_at_head(connection)
    (head,) = chain.heads()
    (versions / "new.py").write_text(f'revision = "new"\ndown_revision = "{head}"\n', encoding="utf-8")
    with transactions.reading(target) as connection, pytest.raises(RevisionError) as caught:
        revisions.require_head(connection, target)
    assert "pharmdb migrate" in caught.value.command


def test_an_unknown_revision_is_told_as_one(seeded: str) -> None:
    raw.run(seeded, "UPDATE alembic_version SET version_num = 'elsewhere'")
    target = targets.target(seeded)
    with transactions.reading(target) as connection, pytest.raises(UnknownRevisionError):
        revisions.require_head(connection, target)


def test_a_seed_needs_no_alembic(seeded: str) -> None:
    code = "import sys, pharmdb; pharmdb.seed(sys.argv[1]); print('alembic' in sys.modules)"
    command = [sys.executable, "-c", code, seeded]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
    assert pharmdb.seed(seeded).changed.startswith("0 rows created")
