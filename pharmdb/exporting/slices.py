"""What an export consists of: slices of each table by id, and for each a version that changes with its content.

The version is what makes an export resumable. A later snapshot may differ from the one in which a file was written; the
file is kept only if the database itself proves that the slice is the same in both.

PostgreSQL marks each row with the transaction that wrote it (`xmin`), and no two transactions of a server have the same
number, unless it was set back to an earlier time, which begins a new timeline. So the same ids with the same marks are
the same rows. On a cluster each worker has numbers of its own. SQLite has no such mark: there the files' times and
sizes are the version of all slices together, and anything written to the database changes all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from pharmdb.database import placements, targets, transactions
from pharmdb.models import MODELS

# Ids in a slice: its rows are held in memory, and there is one file for each slice and bucket.
SIZE = 250_000
# Seconds in which the time of a file may stay the same although it was written to: a tick of the kernel's clock.
_TICK = 0.02


@dataclass(frozen=True)
class Slice:
    """Rows of a table with ids from `first` to `last`; `version` is "" if the database can't prove sameness."""

    table: str
    number: int
    first: int
    last: int
    rows: int
    version: str


@contextmanager
def snapshot(target: targets.Target) -> Iterator[tuple[Connection, str]]:
    """One snapshot for reading, and what identifies its content: "" if nothing does."""
    if not target.is_sqlite:
        with transactions.reading(target) as connection:
            yield connection, _history(connection)
        return
    before = _files(target.path)
    # Whatever is written from now on has a later time.
    time.sleep(_TICK)
    with transactions.reading(target) as connection:
        # A deferred transaction has its snapshot from its first statement on.
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        yield connection, before if before == _files(target.path) else ""


def _files(path: Path) -> str:
    """Which file it is, its size and when it was last changed, and the same of its write-ahead log."""
    found = []
    for file in (path, Path(f"{path}-wal")):
        if file.exists() and (status := file.stat()).st_size:
            found.append(f"{status.st_ino} {status.st_size} {status.st_ctime_ns}")
    return ", ".join(found)


def _history(connection: Connection) -> str:
    """The server and its timeline; "" if this user may not ask for them."""
    allowed = "SELECT bool_and(has_function_privilege(name, 'EXECUTE')) FROM unnest(ARRAY[{}]) AS name"
    functions = ("pg_control_system()", "pg_control_checkpoint()")
    if not connection.exec_driver_sql(allowed.format(", ".join(f"'{name}'" for name in functions))).scalar():
        return ""
    own = str(connection.exec_driver_sql(_SERVER).scalar_one())
    return own if not placements.placements(connection) else _cluster(connection, own)


_SERVER = "SELECT system_identifier || ' ' || timeline_id FROM pg_control_system(), pg_control_checkpoint()"
_SHARDS = "SELECT md5(string_agg(shardid || ' ' || groupid, ',' ORDER BY shardid, groupid)) FROM pg_dist_placement"


def _cluster(connection: Connection, own: str) -> str:
    """A cluster's servers, and which holds which shard, as one that moves gets new marks; "" if a server is silent."""
    asked = connection.exec_driver_sql(
        "SELECT success, result FROM run_command_on_workers(%(sql)s) ORDER BY nodename, nodeport", {"sql": _SERVER}
    ).all()
    if not all(success for success, _ in asked):
        return ""
    shards = connection.exec_driver_sql(_SHARDS).scalar_one()
    return ", ".join([own, *(server for _, server in asked), shards])


def of(connection: Connection, history: str) -> list[Slice]:
    """The slices of all tables, in the order of the models. Each table, or an index of it, is read once."""
    rows = {"sqlite": "0", "postgresql": "sum(hashint8extended(id, xmin::text::bigint))"}[connection.dialect.name]
    return [
        Slice(model.__tablename__, number, first, last, count, f"{history}: {mark}" if history else "")
        for model in MODELS
        for number, first, last, count, mark in connection.exec_driver_sql(
            f"SELECT id / {SIZE} AS number, min(id), max(id), count(*), {rows} FROM {model.__tablename__} "
            "GROUP BY 1 ORDER BY 1"
        )
    ]
