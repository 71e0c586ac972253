"""Databases for the tests: each one fresh, on SQLite and on a real PostgreSQL that this run starts itself."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

sys.path.insert(0, str(Path(__file__).parent))

from chrome import browser, large, tabs  # noqa: F401 - fixtures
from postgres import Server

import pharmdb

DIALECTS = ("sqlite", "postgresql")


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting of the developer's reaches a test, and no test the developer's database or backups."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("PHARMDB_", "PG")):
                patch.delenv(name)
        patch.setenv("PHARMDB_BACKUPS", str(tmp_path_factory.mktemp("backups")))
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


class Databases:
    """Makes databases: `empty(dialect)`, `migrated(dialect)` at head, `seeded(dialect)`; each gives a URL.

    The migrated and the seeded one are made once by the verbs and then copied.
    """

    def __init__(self, server: Callable[[], Server], folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._numbers = count()
        self._templates: dict[tuple[str, str], str] = {}

    def empty(self, dialect: str) -> str:
        name = f"test_{next(self._numbers)}"
        if dialect == "sqlite":
            # A folder of its own: what lies beside a database belongs to it.
            folder = self._folder / name
            folder.mkdir()
            return f"sqlite:///{folder / name}.db"
        return self._create(name)

    def migrated(self, dialect: str) -> str:
        return self._copy(dialect, "migrated", pharmdb.migrate)

    def seeded(self, dialect: str) -> str:
        return self._copy(dialect, "seeded", pharmdb.reset)

    def _copy(self, dialect: str, state: str, make: Callable[[str], object]) -> str:
        if (dialect, state) not in self._templates:
            url = self.empty(dialect)
            make(url)
            self._templates[dialect, state] = url
        template = self._templates[dialect, state]
        if dialect == "sqlite":
            url = self.empty(dialect)
            shutil.copyfile(template.removeprefix("sqlite:///"), url.removeprefix("sqlite:///"))
            return url
        return self._create(f"test_{next(self._numbers)}", template=template)

    def _create(self, name: str, template: str = "") -> str:
        server = self._server()
        with psycopg.connect(dsn(server.uri()), autocommit=True) as connection:
            statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            if template:
                source = sql.Identifier(psycopg.conninfo.conninfo_to_dict(dsn(template))["dbname"])
                statement += sql.SQL(" TEMPLATE {}").format(source)
            connection.execute(statement)
        return server.uri(name)


def dsn(url: str) -> str:
    """An SQLAlchemy URL of PostgreSQL as libpq takes it."""
    return url.replace("postgresql+psycopg:", "postgresql:")


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    # The server is started by the first test that needs it.
    return Databases(lambda: request.getfixturevalue("server"), tmp_path_factory.mktemp("databases"))


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty(databases: Databases, dialect: str) -> str:
    """The URL of a database without a table; on SQLite there is no file yet."""
    return databases.empty(dialect)


@pytest.fixture
def migrated(databases: Databases, dialect: str) -> str:
    """The URL of a database at head, without a row."""
    return databases.migrated(dialect)


@pytest.fixture
def seeded(databases: Databases, dialect: str) -> str:
    """The URL of a known-good database."""
    return databases.seeded(dialect)
