"""Databases for the tests: each one fresh, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

import pharmdb
from pharmdb.cluster import placing, planning
from pharmdb.database import transactions
from pharmdb.seeding import passwords
from support.hashing import hash_once
from support.postgres import Server

DIALECTS = ("sqlite", "postgresql")
# Set, it gives the tables on PostgreSQL the primary keys that they have in the shards of a Citus cluster. Read before
# the tests clear their environment.
SHARD_KEYS = bool(os.environ.get("PHARMDB_TEST_SHARD_KEYS"))


class Databases:
    """Makes databases: `empty(dialect)`, `migrated(dialect)` at head, `seeded(dialect)`; each gives a URL.

    The migrated and the seeded one are made once by the verbs and then copied.
    """

    def __init__(self, server: Callable[[], Server], folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._numbers = count()
        self._templates: dict[tuple[str, str], str] = {}

    @contextmanager
    def dropped(self, url: str) -> Iterator[str]:
        """Drops this database after the block: a thousand of them would fill the memory."""
        yield url
        if url.startswith("sqlite:"):
            shutil.rmtree(Path(url.removeprefix("sqlite:///")).parent)
            return
        with psycopg.connect(dsn(self._server().uri()), autocommit=True) as connection:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name_of(url)))
            # A transaction that a test prepared, and left, keeps its database.
            with suppress(psycopg.errors.ObjectInUse):
                connection.execute(statement)

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
            with pytest.MonkeyPatch.context() as patch:
                # All tests share it, whatever the first of them makes of passwords.
                patch.setattr(passwords, "hash_password", hash_once)
                make(url)
            if SHARD_KEYS and dialect == "postgresql":
                swap_keys(url)
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
                source = sql.Identifier(name_of(template))
                # Of the two ways to copy, the one that takes less than half the time, as no disk is waited for.
                statement += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(source)
            connection.execute(statement)
            if template:
                # A copy has the tables, and none of the settings, of its template.
                connection.execute(sql.SQL("ALTER DATABASE {} SET timezone TO 'UTC'").format(sql.Identifier(name)))
        return server.uri(name)


def swap_keys(url: str) -> None:
    """Gives each table of users the primary key (id, user_id), by the statements of a distribution."""
    with transactions.changing_schema(pharmdb.target(url)) as connection:
        steps = planning.forward(placing.tables(connection))
        placing.run(connection, [step for step in steps if step.statement.startswith("ALTER TABLE")])


def name_of(url: str) -> str:
    """The database that an SQLAlchemy URL of PostgreSQL names."""
    name = make_url(url).database
    assert name is not None
    return name


def dsn(url: str) -> str:
    """An SQLAlchemy URL of PostgreSQL as libpq takes it."""
    return url.replace("postgresql+psycopg:", "postgresql:")
