"""Guard, drop, migrate, seed: from any state to the known-good one, in one transaction."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from pharmdb import database, migrating, reports, seeding
from pharmdb.errors import ProtectedError, UnavailableError
from pharmdb.models import MODELS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ResetReport:
    """What a reset did.

    `destroyed`: kind, name (str), rows (Int64; empty for what holds none), one row for each table, view, … that was
    dropped. `seeded`: the report of the seed. `fingerprint`: the seed fingerprint, 64 hex digits.
    """

    target: str
    revision: str
    objects: tuple[tuple[str, str, int | None], ...] = field(repr=False)
    seeded: seeding.SeedReport

    @property
    def fingerprint(self) -> str:
        return self.seeded.fingerprint

    @property
    def destroyed(self) -> pd.DataFrame:
        return reports.table(list(self.objects), {"kind": "str", "name": "str", "rows": "Int64"})

    @property
    def outcome(self) -> pd.DataFrame:
        return reports.outcome(
            ok=True,
            changed=f"{len(MODELS)} tables anew, {self.seeded.changed}",
            fingerprint=self.fingerprint,
            next="pharmdb inspect",
        )


def reset(database_url: str = "", *, confirm: str = "", seed_dir: str = "") -> ResetReport:
    """Drops everything in the database, applies all revisions and seeds: the known-good state, in one transaction.

    `confirm` is the database's name; it is needed for another program's database and for a server elsewhere.

    Raises ProtectedError in production and where `confirm` is missing, SeedError, LockedError, UnavailableError;
    the database is then what it was.
    """
    target = database.target(database_url)
    if database.configured_environment() == "production":
        raise _production("PHARMDB_ENV")
    seed = seeding.read(seed_dir)
    # Before the lock is taken, because hashing is slow on purpose.
    hashes = seeding.hash_passwords(seed, {})
    if target.is_sqlite and target.path.exists():
        # A connection that writes turns the file's header to WAL; a refused file stays as it is to the last byte.
        with suppress(UnavailableError), database.reading(target) as connection:
            _guard(connection, target, _objects(connection), confirm)
    with database.changing_schema(target) as connection:
        objects = _objects(connection)
        _guard(connection, target, objects, confirm)
        destroyed = tuple((kind, name, _count(connection, name) if kind == "table" else None) for kind, name in objects)
        _drop(connection)
        migrating.upgrade(connection)
        database.stamp_environment(connection)
        seeded = seeding.apply(connection, target, seed, hashes)
        return ResetReport(str(target), migrating.current_revision(connection) or "", destroyed, seeded)


def _production(source: str) -> ProtectedError:
    return ProtectedError(
        expected="a development or test database to reset",
        found=f"{source} says production",
        next="unset PHARMDB_ENV"
        if source == "PHARMDB_ENV"
        else "point PHARMDB_URL at another database; if this one is a mere copy: "
        "UPDATE pharmdb_environment SET name = 'development'",
    )


def _guard(connection: Connection, target: database.Target, objects: list[tuple[str, str]], confirm: str) -> None:
    if database.environment(connection) == "production":
        raise _production("the database itself")
    # Alembic's own table alone says nothing, and holds nothing.
    tables = [name for kind, name in objects if kind == "table" and name != "alembic_version"]
    reason = ""
    if not database.is_local(connection):
        reason = "a server that is not on this machine"
    elif tables and not _is_ours(connection, tables):
        reason = f"another program's tables: {', '.join(tables[:8])}"
    if reason and str(confirm) != target.name:
        raise ProtectedError(
            expected=f"confirm={target.name}, to destroy all of it",
            found=f"{reason}; confirm={confirm!r}",
            next=f"check that PHARMDB_URL is right; then pharmdb reset --confirm {target.name}",
        )


def _is_ours(connection: Connection, tables: list[str]) -> bool:
    """Whether one of the tables is pharmdb's or the old system's, by name and by columns."""
    if "pharmdb_environment" in tables:
        return True
    inspector = inspect(connection)
    for model in MODELS:
        columns = set(model.__table__.columns.keys()) - {"role"}
        old = {_camel(column) for column in columns}
        for name, wanted in ((model.__tablename__, columns), (model.__name__, old)):
            if name in tables and wanted <= {column["name"] for column in inspector.get_columns(name)}:
                return True
    return False


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _count(connection: Connection, table: str) -> int:
    quoted = connection.dialect.identifier_preparer.quote_identifier(table)
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {quoted}").scalar_one())


# -- what there is, and how it goes -------------------------------------------------------------------

# Objects of extensions stay: they were not made by anyone's migration. What hangs on a table goes with it.
_POSTGRESQL_OBJECTS = """
    SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                        WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind, quote_ident(relname), relname
      FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
       AND NOT relispartition
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                          AND deptype IN ('e', 'a', 'i') AND (deptype = 'e' OR relkind = 'S'))
    UNION ALL
    SELECT CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
           oid::regprocedure::text, proname
      FROM pg_proc
     WHERE pronamespace = current_schema()::regnamespace
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid
                          AND deptype IN ('e', 'i'))
    UNION ALL
    SELECT CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, quote_ident(typname), typname
      FROM pg_type LEFT JOIN pg_class ON pg_class.oid = typrelid
     WHERE typnamespace = current_schema()::regnamespace
       AND (typtype IN ('e', 'd', 'r') OR relkind = 'c')
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = pg_type.oid
                          AND deptype = 'e')
    ORDER BY 1, 3
"""
# All that a CASCADE may take with it in other schemas: tables, columns and their defaults, constraints, triggers, …
_OUTSIDE = """
    WITH others AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
                       AND oid <> current_schema()::regnamespace),
         relations AS (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM others) AND relkind <> 'i')
    SELECT pg_describe_object(classid, objid, objsubid)
      FROM (SELECT 'pg_class'::regclass, attrelid, attnum::int FROM pg_attribute
             WHERE attrelid IN (SELECT oid FROM relations) AND attnum > 0 AND NOT attisdropped
            UNION ALL SELECT 'pg_class'::regclass, oid, 0 FROM relations
            UNION ALL SELECT 'pg_attrdef'::regclass, oid, 0 FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM relations)
            UNION ALL SELECT 'pg_trigger'::regclass, oid, 0 FROM pg_trigger
                       WHERE tgrelid IN (SELECT oid FROM relations) AND NOT tgisinternal
            UNION ALL SELECT 'pg_constraint'::regclass, oid, 0 FROM pg_constraint
                       WHERE connamespace IN (SELECT oid FROM others)
            UNION ALL SELECT 'pg_proc'::regclass, oid, 0 FROM pg_proc WHERE pronamespace IN (SELECT oid FROM others)
            UNION ALL SELECT 'pg_type'::regclass, oid, 0 FROM pg_type
                       WHERE typnamespace IN (SELECT oid FROM others) AND typrelid = 0 AND typelem = 0
           ) AS found (classid, objid, objsubid)
"""


def _objects(connection: Connection) -> list[tuple[str, str]]:
    """Everything that a reset drops, as (kind, name), in the order in which it is shown."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(
            "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' "
            "ESCAPE '\\' ORDER BY type, name"
        )
        return [(kind, name) for kind, name in rows]
    return [(kind, name) for kind, _, name in connection.exec_driver_sql(_POSTGRESQL_OBJECTS)]


def _drop(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        _drop_sqlite(connection)
    else:
        _drop_postgresql(connection)


def _drop_sqlite(connection: Connection) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    # A virtual table takes its shadow tables with it, so it goes before them.
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


def _drop_postgresql(connection: Connection) -> None:
    outside = set(connection.exec_driver_sql(_OUTSIDE).scalars())
    for kind, quoted, _ in list(connection.exec_driver_sql(_POSTGRESQL_OBJECTS)):
        kind = "routine" if kind in ("aggregate", "function", "procedure") else kind
        escaped = quoted.replace("%", "%%")
        connection.exec_driver_sql(f"DROP {kind} IF EXISTS {escaped} CASCADE")
    lost = sorted(outside - set(connection.exec_driver_sql(_OUTSIDE).scalars()))
    if lost:
        raise ProtectedError(
            expected="nothing in other schemas to hang on what a reset drops",
            found=f"what would go with it: {', '.join(lost[:8])}",
            unchanged="everything was rolled back",
            next="drop these yourself, then run pharmdb reset again",
        )
