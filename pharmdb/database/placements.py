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


# A plain table with a foreign key to a reference table is listed by Citus, too, and is not distributed.
_PLACEMENTS = """
    SELECT relname, CASE WHEN partmethod = 'n' THEN 'reference'
                         ELSE column_to_column_name(logicalrelid, partkey) END AS placement
      FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid
     WHERE relnamespace = quote_ident(current_schema())::regnamespace AND (partmethod <> 'n' OR repmodel = 't')
     ORDER BY relname
"""
