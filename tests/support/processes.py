"""Processes for what is done at once. Each is a fork of one that has all imports done, so it starts at once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import ForkServerContext
from typing import Any

# What a command would otherwise import in the middle of its work. A test run has one such process: there is one list.
_PRELOADED = [
    "alembic.command",
    "argon2",
    "bcrypt",
    "numpy.random",
    "pharmdb.accounts.managing",
    "pharmdb.backups.restoring",
    "pharmdb.cohorts.building",
    "pharmdb.schema.drift",
    "pharmdb.migration.migrating",
    "pharmdb.models",
    "pharmdb.seeding.resetting",
    "pharmdb.legacy.upgrading",
    "psutil",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
]


def warm() -> ForkServerContext:
    """Where processes come from. They have the environment of the first of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def pool(processes: int, begin: Callable[..., None] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """So many processes with today's settings; each of them begins with `begin(*arguments)`."""
    settings = {name: value for name, value in os.environ.items() if name.startswith("PHARMDB_")}
    return ProcessPoolExecutor(processes, mp_context=warm(), initializer=_begin, initargs=(settings, begin, arguments))


def _begin(settings: dict[str, str], begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    for name in [name for name in os.environ if name.startswith("PHARMDB_")]:
        del os.environ[name]
    os.environ.update(settings)
    if begin:
        begin(*arguments)
