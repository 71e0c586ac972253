"""Where a Citus cluster keeps each table: on every node, or in shards by a column. Elsewhere no table is placed."""

from __future__ import annotations

from sqlalchemy import Connection

REFERENCE = "reference"
# The column whose hash decides about the shard, in all tables that are not copied to every node.
SHARDED_BY = "user_id"
# A key of Connection.info: whether its server is known to belong to a cluster.
IN_CLUSTER = "pharmdb_in_cluster"


def has_citus(connection: Connection) -> bool:
    """Whether the extension is created in this database."""
    if connection.dialect.name != "postgresql":
        return False
    return connection.exec_driver_sql("SELECT 1 FROM pg_extension WHERE extname = 'citus'").first() is not None


def placements(connection: Connection) -> dict[str, str]:
    """Table -> "reference", or the column whose hash decides about the shard, for the distributed tables by name."""
    if not has_citus(connection):
        return {}
    return {row.relname: row.placement for row in connection.exec_driver_sql(_PLACEMENTS)}


def managed(connection: Connection) -> set[str]:
    """The tables that Citus plans queries for: those that are placed, and those that only refer to one of them."""
    return set(connection.exec_driver_sql(_MANAGED).scalars()) if has_citus(connection) else set()


def leftovers(connection: Connection) -> set[str]:
    """The shards on this node that Citus is about to drop: for a while after a move it doesn't hide them."""
    return set(connection.exec_driver_sql(_LEFTOVERS).scalars()) if has_citus(connection) else set()


# A plain table with a foreign key to a reference table is listed by Citus, too, and is not distributed.
_PLACEMENTS = """
    SELECT relname, CASE WHEN partmethod = 'n' THEN 'reference'
                         ELSE column_to_column_name(logicalrelid, partkey) END AS placement
      FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid
     WHERE relnamespace = quote_ident(current_schema())::regnamespace AND (partmethod <> 'n' OR repmodel = 't')
     ORDER BY relname
"""
_MANAGED = """
    SELECT relname FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid
     WHERE relnamespace = quote_ident(current_schema())::regnamespace
"""
_LEFTOVERS = """
    SELECT relname FROM pg_dist_cleanup JOIN pg_class ON pg_class.oid = to_regclass(object_name)
     WHERE node_group_id = (SELECT groupid FROM pg_dist_local_group)
       AND relnamespace = quote_ident(current_schema())::regnamespace
"""
