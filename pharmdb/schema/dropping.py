"""Lists and drops every object in a database. Used by reset and restore."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Connection

from pharmdb.errors import ProtectedError

# Objects of extensions are kept: no migration created them. Objects that depend on a table are dropped with it.
_POSTGRESQL_OBJECTS = """
    SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                        WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind, quote_ident(relname), relname
      FROM pg_class
     WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
       AND NOT relispartition
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                          AND deptype IN ('e', 'a', 'i') AND (deptype = 'e' OR relkind = 'S'))
    UNION ALL
    SELECT CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
           oid::regprocedure::text, proname
      FROM pg_proc
     WHERE pronamespace = quote_ident(current_schema())::regnamespace
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid
                          AND deptype IN ('e', 'i'))
    UNION ALL
    SELECT CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, quote_ident(typname), typname
      FROM pg_type LEFT JOIN pg_class ON pg_class.oid = typrelid
     WHERE typnamespace = quote_ident(current_schema())::regnamespace
       AND (typtype IN ('e', 'd', 'r') OR relkind = 'c')
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = pg_type.oid
                          AND deptype = 'e')
    ORDER BY 1, 3
"""
# Everything in other schemas that a CASCADE may drop: tables, columns and their defaults, constraints, triggers, …
_OUTSIDE = """
    WITH others AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
                       AND oid <> quote_ident(current_schema())::regnamespace),
         relations AS (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM others))
    SELECT classid::int, objid::int, objsubid, pg_describe_object(classid, objid, objsubid)
      FROM (SELECT 'pg_class'::regclass, attrelid, attnum::int FROM pg_attribute
             WHERE attrelid IN (SELECT oid FROM relations) AND attnum > 0 AND NOT attisdropped
            UNION ALL SELECT 'pg_class'::regclass, oid, 0 FROM relations
            UNION ALL SELECT 'pg_attrdef'::regclass, oid, 0 FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM relations)
            UNION ALL SELECT 'pg_trigger'::regclass, oid, 0 FROM pg_trigger
                       WHERE tgrelid IN (SELECT oid FROM relations) AND NOT tgisinternal
            UNION ALL SELECT 'pg_rewrite'::regclass, oid, 0 FROM pg_rewrite
                       WHERE ev_class IN (SELECT oid FROM relations)
            UNION ALL SELECT 'pg_policy'::regclass, oid, 0 FROM pg_policy WHERE polrelid IN (SELECT oid FROM relations)
            UNION ALL SELECT 'pg_event_trigger'::regclass, oid, 0 FROM pg_event_trigger
            UNION ALL SELECT 'pg_publication_rel'::regclass, oid, 0 FROM pg_publication_rel
            UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, 0 FROM pg_statistic_ext
                       WHERE stxnamespace IN (SELECT oid FROM others)
            UNION ALL SELECT 'pg_operator'::regclass, oid, 0 FROM pg_operator
                       WHERE oprnamespace IN (SELECT oid FROM others)
            UNION ALL SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_constraint
                       WHERE connamespace IN (SELECT oid FROM others)
            UNION ALL SELECT 'pg_proc'::regclass, oid, 0 FROM pg_proc WHERE pronamespace IN (SELECT oid FROM others)
            UNION ALL SELECT 'pg_type'::regclass, oid, 0 FROM pg_type
                       WHERE typnamespace IN (SELECT oid FROM others) AND typrelid = 0 AND typelem = 0
           ) AS found (classid, objid, objsubid)
"""


def objects(connection: Connection) -> list[tuple[str, str, int | None]]:
    """Everything that would be dropped, as (kind, name, rows), sorted; only tables have rows."""
    return [(kind, name, _count(connection, name) if kind == "table" else None) for kind, name in names(connection)]


def tables(connection: Connection) -> list[str]:
    """The names of the tables that would be dropped."""
    return [name for kind, name in names(connection) if kind == "table"]


def drop_everything(connection: Connection) -> None:
    """Drops all tables, views, functions and types of the schema, inside the caller's transaction.

    Call it inside transactions.changing_schema. Raises ProtectedError if it would drop objects in another schema.
    """
    drop = {"sqlite": _drop_sqlite, "postgresql": _drop_postgresql}
    drop[connection.dialect.name](connection)


def _count(connection: Connection, table: str) -> int:
    quoted = connection.dialect.identifier_preparer.quote_identifier(table)
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {quoted}").scalar_one())


def names(connection: Connection) -> list[tuple[str, str]]:
    """Everything that would be dropped, as (kind, name), sorted."""
    list_names = {"sqlite": _names_sqlite, "postgresql": _names_postgresql}
    return list_names[connection.dialect.name](connection)


def _names_sqlite(connection: Connection) -> list[tuple[str, str]]:
    rows = connection.exec_driver_sql(
        "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' ORDER BY type, name"
    )
    return [(kind, name) for kind, name in rows]


def _names_postgresql(connection: Connection) -> list[tuple[str, str]]:
    return [(kind, name) for kind, _, name in connection.exec_driver_sql(_POSTGRESQL_OBJECTS)]


def _drop_sqlite(connection: Connection) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    # Dropping a virtual table also drops its shadow tables, so it comes first.
    rows = list(
        connection.exec_driver_sql(
            "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view') "
            "ORDER BY type = 'table', sql NOT LIKE 'CREATE VIRTUAL%'"
        )
    )
    for kind, name in rows:
        if name == "sqlite_sequence":
            connection.exec_driver_sql("DELETE FROM sqlite_sequence")
        elif not name.startswith("sqlite_") or name.startswith("sqlite_stat"):
            connection.exec_driver_sql(f"DROP {kind} IF EXISTS {quote(name)}")
    left = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name <> 'sqlite_sequence'").scalars().all()
    if left:
        # SQLite itself would only notice while new tables are made, by errors that say nothing of damage.
        error = sqlite3.DatabaseError(f"malformed database schema ({left[0]}): of no table")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _drop_postgresql(connection: Connection) -> None:
    outside = _outside(connection)
    for kind, quoted, _ in list(connection.exec_driver_sql(_POSTGRESQL_OBJECTS)):
        kind = "routine" if kind in ("aggregate", "function", "procedure") else kind
        escaped = quoted.replace("%", "%%")
        connection.exec_driver_sql(f"DROP {kind} IF EXISTS {escaped} CASCADE")
    left = _outside(connection)
    lost = sorted(text for key, text in outside.items() if key not in left)
    if lost:
        raise ProtectedError(
            expected="no objects in other schemas depending on the dropped ones",
            found=f"these would be dropped too: {', '.join(lost[:8])}",
            unchanged="everything was rolled back",
            note="drop these yourself, then run the same command again",
        )


def _outside(connection: Connection) -> dict[tuple[int, int, int], str]:
    """The objects in other schemas by their OIDs, because their descriptions depend on the search path."""
    return {(c, o, s): text for c, o, s, text in connection.exec_driver_sql(_OUTSIDE)}
