"""Django as a baseline: configured once in this process, and connected to one database after another."""

from __future__ import annotations

from typing import Any

from benchmarks import ground
from pharmdb.database import targets


def _configure() -> None:
    import django
    from django.conf import settings

    if settings.configured:
        return
    persistent = {"CONN_MAX_AGE": None}
    settings.configure(
        DATABASES={
            "default": {},
            "sqlite": persistent | {"ENGINE": "django.db.backends.sqlite3", "NAME": ""},
            "postgresql": persistent | {"ENGINE": "django.db.backends.postgresql", "NAME": ""},
        },
        USE_TZ=True,
        INSTALLED_APPS=["benchmarks.trainer"],
    )
    django.setup()


def connect(url: str, *, write: bool = True) -> str:
    """The alias for `.using(…)` of a connection to this database with pharmdb's own settings."""
    _configure()
    from django.db import connections

    alias = "sqlite" if url.startswith("sqlite") else "postgresql"
    connection = connections[alias]
    connection.close()
    if alias == "sqlite":
        # Django's documentation recommends IMMEDIATE for several processes, and pharmdb uses it too.
        mode = "IMMEDIATE" if write else "DEFERRED"
        options = {"init_command": "; ".join(ground.pragmas(url)), "transaction_mode": mode}
        connection.settings_dict.update(NAME=str(ground.path(url)), OPTIONS=options)
    else:
        found = targets.target(url).url
        connection.settings_dict.update(NAME=found.database, USER=found.username, HOST=found.query["host"])

    def ask(statement: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]

    ground.require_same(url, "Django", ask)
    return alias


def close() -> None:
    """Closes all connections, so that an SQLite file can be replaced or a PostgreSQL database dropped."""
    from django.db import connections

    connections.close_all()


def models() -> Any:
    """The application's models."""
    _configure()
    from benchmarks.trainer import models

    return models
