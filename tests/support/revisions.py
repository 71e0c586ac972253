"""Revisions that a test may change, and what differs from the models after them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import pharmdb
from pharmdb import settings
from pharmdb.schema import drift


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the revisions; pharmdb takes it for the project's own."""
    shutil.copy(settings.SOURCE / "pyproject.toml", tmp_path)
    shutil.copytree(
        settings.SOURCE / "migrations", tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(settings, "SOURCE", tmp_path)
    return tmp_path / "migrations" / "versions"


def differences(url: str) -> list[tuple[str, ...]]:
    """Between this database and the models."""
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return [tuple(difference) for difference in drift.differences(connection)]
