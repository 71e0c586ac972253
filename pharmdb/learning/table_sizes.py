"""The size of each table with its indexes, in bytes."""

from __future__ import annotations

from sqlalchemy import Connection

from pharmdb.database import placements, servers
from pharmdb.models import MODELS

# The most pages of a table or index in an SQLite file that are read to determine its size.
PAGES = 1000

# Table -> size in bytes, and "measured" or "estimated".
Sizes = dict[str, tuple[float, str]]


def measure(connection: Connection, counts: dict[str, int]) -> Sizes:
    """The tables' sizes; `counts` maps each table to its number of rows. Empty if the database can't tell."""
    if connection.dialect.name == "postgresql":
        return _on_postgresql(connection)
    return _on_sqlite(connection, counts)


def _on_postgresql(connection: Connection) -> Sizes:
    """The size of each table with its indexes, as the server reports it."""
    names = ", ".join(f"'{model.__tablename__}'" for model in MODELS)
    found = connection.exec_driver_sql(
        f"SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relname IN ({names}) "
        "AND relnamespace = quote_ident(current_schema())::regnamespace AND relkind = 'r'"
    )
    sizes = {name: (size, "measured") for name, size in found}
    for name in placements.placements(connection):
        # A distributed table is empty on the coordinator; this is its size on all nodes.
        size = connection.exec_driver_sql(f"SELECT citus_total_relation_size('{name}')").scalar_one()
        sizes |= {name: (size, "measured")} if name in sizes else {}
    return sizes


def _on_sqlite(connection: Connection, counts: dict[str, int]) -> Sizes:
    """The size of each table with its indexes, measured or estimated; empty without dbstat.

    SQLite stores no page counts, so pages have to be read: the size of a large table or index is estimated from the
    number of rows on its first pages.
    """
    if not connection.exec_driver_sql("SELECT 1 FROM pragma_module_list WHERE name = 'dbstat'").first():
        return {}
    sizes: dict[str, float] = {}
    whole = servers.size(connection)
    estimated = set()
    trees = connection.exec_driver_sql("SELECT tbl_name, name FROM sqlite_master WHERE rootpage > 0").all()
    for table, name in trees:
        if table not in counts:
            continue
        pages, size, rows = connection.exec_driver_sql(
            "SELECT count(*), sum(pgsize), sum(ncell) FILTER (WHERE pagetype = 'leaf') "
            "FROM (SELECT pgsize, ncell, pagetype FROM dbstat WHERE name = ? LIMIT ?)",
            (name, PAGES),
        ).one()
        if pages == PAGES:
            estimated.add(table)
            # An estimate is never less than what was read.
            size = min(max(size, size * counts[table] / max(rows or 0, 1)), whole)
        sizes[table] = sizes.get(table, 0) + size
    return {table: (size, "estimated" if table in estimated else "measured") for table, size in sizes.items()}
