"""Databases for the tests: each one fresh, on SQLite and on a real PostgreSQL that this run starts itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.chrome import browser, large, tabs  # noqa: F401 - fixtures
from support.databases import DIALECTS, Databases
from support.durations import LONGEST
from support.fingerprinting import row_by_row  # noqa: F401 - a fixture
from support.folders import memory_folder
from support.hashing import _hashed_once  # noqa: F401 - a fixture
from support.postgres import Server
from support.revisions import scripts  # noqa: F401 - a fixture


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(Path(__file__).parent).as_posix()
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting of the developer's reaches a test, and no test the developer's database or backups."""
    # What a shell starts in the background ignores interrupts, and so would each command that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("PHARMDB_", "PG")):
                patch.delenv(name)
        patch.setenv("PHARMDB_BACKUPS", str(tmp_path_factory.mktemp("backups")))
        patch.setenv("PHARMDB_EXPORTS", str(tmp_path_factory.mktemp("exports")))
        patch.setenv("PHARMDB_URL", "sqlite:////nonexistent/no test may use the default database.db")
        yield


@pytest.fixture(autouse=True)
def _own_backups(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("PHARMDB_BACKUPS", str(tmp_path_factory.mktemp("backups")))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    with memory_folder("databases-") as folder:
        # The server is started by the first test that needs it.
        yield Databases(lambda: request.getfixturevalue("server"), folder)


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables with which Jupyter starts kernels of this run's own warm process."""
    from support.kernels import kernels_in

    with kernels_in(tmp_path_factory.mktemp("k")) as variables:
        yield variables


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty(databases: Databases, dialect: str) -> Iterator[str]:
    """The URL of a database without a table; on SQLite there is no file yet."""
    with databases.dropped(databases.empty(dialect)) as url:
        yield url


@pytest.fixture
def migrated(databases: Databases, dialect: str) -> Iterator[str]:
    """The URL of a database at head, without a row."""
    with databases.dropped(databases.migrated(dialect)) as url:
        yield url


@pytest.fixture
def seeded(databases: Databases, dialect: str) -> Iterator[str]:
    """The URL of a known-good database."""
    with databases.dropped(databases.seeded(dialect)) as url:
        yield url
