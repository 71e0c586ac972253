"""PostgreSQL engines: the settings of their sessions, or of each transaction behind a pooler and on a Citus cluster.

A pooler such as PgBouncer in transaction mode gives each transaction any of its server connections. It takes no
startup options, and settings, prepared statements and locks of a session would reach somebody else.

The coordinator of a Citus cluster has sessions of its own on the workers. The settings of our session don't reach them,
but those of a transaction can: a lock is mostly waited for on a worker.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import URL

from pharmdb.database.placements import IN_CLUSTER
from pharmdb.database.targets import Target
from pharmdb.errors import BackupError

if TYPE_CHECKING:
    import psycopg

# Seconds after which the server cancels a statement of ours, or ends an idle transaction of ours.
STATEMENT_TIMEOUT = 1800


class _Kind(NamedTuple):
    """What answers at a URL: a connection pooler or the server itself, and whether it belongs to a Citus cluster."""

    pooled: bool
    cluster: bool


# As far as it is known, from the first connection of this process.
_kinds: dict[URL, _Kind] = {}
_PROPAGATE = "citus.propagate_set_commands"
# Days are UTC days, a double's text represents it exactly, and all text is sent and read as UTF-8, whatever
# PGCLIENTENCODING, the URL's options or the database say.
ALWAYS = {"timezone": "UTC", "extra_float_digits": "1", "client_encoding": "UTF8"}


def make(url: URL, lock_timeout: float, *, write: bool) -> Engine:
    """An engine without a pool of its own; a pooler between it and the server is recognized at the first connection."""
    settings = {
        "lock_timeout": f"{int(lock_timeout * 1000)}",
        "statement_timeout": f"{STATEMENT_TIMEOUT}s",
        "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT}s",
    }
    if write:
        # On a Citus cluster: in parallel, the connections to a worker would not see each other's changes of the same
        # transaction, and Citus would refuse it. Plain PostgreSQL ignores the setting.
        settings["citus.multi_shard_modify_mode"] = "sequential"
    given = str(url.query.get("options", ""))
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    engine = create_engine(
        url.difference_update_query(["options"]),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={
            # These are last, so that they override the URL's options.
            "options": f"{options} {given} {' '.join(f'-c {name}={value}' for name, value in ALWAYS.items())}",
            "connect_timeout": 10,
            "application_name": "pharmdb",
            "client_encoding": ALWAYS["client_encoding"],
        },
    )
    of_transaction = "; ".join(_set_local(*each) for each in (settings | _parsed(given) | ALWAYS).items())

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, record: Any, arguments: Any, options: dict[str, Any]) -> Any:
        return _connect(url, dialect.connect, options)

    @event.listens_for(engine, "connect")
    def mark(connection: Any, record: Any) -> None:
        record.info[IN_CLUSTER] = _kinds[url].cluster

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not keeps_settings(connection):
            statements = of_transaction
            if connection.info[IN_CLUSTER]:
                # Citus sends them along with the BEGIN on each worker. What is set later stays on the coordinator.
                statements = f"{_set_local(_PROPAGATE, 'local')}; {statements}; {_set_local(_PROPAGATE, 'none')}"
            # Not set_config: its SELECT would already take the transaction's snapshot.
            connection.exec_driver_sql(statements.replace("%", "%%"))

    if not write:

        @event.listens_for(engine, "connect")
        def read_only(connection: Any, record: Any) -> None:
            from psycopg import IsolationLevel

            connection.read_only = True
            connection.isolation_level = IsolationLevel.REPEATABLE_READ

    return engine


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler is between this connection and its server, so that it keeps nothing between transactions."""
    driver: Any = connection.connection.driver_connection
    return connection.dialect.name == "postgresql" and driver.prepare_threshold is None


def keeps_settings(connection: Connection) -> bool:
    """Whether the settings of the session reach all that it does, so that a transaction needs none of its own."""
    return not is_pooled(connection) and not connection.info.get(IN_CLUSTER)


def refuse_pooler(connection: Connection, target: Target) -> None:
    """Raises BackupError behind a pooler: settings of pg_dump, and a lock as long as it, would stay with others."""
    if is_pooled(connection):
        raise BackupError(
            expected=f"a connection to the server itself, for a backup of {target.name}",
            found=f"a connection pooler at {target}",
            note="set PHARMDB_URL to the address of the server instead of the pooler's",
        )


def _connect(url: URL, connect: Any, options: dict[str, Any]) -> psycopg.Connection[Any]:
    import psycopg

    plain = {name: value for name, value in options.items() if name != "options"}
    known = _kinds.get(url)
    if known and known.pooled:
        return _for_pooler(connect(**plain))
    try:
        connection = connect(**options)
    except psycopg.errors.ConnectionTimeout:
        raise
    except psycopg.OperationalError as error:
        # Perhaps a pooler refused the options, for which libpq has no code.
        try:
            connection = connect(**plain)
        except psycopg.OperationalError:
            raise error from None
        known = _kind(connection)
        if not known.pooled:
            connection.close()
            raise
    # Some poolers are told to ignore the options.
    known = _kinds[url] = known or _kind(connection)
    return _for_pooler(connection) if known.pooled else connection


def _kind(connection: psycopg.Connection[Any]) -> _Kind:
    """Behind a pooler, another process answers than the one that accepted the connection."""
    found = connection.execute(
        "SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
    ).fetchone()
    connection.rollback()
    assert found is not None
    return _Kind(found[0] != connection.info.backend_pid, found[1])


def _for_pooler(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    connection.prepare_threshold = None
    return connection


def _parsed(options: str) -> dict[str, str]:
    """The settings in libpq's `options`: -c name=value, -cname=value or --name=value; a backslash escapes a blank."""
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|\S)+", options)]
    found = re.findall(r"(?:^|\0)(?:-c\0?|--)([\w.-]+)=([^\0]*)", "\0".join(words))
    return {name.replace("-", "_"): value for name, value in found}


def _set_local(name: str, value: str) -> str:
    from psycopg import sql

    values = [value]
    if name == "search_path":
        # A list of names; an unquoted one is in lower case.
        parts = re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', value)
        values = [quoted.replace('""', '"') or plain.lower() for quoted, plain in parts]
    literals = sql.SQL(", ").join(map(sql.Literal, values))
    return sql.SQL("SET LOCAL {} TO {}").format(sql.SQL(name), literals).as_string()
