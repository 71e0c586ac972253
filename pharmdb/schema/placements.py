"""Where a Citus cluster keeps each table: on every node, or in shards by a column. Elsewhere no table is placed."""

from __future__ import annotations

from sqlalchemy import Connection

from pharmdb.database import targets
from pharmdb.errors import DistributedError

REFERENCE = "reference"
# Citus's own kind of table on the coordinator, which a foreign key to a reference table makes of a plain one.
LOCAL = "local"


def has_citus(connection: Connection) -> bool:
    """Whether the extension is created in this database."""
    if connection.dialect.name != "postgresql":
        return False
    return connection.exec_driver_sql("SELECT 1 FROM pg_extension WHERE extname = 'citus'").first() is not None


def placements(connection: Connection) -> dict[str, str]:
    """Table -> "reference", or the column whose hash decides about the shard, for the distributed tables."""
    if not has_citus(connection):
        return {}
    found = connection.exec_driver_sql(_PLACEMENTS)
    return {table: placement for table, placement in found if placement != LOCAL}


# Sorted, so that a list of them reads the same every time.
_PLACEMENTS = """
    SELECT relname, CASE WHEN partmethod <> 'n' THEN column_to_column_name(logicalrelid, partkey)
                         WHEN repmodel = 't' THEN 'reference' ELSE 'local' END
      FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid
     WHERE relnamespace = quote_ident(current_schema())::regnamespace ORDER BY relname
"""


def refuse_distributed(connection: Connection, target: targets.Target, command: str) -> None:
    """Raises DistributedError if a table is distributed: a `command` that makes tables anew would un-distribute it."""
    placed = placements(connection)
    if placed:
        there = " && ".join(
            targets.command(target, text)
            for text in ("pharmdb distribute --back --no-dry-run", command, "pharmdb distribute --no-dry-run")
        )
        raise DistributedError(
            expected=f"a database that is not distributed, because `{command}` makes its tables anew",
            found=f"{len(placed)} distributed tables: {', '.join(placed)}",
            command=there,
            note="this brings the tables back to one server, and distributes them again afterwards",
        )
