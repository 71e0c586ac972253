"""PostgreSQL's errors as typed ones, by SQLSTATE. libpq gives none for a connection that fails: there it is probed."""

from __future__ import annotations

import shlex
from typing import Any

from sqlalchemy import exc

from pharmdb.database import engines, lock_holders, servers, targets
from pharmdb.database.targets import Target
from pharmdb.errors import (
    LoginRefusedError,
    LostConnectionError,
    NoPermissionError,
    NoRoomError,
    NoSuchDatabaseError,
    PharmdbError,
    ProtectedError,
    ReadOnlyError,
    ServerDownError,
    TornSchemaError,
    UnavailableError,
)
from pharmdb.models import MODELS

_AGAIN = "run the same command again"
_ROLLED_BACK = "what was under way was rolled back"
# Seconds that a look at a server which refuses us may take.
_PATIENCE = 5


def explain(target: Target, error: BaseException) -> PharmdbError | None:
    """The typed error for one of the driver's, or None where the cause isn't known."""
    if isinstance(error, exc.NoSuchTableError):
        return _explain_missing(target, f"no table {error}")
    from psycopg import OperationalError

    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    code: str | None = getattr(error, "sqlstate", None)
    if code is not None:
        return _explain_state(target, code, first, error)
    return _explain_connection(target, error, first) if isinstance(error, OperationalError) else None


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
            note=f"drop what it names yourself, then {_AGAIN}",
        )
    if code.startswith(("57P", "08")):
        return LostConnectionError(
            expected=f"{target} to stay connected",
            found=first,
            unchanged=_ROLLED_BACK,
            note=f"{_AGAIN}, once the server answers",
        )
    # A prepared plan that no longer fits has no code of its own, but the function that raises it does nothing else.
    if code == "0A000" and diagnosis is not None and diagnosis.source_function == "RevalidateCachedQuery":
        return UnavailableError(
            expected=f"the schema of {target} to stay as it is while it is used",
            found=first,
            unchanged=_ROLLED_BACK,
            note=_AGAIN,
        )
    if code == "42501":
        return NoPermissionError(
            expected=f"the rights for this in {target}",
            found=first,
            note="connect as the owner, or let the owner GRANT what is missing",
        )
    if code == "25006":
        return _explain_read_only(target, first)
    if code == "53100":
        return NoRoomError(expected=f"room to write to {target}", found=first, note="free space on the server")
    return None


# What our own statements need, and whether it is there; only a database that a revision was applied to is asked.
_MISSING = """
    SELECT count(*) FROM unnest(%(tables)s::text[], %(columns)s::text[]) AS needed (name, field)
     WHERE to_regclass('alembic_version') IS NOT NULL
       AND NOT EXISTS (SELECT FROM pg_attribute
                        WHERE attrelid = to_regclass(quote_ident(name)) AND attname = field AND NOT attisdropped)
"""


def _explain_missing(target: Target, found: str) -> PharmdbError | None:
    """A table or column that is missing: the schema is torn where it is one of ours, else it is the statement's."""
    needed = [(model.__tablename__, column.key) for model in MODELS for column in model.__table__.columns]
    tables, columns = (list(part) for part in zip(*needed, strict=True))
    if not _ask(target, _MISSING, {"tables": tables, "columns": columns}):
        return None
    return TornSchemaError(
        expected=f"the tables of {target} to be there, and whole",
        found=found,
        command=targets.command(target, "pharmdb doctor"),
    )


def _explain_no_schema(target: Target, found: str) -> PharmdbError | None:
    if _ask(target, "SELECT current_schema()", {}):
        # Another schema, which the statement named.
        return None
    return UnavailableError(
        expected=f"a schema in {target} that the search path names",
        found=found,
        command=f"psql {targets.libpq_url(target)} -c 'CREATE SCHEMA public'",
    )


def _explain_read_only(target: Target, found: str) -> ReadOnlyError:
    query = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'"
    if _ask(target, query, {}) is False:
        return ReadOnlyError(
            expected=f"a transaction of {target} that writes",
            found=f"one that was begun for reading ({found})",
            note="write in a transaction of transactions.writing",
        )
    return ReadOnlyError(expected=f"to write to {target}", found=found, note="use a database that takes writes")


def _ask(target: Target, query: str, values: dict[str, Any]) -> Any:
    """What a second connection says; None where there is none to be had."""
    try:
        with engines.engine_of(target, write=False).connect() as connection:
            return connection.exec_driver_sql(query, values).scalar_one()
    except exc.DBAPIError:
        return None


def _explain_connection(target: Target, error: BaseException, first: str) -> PharmdbError:
    """Why there is no connection: no server, no login, no database; or it was lost, and the server is there again."""
    import psycopg

    expected = f"an answer from {target}"
    options = servers.connect_options(target) | {"connect_timeout": _PATIENCE}
    # Without a connection of libpq's there was not even an address, or nobody answered in time.
    if getattr(error, "pgconn", None) is None and isinstance(error, psycopg.errors.ConnectionTimeout):
        return _server_down(expected, first)
    ping = psycopg.pq.PGconn.ping(psycopg.conninfo.make_conninfo(**options).encode())
    if ping == psycopg.pq.Ping.REJECT:
        note = f"{_AGAIN}, once the server has started"
        return ServerDownError(expected=expected, found=first, note=note)
    if ping != psycopg.pq.Ping.OK:
        return _server_down(expected, first)
    refusal = _refusal(options)
    if refusal is None:
        return LostConnectionError(expected=expected, found=first, unchanged=_ROLLED_BACK, note=_AGAIN)
    if "dbname" in options and _is_missing(options, options["dbname"]):
        maintenance = targets.libpq_url(target, "postgres")
        command = f"createdb --maintenance-db={maintenance} {shlex.quote(options['dbname'])}"
        return NoSuchDatabaseError(expected=expected, found=first, command=command)
    connection = refusal.pgconn
    if connection is not None and (connection.needs_password or connection.used_password):
        note = "correct the password in PHARMDB_URL or ~/.pgpass"
    else:
        note = "correct the user in PHARMDB_URL, or let who runs the server allow this login"
    return LoginRefusedError(expected=expected, found=first, note=note)


def _server_down(expected: str, found: str) -> ServerDownError:
    return ServerDownError(
        expected=expected, found=found, note="start the server, or correct host and port in PHARMDB_URL"
    )


def _refusal(options: dict[str, Any]) -> Any:
    """The error with which the server refuses a connection; None where it gives one."""
    import psycopg

    try:
        psycopg.connect(**options).close()
    except psycopg.OperationalError as error:
        return error
    return None


def _is_missing(options: dict[str, Any], name: str) -> bool:
    """Whether the server has no such database: the one that every server has is asked."""
    import psycopg

    try:
        with psycopg.connect(**options | {"dbname": "postgres"}) as connection:
            found = connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (name,)).fetchone()
    except psycopg.OperationalError:
        return False
    return found == (0,)
