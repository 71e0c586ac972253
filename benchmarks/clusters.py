"""A Citus cluster against the coordinator's server alone, where PHARMDB_TEST_CITUS_URL names a coordinator's database.

The cluster gets databases of its own, on as many of its workers as a measurement needs; they are dropped at the end.
All nodes on one machine share its processors: the figures show what a cluster costs, not what it gains.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

import pharmdb
from benchmarks import framing, users_measuring
from benchmarks import ground as grounds
from benchmarks.cohorts import EACH
from benchmarks.ground import Ground
from benchmarks.timing import Baseline, alternate, line

VARIABLE = "PHARMDB_TEST_CITUS_URL"
# How many times as long as on one server a dataframe of all attempts may take.
MOST_FRAME = 2.0
_number = count()


def workers(url: str) -> list[tuple[str, int]]:
    """Host and port of the active workers that the coordinator's database knows."""
    with psycopg.connect(grounds.dsn(url)) as connection:
        return [
            (str(host), int(port))
            for host, port in connection.execute(
                "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid > 0 AND isactive ORDER BY nodeid"
            )
        ]


@contextmanager
def database(url: str, nodes: list[tuple[str, int]]) -> Iterator[str]:
    """The URL of a new database on the coordinator and on these workers; without workers it is a plain one."""
    coordinator = make_url(url)
    name = f"pharmdb_bench_{os.getpid()}_{next(_number)}"
    places = [coordinator, *(coordinator.set(host=host, port=port, query={}) for host, port in nodes)]
    for place in places:
        _run(place, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        if nodes:
            _run(place.set(database=name), sql.SQL("CREATE EXTENSION citus"))
    made = coordinator.set(database=name)
    if nodes:
        own = sql.SQL("SELECT citus_set_coordinator_host(h, p) FROM (VALUES ({}, {})) AS n (h, p)")
        _run(made, own.format(sql.Literal(coordinator.host), sql.Literal(coordinator.port or 5432)))
        for host, port in nodes:
            _run(made, sql.SQL("SELECT citus_add_node({}, {})").format(sql.Literal(host), sql.Literal(port)))
    try:
        yield made.render_as_string(hide_password=False)
    finally:
        for place in places:
            _run(place, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _run(place: URL, statement: sql.SQL | sql.Composed) -> None:
    with psycopg.connect(grounds.dsn(place.render_as_string(hide_password=False)), autocommit=True) as connection:
        connection.execute(statement)


def prepared(url: str, *, distributed: bool) -> None:
    """Makes the known-good database, and distributes it."""
    pharmdb.reset(url, backup=False)
    if distributed:
        pharmdb.distribute(url, dry_run=False)


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table; none without a cluster. The measured points of the users are kept by a full run."""
    url = os.environ.get(VARIABLE, "")
    if not url:
        print(f"cluster: skipped, because {VARIABLE} names no coordinator", file=sys.stderr)
        return
    nodes = workers(url)
    yield from _frames(ground, url, nodes)
    setups = {number: nodes[:number] for number in (0, 1, 2, 3) if number <= len(nodes)}
    with ExitStack() as stack:
        urls = {number: stack.enter_context(database(url, some)) for number, some in setups.items()}
        for number, made in urls.items():
            prepared(made, distributed=number > 0)
        points = list(users_measuring.points(ground, urls))
    users_measuring.write(points, ground.folder / "users.csv", url)
    yield from users_measuring.lines(points)


def _frames(ground: Ground, url: str, nodes: list[tuple[str, int]]) -> Iterator[str]:
    with database(url, []) as plain, database(url, nodes) as spread:
        for made in (plain, spread):
            prepared(made, distributed=made is spread)
            pharmdb.cohort(made, learners=max(2, round(ground.attempts / EACH)))
        # The first read comes before any statistics are there.
        begin = [alternate(1, partial(framing.ours, made))[0] for made in (spread, plain)]
        works: list[Callable[[], object]] = [partial(framing.ours, made) for made in (spread, plain)]
        works.append(partial(copied, spread))
        there, here, raw = alternate(ground.rounds, *works)
    work = f"frame of {ground.attempts:,} attempts, {len(nodes)} workers"
    yield line(f"{work}, the first read", begin[0], Baseline("the same server, not distributed", begin[1], MOST_FRAME))
    yield line(
        work,
        there,
        Baseline("the same server, not distributed", here, MOST_FRAME),
        Baseline("`COPY` of the distributed table, thrown away", raw),
    )


def copied(url: str) -> int:
    """The bytes of all attempts, as the driver gives them."""
    with (
        psycopg.connect(grounds.dsn(url)) as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY attempts TO STDOUT") as copy,
    ):
        return sum(map(len, copy))
