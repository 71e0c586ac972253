"""A reset in one process, compared with the same statements by the raw driver, and Django's `flush` and `migrate`.

No passwords are hashed and no backups taken here: the seed's hashes are prepared.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import sqlalchemy as sa

import pharmdb
from benchmarks import django_baseline
from benchmarks.ground import DIALECTS, Ground, path, pragmas
from benchmarks.timing import Baseline, alternate, line
from pharmdb.database import targets, transactions
from pharmdb.models import MODELS
from pharmdb.seeding import seeding

MIGRATIONS = "trainer_migrations"


def statements_of(work: Callable[[], object]) -> list[str]:
    """The statements by which the work changes an SQLite database, with their values, as SQLite traced them."""
    seen: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        if arguments != ("",):
            # The temporary database in which the seed's files are checked is not traced.
            connection.set_trace_callback(seen.append)
        return connection

    with mock.patch.object(sqlite3, "connect", traced):
        work()
    return [statement for statement in seen if _writes(statement)]


def _writes(statement: str) -> bool:
    return statement.lstrip().upper().startswith(("CREATE", "DROP", "ALTER", "INSERT", "UPDATE", "DELETE"))


def raw(url: str, statements: list[str]) -> None:
    """Runs the statements in one transaction on a new connection, as pharmdb does."""
    with closing(sqlite3.connect(path(url), isolation_level=None)) as connection:
        # Like pharmdb's own connection for schema changes.
        for statement in (*pragmas(url), "PRAGMA foreign_keys = OFF"):
            connection.execute(statement)
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")


@contextmanager
def django_project(folder: Path) -> Iterator[None]:
    """Sets up Django's application in the folder, with migrations created by makemigrations."""
    from django.conf import settings
    from django.core.management import call_command

    django_baseline.models()
    package = folder / MIGRATIONS
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    with (
        mock.patch.object(sys, "path", [str(folder), *sys.path]),
        mock.patch.object(settings, "MIGRATION_MODULES", {"trainer": MIGRATIONS}, create=True),
    ):
        call_command("makemigrations", "trainer", verbosity=0)
        try:
            yield
        finally:
            django_baseline.close()
            for name in [name for name in sys.modules if name.split(".")[0] == MIGRATIONS]:
                del sys.modules[name]


def seed_rows(url: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """The rows of a known-good database by table, as Python values."""
    with transactions.reading(targets.target(url)) as connection:
        return [
            (model.__tablename__, [dict(row) for row in connection.execute(sa.select(model.__table__)).mappings()])
            for model in MODELS
        ]


def django(alias: str, rows: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """Django's own way to a known-good state: delete all rows, apply all migrations, insert the seed's rows."""
    from django.apps import apps
    from django.core.management import call_command

    call_command("flush", interactive=False, verbosity=0, database=alias)
    call_command("migrate", interactive=False, verbosity=0, database=alias)
    models = {model._meta.db_table: model for model in apps.get_app_config("trainer").get_models()}
    for table, found in rows:
        models[table].objects.using(alias).bulk_create([models[table](**row) for row in found])


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    rounds = 4 * ground.rounds
    hashes = seeding.hash_passwords(seeding.read(), {})
    with mock.patch.object(seeding, "hash_passwords", return_value=hashes), django_project(ground.folder):
        for dialect in DIALECTS:
            url = ground.empty(dialect)
            pharmdb.reset(url, backup=False)
            rows = seed_rows(url)
            works = _works(ground, dialect, url, rows)
            found = alternate(rounds, *works)
            others = [Baseline("Django: `flush`, which keeps the tables, `migrate`, the same rows", found[1])]
            if dialect == "SQLite":
                others.insert(0, Baseline("raw `sqlite3`, same DDL and rows", found[2], 5))
            yield line(f"reset in one process, without hashing, {dialect}", found[0], *others)
            django_baseline.close()


def _works(
    ground: Ground, dialect: str, url: str, rows: list[tuple[str, list[dict[str, Any]]]]
) -> list[Callable[[], object]]:
    from django.core.management import call_command

    own = ground.empty(dialect)
    if dialect == "SQLite":
        # Django does not change a file's journal mode.
        with closing(sqlite3.connect(path(own))) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    alias = django_baseline.connect(own)
    call_command("migrate", interactive=False, verbosity=0, database=alias)
    works: list[Callable[[], object]] = [lambda: pharmdb.reset(url, backup=False), lambda: django(alias, rows)]
    if dialect == "SQLite":
        statements = statements_of(lambda: pharmdb.reset(url, backup=False))
        baseline = ground.empty(dialect)
        # It starts from the same database, so that it also has tables to drop.
        with closing(sqlite3.connect(path(url))) as source, closing(sqlite3.connect(path(baseline))) as copy:
            source.backup(copy)
        works.append(lambda: raw(baseline, statements))
    return works
