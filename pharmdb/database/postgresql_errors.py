"""Translates PostgreSQL's errors into typed ones by SQLSTATE.

libpq reports no SQLSTATE for a failed connection, so the server is probed for the cause.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, exc

from pharmdb.database import engines, index_limits, lock_holders, servers, shell_commands, targets
from pharmdb.database.targets import Target
from pharmdb.errors import (
    LoginRefusedError,
    LostConnectionError,
    NodeDownError,
    NoPermissionError,
    NoRoomError,
    NoSuchDatabaseError,
    PharmdbError,
    ProtectedError,
    ReadOnlyError,
    ReplayConflictError,
    ServerDownError,
    TornSchemaError,
    UnavailableError,
    UnstorableError,
)
from pharmdb.models import MODELS

_AGAIN = "run the same command again"
_ROLLED_BACK = "what was under way was rolled back"
# Seconds that probing a server for the cause of a failed connection may take.
_PATIENCE = 5


def explain(target: Target, error: BaseException) -> PharmdbError | None:
    """The typed error for a driver error, or None if the cause is unknown."""
    if isinstance(error, exc.NoSuchTableError):
        # A table that was listed a moment before.
        return _explain_missing(target, f"no table {error}") or _explain_changed(target, f"no table {error} any more")
    from psycopg import OperationalError

    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    code: str | None = getattr(error, "sqlstate", None)
    if code is not None:
        return _explain_state(target, code, first, error)
    return _explain_connection(target, error, first) if isinstance(error, OperationalError) else None


def is_of_a_node(error: BaseException | None) -> bool:
    """Whether a coordinator reports a lost connection to a node: then our session goes on, and this is no FATAL."""
    code, diagnosis = getattr(error, "sqlstate", None) or "", getattr(error, "diag", None)
    return code.startswith(("57P", "08")) and getattr(diagnosis, "severity_nonlocalized", "") == "ERROR"


def _explain_state(target: Target, code: str, first: str, error: BaseException) -> PharmdbError | None:
    diagnosis: Any = getattr(error, "diag", None)
    if code in ("55P03", "40P01"):
        return lock_holders.locked_error(target, f"a lock in {target}")
    if code in ("42P01", "42703"):
        return _explain_missing(target, first)
    if code == "3F000":
        return _explain_no_schema(target, first)
    if code == "2BP01":
        return ProtectedError(
            expected="no objects depending on what is dropped",
            found=" ".join(str(error).split()),
            unchanged="everything was rolled back",
            note=f"drop the objects that it names yourself, then {_AGAIN}",
        )
    if is_of_a_node(error):
        return NodeDownError(
            expected=f"an answer from each node of the cluster of {target} that this needs",
            found=first,
            unchanged=_ROLLED_BACK,
            command=targets.command(target, "pharmdb doctor"),
            note=f"nothing is lost: have the server that it names started again, then {_AGAIN}",
        )
    if code.startswith(("57P", "08")):
        return LostConnectionError(
            expected=f"{target} to stay connected",
            found=first,
            unchanged=_ROLLED_BACK,
            note=f"{_AGAIN} once the server responds",
        )
    # An invalidated prepared plan has no SQLSTATE of its own, but this server function raises no other error.
    if code == "0A000" and diagnosis is not None and diagnosis.source_function == "RevalidateCachedQuery":
        return _explain_changed(target, first)
    if code == "40001" and _ask(target, "SELECT pg_is_in_recovery()", {}):
        # What its primary has changed had to be replayed, and the reader was in the way.
        return ReplayConflictError(
            expected=f"{target}, a standby, to keep the rows and tables that are being read",
            found=first,
            unchanged="everything, as nothing was written",
            note=f"{_AGAIN}; with max_standby_streaming_delay = -1 the standby would wait for its readers",
        )
    if code == "42501":
        return NoPermissionError(
            expected=f"permission for this in {target}",
            found=first,
            note="connect as the owner, or have the owner GRANT the missing privileges",
        )
    if code == "25006":
        return _explain_read_only(target, first)
    if code == index_limits.TOO_LONG:
        names = [column.name for column in index_limits.columns_of(getattr(diagnosis, "constraint_name", None) or "")]
        return UnstorableError(
            expected=index_limits.rule(names) if names else f"values that {target} can store",
            found=first,
            unchanged=_ROLLED_BACK,
            note=f"shorten {' or '.join(names) or 'the value'}, then {_AGAIN}",
        )
    if code in ("22P05", "22021"):
        return UnstorableError(
            expected=f"values that {target} can store",
            found=first,
            unchanged=_ROLLED_BACK,
            note=f"use other characters, or a database in UTF8, then {_AGAIN}",
        )
    if code == "53100":
        return NoRoomError(
            expected=f"free disk space to write to {target}", found=first, note="free space on the server"
        )
    return None


# Counts missing columns of the models, if the database has ever been migrated.
_MISSING = """
    SELECT count(*) FROM unnest(%(tables)s::text[], %(columns)s::text[]) AS needed (name, field)
     WHERE to_regclass('alembic_version') IS NOT NULL
       AND NOT EXISTS (SELECT FROM pg_attribute
                        WHERE attrelid = to_regclass(quote_ident(name)) AND attname = field AND NOT attisdropped)
"""


def _explain_missing(target: Target, found: str) -> PharmdbError | None:
    """A table or column is missing. If it is one of ours, the schema is torn; else the statement is wrong."""
    needed = [(model.__tablename__, column.key) for model in MODELS for column in model.__table__.columns]
    tables, columns = (list(part) for part in zip(*needed, strict=True))
    if not _ask(target, _MISSING, {"tables": tables, "columns": columns}):
        return None
    return TornSchemaError(
        expected=f"the tables of {target} to be complete",
        found=found,
        command=targets.command(target, "pharmdb doctor"),
    )


def _explain_changed(target: Target, found: str) -> UnavailableError:
    return UnavailableError(
        expected=f"the schema of {target} to stay unchanged while it is used",
        found=found,
        unchanged=_ROLLED_BACK,
        note=_AGAIN,
    )


# What is on the search path, who set it, and whether the first schema of it exists without permission to use it.
_PATH = """
    SELECT current_schema(), reset_val, source, current_database(), current_user,
           (SELECT quote_ident(nspname) FROM pg_namespace, regexp_split_to_table(reset_val, '\\s*,\\s*') AS named
             WHERE nspname = btrim(named, '"') LIMIT 1)
      FROM pg_settings WHERE name = 'search_path'
"""


def require_schema(connection: Connection, target: Target) -> None:
    """Raises UnavailableError or NoPermissionError if no schema on the search path can be used."""
    if connection.dialect.name != "postgresql":
        return
    if error := _no_schema(target, connection.exec_driver_sql(_PATH).one(), "none of them can be used"):
        raise error


def _explain_no_schema(target: Target, found: str) -> PharmdbError | None:
    row = _ask_row(target, _PATH, {})
    # With a current schema the statement named another one, which is missing.
    return _no_schema(target, row, found) if row else None


def _no_schema(target: Target, row: Any, found: str) -> PharmdbError | None:
    current, path, source, database, user, closed = row
    if current:
        return None
    expected, found = f"a schema to use on the search path of {target}", f"search_path = {path}: {found}"
    if closed:
        owner = "have the schema's owner run: "
        grant = f"GRANT USAGE, CREATE ON SCHEMA {closed} TO {_identifier(user)}"
        return NoPermissionError(expected=expected, found=found, note=owner + grant)
    if "public" in (name.strip(' "') for name in path.split(",")):
        return UnavailableError(
            expected=expected, found=found, command=shell_commands.psql(target, "CREATE SCHEMA public")
        )
    whose = {
        "database": f"DATABASE {_identifier(database)}",
        "user": f"ROLE {_identifier(user)}",
        "database user": f"ROLE {_identifier(user)} IN DATABASE {_identifier(database)}",
    }.get(source)
    if whose:
        command = shell_commands.psql(target, f"ALTER {whose} RESET search_path")
        return UnavailableError(expected=expected, found=found, command=command)
    note = "correct the search_path among the options of the URL, in PGOPTIONS or in the server's configuration"
    return UnavailableError(expected=expected, found=found, note=note)


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _explain_read_only(target: Target, found: str) -> ReadOnlyError:
    expected = f"write access to {target}"
    if _ask(target, "SELECT pg_is_in_recovery()", {}):
        note = "set PHARMDB_URL to its primary server, or to several hosts with target_session_attrs=read-write"
        return ReadOnlyError(expected=expected, found=f"a standby server, which is read-only ({found})", note=note)
    if _ask(target, "SELECT current_setting('default_transaction_read_only') = 'on'", {}) is False:
        return ReadOnlyError(
            expected=f"a write transaction on {target}",
            found=f"a read-only transaction ({found})",
            note="write inside transactions.writing",
        )
    return ReadOnlyError(expected=expected, found=found, note="use a writable database")


def _ask(target: Target, query: str, values: dict[str, Any]) -> Any:
    """The result of a query on a second connection; None if that fails."""
    row = _ask_row(target, query, values)
    return row and row[0]


def _ask_row(target: Target, query: str, values: dict[str, Any]) -> Any:
    try:
        with engines.engine_of(target, write=False).connect() as connection:
            return connection.exec_driver_sql(query, values).one()
    except exc.DBAPIError:
        return None


def _explain_connection(target: Target, error: BaseException, first: str) -> PharmdbError:
    """Why there is no connection: no server, a rejected login, a missing database, or a lost connection."""
    import psycopg

    expected = f"an answer from {target}"
    options = servers.connect_options(target) | {"connect_timeout": _PATIENCE}
    # Without a libpq connection the host name could not be resolved, or nothing responded in time.
    if getattr(error, "pgconn", None) is None and isinstance(error, psycopg.errors.ConnectionTimeout):
        return _server_down(expected, first)
    ping = psycopg.pq.PGconn.ping(psycopg.conninfo.make_conninfo(**options).encode())
    if ping == psycopg.pq.Ping.REJECT:
        note = f"{_AGAIN} once the server has started"
        return ServerDownError(expected=expected, found=first, note=note)
    if ping != psycopg.pq.Ping.OK:
        return _without_ssl(expected, first, options) or _server_down(expected, first)
    refusal = _refusal(options)
    if refusal is None:
        return LostConnectionError(expected=expected, found=first, unchanged=_ROLLED_BACK, note=_AGAIN)
    if "dbname" in options and _is_missing(options, options["dbname"]):
        command = shell_commands.createdb(target, options["dbname"])
        return NoSuchDatabaseError(expected=expected, found=first, command=command, note=_asks(options))
    connection = refusal.pgconn
    if connection is not None and (connection.needs_password or connection.used_password):
        note = "correct the password in PHARMDB_URL or ~/.pgpass"
    else:
        # libpq gives no code for the reason: a role, a database, a rule of pg_hba.conf, SSL, or a limit.
        note = (
            "the server runs, and gave this reason: correct user, database or sslmode in PHARMDB_URL, or ask its "
            f"administrator; if it has no connection left, {_AGAIN} later"
        )
    return LoginRefusedError(expected=expected, found=first, note=note)


def _asks(options: dict[str, Any]) -> str:
    return "it asks for the password" if "password" in options else ""


def _without_ssl(expected: str, found: str, options: dict[str, Any]) -> LoginRefusedError | None:
    """The error for a server that runs, but without the SSL that the URL requires."""
    from psycopg import conninfo, pq

    plain = options | {"sslmode": "disable"}
    if pq.PGconn.ping(conninfo.make_conninfo(**plain).encode()) in (pq.Ping.OK, pq.Ping.REJECT):
        note = "the server runs, but without this SSL: correct sslmode in PHARMDB_URL, or set up SSL on the server"
        return LoginRefusedError(expected=expected, found=found, note=note)
    return None


def _server_down(expected: str, found: str) -> ServerDownError:
    return ServerDownError(
        expected=expected, found=found, note="start the server, or correct the host and port in PHARMDB_URL"
    )


def _refusal(options: dict[str, Any]) -> Any:
    """The error with which the server rejects a connection; None if it accepts it."""
    import psycopg

    try:
        psycopg.connect(**options).close()
    except psycopg.OperationalError as error:
        return error
    return None


def _is_missing(options: dict[str, Any], name: str) -> bool:
    """Whether the server has no database of this name, according to its `postgres` database."""
    import psycopg

    try:
        with psycopg.connect(**options | {"dbname": "postgres"}) as connection:
            found = connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (name,)).fetchone()
    except psycopg.OperationalError:
        return False
    return found == (0,)
