"""Checks of a Citus cluster: where each table is, whether every node answers, and how evenly the rows are spread."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from pharmdb.cluster import placing, planning
from pharmdb.database import placements, transactions
from pharmdb.doctor import remedies, results
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding

# Below this difference in bytes it does not matter which node has more.
UNEVEN = 2**30


def check_nodes(context: Context) -> Iterator[Finding]:
    """Yields nothing where no table is distributed."""
    if not placements.placements(context.connection):
        return
    # Its own transaction: after a command to the nodes, Citus refuses other reads in the same one.
    with transactions.watching(context.target) as connection:
        answers = list(_answers(context, connection))
        yield from answers
        if all(finding.state != results.FAIL for finding in answers):
            yield _placement(context, connection)
            yield _balance(context, connection)


def _placement(context: Context, connection: Connection) -> Finding:
    steps = planning.forward(placing.tables(connection))
    if not steps:
        return Finding("placement", results.OK, "every table as the models say")
    names = ", ".join(dict.fromkeys(step.table for step in steps))
    return Finding("placement", results.FAIL, f"not distributed: {names}", context.command("distribute --no-dry-run"))


def _answers(context: Context, connection: Connection) -> Iterator[Finding]:
    answers = connection.exec_driver_sql(_ASK).all()
    dead = [f"{name}:{port}: {text}" for name, port, success, text in answers if not success]
    if dead:
        note = "start it again: nothing is lost, but meanwhile its learners can't be read and no account can be written"
        yield Finding("nodes", results.FAIL, "; ".join(dead), note=note)
    else:
        yield Finding("nodes", results.OK, f"all {len(answers)} answer")
    versions = {text: f"{name}:{port}" for name, port, success, text in answers if success}
    if len(versions) > 1:
        found = "; ".join(f"{place} has {version}" for version, place in sorted(versions.items()))
        update = remedies.sql_command(context.target, "ALTER EXTENSION citus UPDATE")
        yield Finding("node versions", results.WARN, found, update, "on the node with the older version")
    else:
        yield Finding("node versions", results.OK, f"alike: {', '.join(versions)}")


def _balance(context: Context, connection: Connection) -> Finding:
    sizes = {f"{name}:{port}": int(size) for name, port, size in connection.exec_driver_sql(_SIZES)}
    largest, smallest = max(sizes.values()), min(sizes.values())
    if largest - smallest > max(UNEVEN, smallest):
        found = ", ".join(f"{place} {size / 2**30:.1f} GiB" for place, size in sizes.items())
        command = remedies.sql_command(context.target, "SELECT citus_rebalance_start()")
        return Finding("balance", results.WARN, found, command)
    return Finding("balance", results.OK, f"shards on {len(sizes)} workers, none with twice as much as another")


_ASK = """
    SELECT nodename, nodeport, success, result
      FROM run_command_on_all_nodes($$SELECT 'PostgreSQL ' || current_setting('server_version') || ', Citus ' ||
                                      extversion FROM pg_extension WHERE extname = 'citus'$$)
      JOIN pg_dist_node USING (nodeid) ORDER BY 1, 2
"""
# A worker without a shard counts as one of no size.
_SIZES = """
    SELECT node.nodename, node.nodeport, coalesce(sum(shard_size), 0)
      FROM pg_dist_node AS node LEFT JOIN citus_shards AS shard
        ON (shard.nodename, shard.nodeport) = (node.nodename, node.nodeport) AND citus_table_type = 'distributed'
     WHERE isactive AND shouldhaveshards AND noderole = 'primary' GROUP BY 1, 2 ORDER BY 1, 2
"""
