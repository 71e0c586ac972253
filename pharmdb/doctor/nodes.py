"""Checks of the nodes of a Citus cluster: whether each answers, their versions, and the settings of their sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection

from pharmdb.database import placements, shell_commands, targets, time_zone, transactions
from pharmdb.doctor import remedies, results
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding
from pharmdb.errors import mask

# Seconds after which Citus should have ended a prepared transaction, which it tries once a minute.
IN_DOUBT = 180


class Node(NamedTuple):
    """A node, what it said, or why it said nothing. The coordinator has the group 0."""

    host: str
    port: int
    group: int
    active: bool
    said: dict[str, Any]
    failure: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def call(self) -> str:
        """The arguments with which Citus's functions name it."""
        return f"'{self.host}', {self.port}"


def check_nodes(context: Context) -> Iterator[Finding]:
    """Yields nothing where no table is distributed."""
    if not placements.placements(context.connection):
        return
    # Its own transaction: after a command to the nodes, Citus refuses other reads in the same one.
    with transactions.watching(context.target) as connection:
        nodes = _nodes(connection)
        yield _answers(context, nodes)
        awake = [node for node in nodes if node.said]
        yield from _versions(context, awake)
        yield from _settings(context, connection, awake)
        yield from _in_doubt(context, awake)


def _nodes(connection: Connection) -> list[Node]:
    answers = {row.nodeid: row for row in connection.exec_driver_sql(_ASK, {"question": _question()})}
    nodes = []
    for row in connection.exec_driver_sql(_NODES):
        answer = answers.get(row.nodeid)
        said = json.loads(answer.result) if answer and answer.success else {}
        failure = mask(answer.result) if answer and not answer.success else ""
        nodes.append(Node(row.nodename, row.nodeport, row.groupid, row.isactive, said, failure))
    return nodes


def _answers(context: Context, nodes: list[Node]) -> Finding:
    dead = [f"{node}: {node.failure}" for node in nodes if node.active and node.failure]
    off = [node for node in nodes if not node.active]
    if dead:
        note = (
            "start it again, or let the coordinator's user log in there: nothing is lost, but meanwhile its learners "
            "can't be read or written, and no account can be changed"
        )
        return Finding("nodes", results.FAIL, "; ".join(dead), note=note)
    if off:
        command = remedies.sql_command(context.target, f"SELECT citus_activate_node({off[0].call})")
        return Finding("nodes", results.FAIL, f"disabled: {', '.join(map(str, off))}", command)
    return Finding("nodes", results.OK, f"all {len(nodes)} answer")


def _versions(context: Context, nodes: list[Node]) -> Iterator[Finding]:
    versions = {str(node): f"PostgreSQL {node.said['server']}, Citus {node.said['citus']}" for node in nodes}
    if len(set(versions.values())) == 1:
        yield Finding("node versions", results.OK, f"alike: {next(iter(versions.values()))}")
        return
    found = "; ".join(f"{place} has {version}" for place, version in versions.items())
    # As Citus writes versions: 13.2-1.
    newest = max((node.said["citus"] for node in nodes), key=_parts)
    behind = [node for node in nodes if node.said["citus"] != newest]
    if behind:
        update = on_node(context.target, behind[0], "ALTER EXTENSION citus UPDATE")
        yield Finding("node versions", results.WARN, found, update, "with the newest packages of Citus on that machine")
    else:
        note = "install the same version of PostgreSQL everywhere, and restart those servers one after the other"
        yield Finding("node versions", results.WARN, found, note=note)


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.replace("-", ".").split(".") if part.isdigit()]


def _settings(context: Context, connection: Connection, nodes: list[Node]) -> Iterator[Finding]:
    """Each setting that is not what the cluster needs, or not what the coordinator has."""
    wrong = list(_wrong_settings(context, connection, nodes))
    yield from wrong or [Finding("node settings", results.OK, "alike, as far as pharmdb and Citus need it")]


def _wrong_settings(context: Context, connection: Connection, nodes: list[Node]) -> Iterator[Finding]:
    database = connection.exec_driver_sql("SELECT quote_ident(current_database())").scalar_one()
    ours = next((node for node in nodes if node.group == 0), nodes[0])

    def differing(name: str) -> str:
        return ", ".join(f"{node} {node.said[name]}" for node in nodes if node.said[name] != ours.said[name])

    if zones := [f"{node} {node.said['TimeZone']}" for node in nodes if not time_zone.is_utc(node.said["TimeZone"])]:
        # Citus passes it on to every node, also to one that is added later.
        command = remedies.sql_command(context.target, f"ALTER DATABASE {database} SET timezone TO 'UTC'")
        yield Finding("node settings", results.WARN, f"time zone other than UTC: {', '.join(zones)}", command)
    for name in _TIMEOUTS:
        if found := differing(name):
            statement = f"ALTER DATABASE {database} SET {name} TO '{ours.said[name]}'"
            command = remedies.sql_command(context.target, statement)
            found = f"{name} {ours.said[name]} on {ours}, but {found}"
            yield Finding("node settings", results.WARN, found, command, "or the same for the role that has it")
    for node in nodes:
        if node.said["wal_level"] != "logical":
            found = (
                f"{node}: wal_level = {node.said['wal_level']}, so shards are moved only while nobody writes to them"
            )
            command = on_node(context.target, node, "ALTER SYSTEM SET wal_level TO logical")
            yield Finding("node settings", results.WARN, found, command, "and restart that server")
    for name in ("encoding", "collation"):
        if found := differing(name):
            found = f"{name} {ours.said[name]} on {ours}, but {found}"
            note = "drain and remove that node, and create its database anew like the coordinator's"
            yield Finding("node settings", results.FAIL, found, note=note)


def _in_doubt(context: Context, nodes: list[Node]) -> Iterator[Finding]:
    waiting = [f"{node.said['prepared']} on {node}" for node in nodes if node.said["prepared"]]
    if waiting:
        found = f"prepared transactions that nobody has ended, and whose rows stay locked: {', '.join(waiting)}"
        command = remedies.sql_command(context.target, "SELECT recover_prepared_transactions()")
        yield Finding("two-phase commits", results.WARN, found, command)


def on_node(target: targets.Target, node: Node, statement: str) -> str:
    """The psql command that runs a statement on a node itself, in the database of the same name."""
    there = replace(target, url=target.url.set(host=node.host, port=node.port))
    return shell_commands.psql(there, statement)


_TIMEOUTS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
_ASKED = ("TimeZone", "wal_level", *_TIMEOUTS)


def _question() -> str:
    """What a session of the coordinator on a node finds: what is set for the server, the database and the role."""
    settings = ", ".join(f"'{name}', current_setting('{name}')" for name in _ASKED)
    return f"""
        SELECT jsonb_build_object(
            {settings},
            'server', current_setting('server_version'),
            'citus', (SELECT extversion FROM pg_extension WHERE extname = 'citus'),
            'encoding', current_setting('server_encoding'),
            'collation', (SELECT datcollate FROM pg_database WHERE datname = current_database()),
            'prepared', (SELECT count(*) FROM pg_prepared_xacts
                          WHERE database = current_database() AND starts_with(gid, 'citus_')
                            AND prepared < now() - interval '{IN_DOUBT} seconds'))
    """


_ASK = "SELECT nodeid, success, result FROM run_command_on_all_nodes(%(question)s)"
_NODES = "SELECT nodeid, groupid, nodename, nodeport, isactive FROM pg_dist_node WHERE noderole = 'primary' ORDER BY 2"
