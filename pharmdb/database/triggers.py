"""Triggers and rules of the tables: pharmdb creates none, and one may drop or change the rows that are written."""

from __future__ import annotations

from sqlalchemy import Connection

from pharmdb.errors import RevisionError


def names(connection: Connection) -> list[str]:
    """The triggers and rules of the schema's tables as table.name, sorted."""
    return list(connection.exec_driver_sql(_NAMES[connection.dialect.name]).scalars())


_NAMES = {
    "sqlite": "SELECT tbl_name || '.' || name FROM sqlite_master WHERE type = 'trigger' ORDER BY 1",
    "postgresql": """
        SELECT relname || '.' || tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
         WHERE NOT tgisinternal AND tgenabled <> 'D' AND relnamespace = quote_ident(current_schema())::regnamespace
         UNION
        SELECT tablename || '.' || rulename FROM pg_rules WHERE schemaname = current_schema()
         ORDER BY 1
    """,
}


def swallowed(connection: Connection, table: str, rows: int) -> RevisionError:
    """The error for rows that were written without an error, and are not there."""
    found = ", ".join(names(connection)) or "a policy or a trigger that this role can't see"
    return RevisionError(
        expected=f"the rows that are written to {table} to be there",
        found=f"{rows} are not: dropped by one of {found}",
        unchanged="everything was rolled back",
        note="drop it, or change it so that it lets pharmdb's rows through, then run the same command again",
    )
