"""Checks of what the nodes of a Citus cluster hold: where each table is, and how evenly its shards are spread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection

from pharmdb.cluster import placing, planning
from pharmdb.database import placements, servers, transactions
from pharmdb.doctor import remedies, results
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding
from pharmdb.errors import mask

# Below this difference in bytes it does not matter which node has more.
UNEVEN = 2**30


class Worker(NamedTuple):
    """A worker, the shards of sharded tables on it with their bytes, and the reference tables that it has no copy of.

    `keeps`: whether it is meant to have shards; not while it is drained.
    """

    host: str
    port: int
    keeps: bool
    shards: int
    size: int
    lacks: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def call(self) -> str:
        """The arguments with which Citus's functions name it."""
        return f"'{self.host}', {self.port}"


def check_shards(context: Context) -> Iterator[Finding]:
    """Yields nothing where no table is distributed."""
    placed = placements.placements(context.connection)
    if not placed:
        return
    with transactions.watching(context.target) as connection:
        yield _placement(context, connection, placed)
        if servers.is_standby(connection):
            # There Citus refuses to measure the shards; to move them is the primary's affair.
            return
        workers = [Worker(*row) for row in connection.exec_driver_sql(_WORKERS)]
        yield from _copies(context, workers)
        yield _balance(context, connection, workers)


def _placement(context: Context, connection: Connection, placed: dict[str, str]) -> Finding:
    steps = planning.forward(placing.tables(connection))
    if steps:
        names = ", ".join(dict.fromkeys(step.table for step in steps))
        command = context.command("distribute --no-dry-run")
        return Finding("placement", results.FAIL, f"not distributed: {names}", command)
    by = dict.fromkeys(placed.values())
    found = "; ".join(f"{kind}: {', '.join(name for name in placed if placed[name] == kind)}" for kind in by)
    return Finding("placement", results.OK, found)


def _copies(context: Context, workers: list[Worker]) -> Iterator[Finding]:
    lacking = [str(worker) for worker in workers if worker.lacks]
    if lacking:
        found = f"no copy of the reference tables on {', '.join(lacking)}"
        command = remedies.sql_command(context.target, "SELECT replicate_reference_tables()")
        yield Finding("reference tables", results.WARN, found, command)


def _balance(context: Context, connection: Connection, workers: list[Worker]) -> Finding:
    def told(found: str, statement: str, note: str = "") -> Finding:
        return Finding("balance", results.WARN, found, remedies.sql_command(context.target, statement), note)

    job = connection.exec_driver_sql(_JOB).one()
    if job.moving:
        note = (
            "reading and writing go on, but a backup, a change of the schema, a reset or a restore waits for each move"
        )
        return Finding(
            "balance", results.OK, f"shards are being moved; {job.left} further moves are planned", note=note
        )
    for worker in workers:
        if not worker.keeps and worker.shards:
            found = f"{worker} is to be drained, and still has {worker.shards} shards"
            return told(found, f"SELECT citus_drain_node({worker.call})")
    for worker in workers:
        if not worker.keeps:
            note = f"or, to use it again: SELECT citus_set_node_property({worker.call}, 'shouldhaveshards', true)"
            return told(f"{worker} is drained: it has no shards", f"SELECT citus_remove_node({worker.call})", note)
    failed = f"the last rebalance failed: {mask(job.message)}" if job.state == "failed" else ""
    sizes = [worker.size for worker in workers]
    if empty := [str(worker) for worker in workers if not worker.shards]:
        found = f"no shards on {', '.join(empty)}"
    elif max(sizes) - min(sizes) > max(UNEVEN, min(sizes)):
        found = ", ".join(f"{worker} {worker.size / 2**30:.1f} GiB" for worker in workers)
    else:
        found = f"shards on {len(workers)} workers, none with twice as much as another"
        return Finding("balance", results.OK, found)
    return told(found, "SELECT citus_rebalance_start()", failed)


# The coordinator is one of them only if it is meant to have shards. A worker without a shard has one row, too.
_WORKERS = """
    WITH reference AS (SELECT shardid FROM pg_dist_shard JOIN pg_dist_partition USING (logicalrelid)
                        WHERE partmethod = 'n' AND repmodel = 't')
    SELECT node.nodename, node.nodeport, shouldhaveshards, count(shard_size), coalesce(sum(shard_size), 0)::bigint,
           (SELECT count(*) FROM reference
             WHERE NOT EXISTS (SELECT FROM pg_dist_placement AS placement
                                WHERE placement.shardid = reference.shardid AND placement.groupid = node.groupid))
      FROM pg_dist_node AS node LEFT JOIN citus_shards AS shard
        ON (shard.nodename, shard.nodeport) = (node.nodename, node.nodeport) AND citus_table_type = 'distributed'
     WHERE isactive AND noderole = 'primary' AND (groupid <> 0 OR shouldhaveshards)
     GROUP BY node.nodename, node.nodeport, shouldhaveshards, node.groupid ORDER BY 1, 2
"""
# What was planned last; a drain of a single session is no job.
_JOB = """
    WITH job AS (SELECT job_id, state::text FROM pg_dist_background_job ORDER BY job_id DESC LIMIT 1)
    SELECT (SELECT state FROM job),
           (SELECT state FROM job) IN ('scheduled', 'running', 'cancelling', 'failing')
             OR EXISTS (SELECT FROM get_rebalance_progress()) AS moving,
           (SELECT count(*) FROM pg_dist_background_task JOIN job USING (job_id)
             WHERE status IN ('blocked', 'runnable', 'running')) AS left,
           (SELECT split_part(message, E'\\n', 1) FROM pg_dist_background_task JOIN job USING (job_id)
             WHERE status = 'error' ORDER BY task_id LIMIT 1) AS message
"""
