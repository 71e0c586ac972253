"""What keeps a database from being distributed, each with the next command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from pharmdb.cluster.planning import Table
from pharmdb.database import shell_commands, targets
from pharmdb.database.placements import has_citus

SHOWN = 5


class Obstacle(NamedTuple):
    """`command` is what to run next, or "" where the `note` says what to do."""

    what: str
    expected: str
    found: str
    command: str = ""
    note: str = ""


# The same for an SQLite file and for a server without Citus.
NO_CITUS = Obstacle(
    "extension",
    "a PostgreSQL database with the extension citus",
    "a database without it",
    note="set PHARMDB_URL to a database on the coordinator of a Citus cluster: see docs/distributed.md",
)


def obstacles(connection: Connection, target: targets.Target, tables: Sequence[Table], *, back: bool) -> list[Obstacle]:
    """What is in the way of distributing these tables, or of bringing them back; empty if nothing is."""
    if not has_citus(connection):
        if target.is_sqlite or not connection.exec_driver_sql(_INSTALLED).scalar_one():
            return [NO_CITUS]
        create = shell_commands.psql(target, "CREATE EXTENSION citus")
        return [NO_CITUS._replace(found="the extension is installed, but not created in this database", command=create)]
    return list(_on_citus(connection, target, tables, back=back))


def workers(connection: Connection) -> int:
    """The number of workers that the coordinator knows; 0 without Citus."""
    if not has_citus(connection):
        return 0
    return int(connection.exec_driver_sql("SELECT count(*) FROM citus_get_active_worker_nodes()").scalar_one())


def _on_citus(
    connection: Connection, target: targets.Target, tables: Sequence[Table], *, back: bool
) -> Iterator[Obstacle]:
    if not workers(connection):
        yield Obstacle(
            "worker",
            "a cluster with at least one active worker",
            "none",
            shell_commands.psql(target, "SELECT citus_add_node('127.0.0.1', 5433)"),
            "with the host and port of the worker",
        )
    for table in tables:
        if table.placed not in ("", table.placement):
            found = f"{table.name} is placed by {table.placed}, not by {table.placement}"
            back_again = f"SELECT undistribute_table('{table.name}', cascade_via_foreign_keys => true)"
            command = shell_commands.psql(target, back_again)
            yield Obstacle("placement", "tables placed as the models say", found, command)
    ours = {"names": [table.name for table in tables]}
    sharded = {"names": [table.name for table in tables if table.is_sharded]}
    for table_name, name in connection.exec_driver_sql(_TRIGGERS, ours):
        command = shell_commands.psql(target, f"DROP TRIGGER {name} ON {table_name}")
        yield Obstacle("trigger", "tables without triggers", f"the trigger {name} on {table_name}", command)
    for table_name, name in connection.exec_driver_sql(_FOREIGN, ours):
        yield Obstacle(
            "foreign key",
            "no foreign keys between pharmdb's tables and another program's",
            f"{name} of {table_name}",
            shell_commands.psql(target, f"ALTER TABLE {table_name} DROP CONSTRAINT {name}"),
        )
    for table_name, name, is_constraint in () if back else connection.exec_driver_sql(_UNIQUE, sharded):
        drop = f"ALTER TABLE {table_name} DROP CONSTRAINT {name}" if is_constraint else f"DROP INDEX {name}"
        yield Obstacle(
            "unique key",
            "user_id in every unique key, because no node sees the rows of all users",
            f"{name} of {table_name}",
            shell_commands.psql(target, drop),
        )
    for (table_name,) in () if back else connection.exec_driver_sql(_IDENTITY, ours):
        yield Obstacle(
            "identity column",
            "ids from a sequence",
            f"an identity column in {table_name}",
            targets.command(target, "pharmdb reset"),
            "the models have none: this database was not made by pharmdb's revisions",
        )


_INSTALLED = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citus')"
_OWN = "relnamespace = quote_ident(current_schema())::regnamespace AND relname = ANY (%(names)s)"
_TRIGGERS = f"""
    SELECT quote_ident(relname), quote_ident(tgname) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
     WHERE NOT tgisinternal AND {_OWN} ORDER BY 1, 2
"""
# Foreign keys that lead from another table to ours, or from ours to another.
_FOREIGN = f"""
    WITH ours AS (SELECT oid FROM pg_class WHERE {_OWN})
    SELECT conrelid::regclass::text, quote_ident(conname) FROM pg_constraint
     WHERE contype = 'f' AND (conrelid IN (SELECT oid FROM ours)) <> (confrelid IN (SELECT oid FROM ours)) ORDER BY 1, 2
"""
# The primary key is ours to change.
_UNIQUE = f"""
    SELECT quote_ident(pg_class.relname), indexrelid::regclass::text, conname IS NOT NULL
      FROM pg_index JOIN pg_class ON pg_class.oid = indrelid LEFT JOIN pg_constraint ON conindid = indexrelid
       AND contype IN ('u', 'x')
     WHERE (indisunique OR indisexclusion) AND NOT indisprimary AND {_OWN}
       AND NOT EXISTS (SELECT FROM pg_attribute
                        WHERE attrelid = indrelid AND attname = 'user_id' AND attnum = ANY (indkey[0:indnkeyatts - 1]))
     ORDER BY 1, 2
"""
_IDENTITY = f"""
    SELECT quote_ident(relname) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
     WHERE attidentity <> '' AND {_OWN} ORDER BY 1
"""
