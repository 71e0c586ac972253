"""From a URL to a transaction: targets without secrets, engines, pragmas, timeouts, locks, environment stamp."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    NullPool,
    String,
    Table,
    create_engine,
    event,
    exc,
    inspect,
    make_url,
    select,
)
from sqlalchemy.engine import URL

from pharmdb.errors import LockedError, ParameterError, PharmdbError, ProtectedError, RevisionError, UnavailableError

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_URL = "sqlite:///data/pharm.db"
ENVIRONMENTS = ("development", "test", "production")

# Seconds after which PostgreSQL ends a statement of ours, or a transaction of ours in which nothing happens.
STATEMENT_TIMEOUT = 1800

# Schema changes and seeds exclude each other through this lock; the number is "pharmdb" in ASCII.
ADVISORY_LOCK = int.from_bytes(b"pharmdb", "big")

BOOKKEEPING_TABLES = (
    "alembic_version",
    "pharmdb_environment",
    "pharmdb_revisions",
    "pharmdb_upgrades",
    "upgrade_rejects",
)
# Where a URL with a password may stand, instead of a parameter.
SECRET_VARIABLES = {"database_url": "PHARMDB_URL", "source": "PHARMDB_SOURCE"}

_stamp = Table(
    "pharmdb_environment",
    MetaData(),
    Column(
        "id",
        Integer,
        CheckConstraint("id = 1", name="ck_pharmdb_environment_one_row"),
        primary_key=True,
        autoincrement=False,
    ),
    Column(
        "name",
        String(16),
        CheckConstraint(f"name IN {ENVIRONMENTS}", name="ck_pharmdb_environment_name"),
        nullable=False,
    ),
)


def lock_timeout() -> float:
    """Seconds to wait for a lock: PHARMDB_LOCK_TIMEOUT, or 30."""
    value = os.environ.get("PHARMDB_LOCK_TIMEOUT") or "30"
    try:
        seconds = float(value)
        if not 0 < seconds <= 86_400:
            raise ValueError(value)
    except ValueError:
        raise ParameterError(
            expected="PHARMDB_LOCK_TIMEOUT as a number of seconds above 0",
            found=f"PHARMDB_LOCK_TIMEOUT={value!r}",
            next="unset PHARMDB_LOCK_TIMEOUT",
        ) from None
    return seconds


@dataclass(frozen=True)
class Target:
    """The database that a verb works on. Its text never holds a password."""

    url: URL

    @cached_property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @cached_property
    def path(self) -> Path:
        """The SQLite file. A relative path starts at the project's root, wherever the process was started."""
        return ROOT / str(self.url.database)

    @property
    def name(self) -> str:
        """The database's name, as `confirm` takes it: the file's name on SQLite."""
        return self.path.name if self.is_sqlite else str(self.url.database or self.url.query.get("dbname", "?"))

    @property
    def identity(self) -> str:
        """Which database it is, whoever connects to it."""
        if self.is_sqlite:
            return str(self)
        host = self.url.host or self.url.query.get("host") or self.url.query.get("service") or ""
        return f"postgresql://{host}:{self.url.port or 5432}/{self.name}"

    def __str__(self) -> str:
        if self.is_sqlite:
            path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
            # A path that holds %20 is written so that the URL can be typed again.
            return "sqlite:///" + re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", str(path))
        query = {key: value for key, value in self.url.query.items() if not _is_secret(key)}
        shown = URL.create(
            "postgresql", self.url.username, None, self.url.host, self.url.port, self.url.database, query
        )
        return shown.render_as_string()

    __repr__ = __str__


def of_file(path: Path | str) -> Target:
    """The SQLite database in a file. A relative path starts at the project's root."""
    return Target(URL.create("sqlite", database=str(path)))


def server_name(connection: Connection, target: Target) -> str:
    """The database's name as `confirm` takes it, from the server itself: a URL may leave it out."""
    if target.is_sqlite:
        return target.name
    return str(connection.exec_driver_sql("SELECT current_database()").scalar_one())


def command(target: Target | str, text: str) -> str:
    """A pharmdb command as it works when typed: with --database-url, where PHARMDB_URL does not name the target."""
    try:
        own = str(globals()["target"]()) == str(target)
    except ParameterError:
        own = False
    return text if own else f"{text} --database-url {shlex.quote(str(target))}"


def _is_secret(key: str) -> bool:
    return "password" in key.lower() or "secret" in key.lower()


def target(database_url: str = "") -> Target:
    """The database to work on: the parameter, else PHARMDB_URL, else the default file.

    Raises ParameterError for a URL that can't be used, and for a parameter that holds a password: parameters are
    written into run files.
    """
    name = "database_url" if database_url else "PHARMDB_URL"
    return named(name, database_url or os.environ.get("PHARMDB_URL") or DEFAULT_URL, secret=not database_url)


def named(source: str, text: str, *, secret: bool) -> Target:
    """The database of a URL; `source` says where it stands, and `secret` whether it may hold a password there.

    Raises ParameterError.
    """
    expected = "a URL like sqlite:///data/pharm.db or postgresql://user@host/database"
    if not isinstance(text, str):
        raise ParameterError(expected=expected, found=f"{source} of type {type(text).__name__}", next="pass a string")
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (exc.ArgumentError, ValueError):
        # The text itself may hold a password in a place where no mask finds it.
        raise ParameterError(
            expected=expected, found=f"{source} is no URL ({len(text)} characters)", next=f"correct {source}"
        ) from None
    if backend == "sqlite":
        _check_sqlite_url(url, text, source)
        return Target(url.set(drivername="sqlite"))
    if backend != "postgresql" or url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ParameterError(
            expected=expected, found=f"{source} with the scheme {url.drivername!r}", next=f"correct {source}"
        )
    if "@" in (url.host or ""):
        raise ParameterError(
            expected=expected, found=f"{source} with an @ in its password", next=f"write %40 for it in {source}"
        )
    if not secret and (url.password is not None or any(map(_is_secret, url.query))):
        variable = SECRET_VARIABLES[source]
        raise ParameterError(
            expected=f"a {source} without a password: parameters are written into the run file",
            found=f"a {source} that holds one",
            next=f"export {variable}=… with the whole URL, or use a PostgreSQL passfile (~/.pgpass) or service",
        )
    return Target(url.set(drivername="postgresql+psycopg"))


def _check_sqlite_url(url: URL, text: str, source: str) -> None:
    database = url.database or ""
    odd = database in ("", ":memory:") or database.startswith("file:") or "\0" in database
    # sqlite://data/x.db has a host, and what?.db a query: both would silently name another file.
    if odd or url.host or url.username or "?" in text:
        raise ParameterError(
            expected="the path of a file, as in sqlite:///data/pharm.db (relative to the project) or sqlite:////tmp/x.db",
            found=f"{source} = {url.render_as_string(hide_password=True)!r}",
            next=f"correct {source}",
        )


@contextmanager
def reading(target: Target) -> Iterator[Connection]:
    """One snapshot on a connection that can't write.

    Raises UnavailableError if there is no such database, or none that answers.
    """
    with watching(target) as connection:
        if not target.is_sqlite:
            _wait_for_schema(connection)
        yield connection


@contextmanager
def watching(target: Target) -> Iterator[Connection]:
    """As `reading`, but without waiting for a schema change: to see who holds a lock, not what is in a table."""
    with _transaction(target, write=False) as connection:
        yield connection


def _wait_for_schema(connection: Connection) -> None:
    """A snapshot taken while a reset holds its locks would show its new tables without their rows.

    LOCK TABLE waits for the reset before there is a snapshot.
    """
    from psycopg import errors

    try:
        connection.exec_driver_sql("LOCK TABLE users IN ACCESS SHARE MODE")
    except exc.ProgrammingError as error:
        if not isinstance(error.orig, (errors.UndefinedTable, errors.InsufficientPrivilege)):
            raise
        driver: Any = connection.connection.dbapi_connection
        driver.rollback()


@contextmanager
def writing(target: Target) -> Iterator[Connection]:
    """One write transaction: committed at the end, rolled back on any error. The database must exist.

    On SQLite it begins IMMEDIATE: a transaction that reads first and then writes can't be locked out.
    """
    with _transaction(target, write=True) as connection:
        yield connection


@contextmanager
def keeping(target: Target, *, autocommit: bool = False) -> Iterator[Callable[[], AbstractContextManager[Connection]]]:
    """As many write transactions as the caller begins, one after the other, over one connection.

    Gives what `writing` is for one: `with keeping(target) as transaction: with transaction() as connection: …`.
    With `autocommit` nothing is begun: a single statement of plain's is a transaction of its own, and takes one
    journey to a server in place of three.
    """
    engine = _engine(target, write=True)
    if autocommit:
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    with explaining(target), engine.connect() as kept:
        file = _file(target)

        @contextmanager
        def transaction() -> Iterator[Connection]:
            nonlocal kept, file
            now = _file(target)
            with explaining(target, there=now is not None):
                # Where another file has its name now, what is written to the old one would be lost.
                if file != now or _lost(kept):
                    if not kept.closed:
                        kept.invalidate()
                    kept, file = engine.connect(), now
                if autocommit:
                    with _answered(target, kept):
                        yield kept
                    return
                kept.begin()
                try:
                    yield kept
                    with _answered(target, kept):
                        kept.commit()
                except BaseException:
                    if not _lost(kept):
                        kept.rollback()
                    raise

        try:
            yield transaction
        finally:
            kept.close()


def _file(target: Target) -> tuple[int, int] | None:
    if not target.is_sqlite:
        return None
    try:
        found = target.path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def changing_schema(target: Target) -> Iterator[Connection]:
    """One write transaction that may change the schema; makes the SQLite file if there is none.

    Only one runs at a time. On SQLite foreign keys are off, because dropping or rebuilding a table would delete its
    children, and are checked before the commit.

    Raises PharmdbError if a row's owner is missing at the end; everything is then rolled back.
    """
    with _transaction(target, write=True, schema=True) as connection:
        if not target.is_sqlite:
            take_advisory_lock(connection)
        yield connection
        check_foreign_keys(connection)
    if target.is_sqlite:
        # An older file is turned to WAL once it is ours: one that was refused keeps its every byte. Where somebody
        # reads just now, the next change of the schema tries again.
        with suppress(sqlite3.OperationalError):
            turn_to_wal(target.path)


def check_foreign_keys(connection: Connection) -> None:
    """Raises PharmdbError if a row's owner is missing. PostgreSQL needs no such check: it never lets one in."""
    if connection.dialect.name != "sqlite":
        return
    broken = list(connection.exec_driver_sql("PRAGMA foreign_key_check"))
    if broken:
        rows = ", ".join(f"{table} row {rowid}" for table, rowid, *_ in broken[:5])
        raise PharmdbError(
            expected="every row's user_id names a user",
            found=f"{len(broken)} row(s) without one: {rows}",
            unchanged="everything was rolled back",
            next="delete these rows or restore their users, then run the same command again",
        )


def hold_still(connection: Connection) -> None:
    """Until the transaction's end nobody else writes to a table of the schema; they can still read.

    On SQLite a write transaction does so from its beginning.
    """
    if connection.dialect.name == "sqlite":
        return
    tables = inspect(connection).get_table_names()
    quote_name = connection.dialect.identifier_preparer.quote_identifier
    if tables:
        connection.exec_driver_sql(f"LOCK TABLE {', '.join(map(quote_name, sorted(tables)))} IN SHARE MODE")


def take_advisory_lock(connection: Connection) -> None:
    """Waits for the lock that schema changes and seeds share; it is given back with the transaction's end."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")


def _engine(target: Target, *, write: bool, schema: bool = False) -> Engine:
    if target.is_sqlite:
        return _sqlite_engine(target.path, write=write, schema=schema)
    return _postgresql_engine(target.url, lock_timeout(), write=write)


# An engine holds no connection, but it knows the statements that it has compiled.
@lru_cache(maxsize=64)
def _sqlite_engine(path: Path, *, write: bool, schema: bool) -> Engine:
    mode = "rwc" if schema else "rw" if write else "ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}", uri=True, isolation_level=None, timeout=lock_timeout()
        )
        # isolation_level=None: BEGIN and COMMIT are ours, so that DDL is part of the transaction.
        connection.execute(f"PRAGMA foreign_keys = {'OFF' if schema else 'ON'}")
        if write:
            if not path.stat().st_size:
                _use_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            # 64 MiB instead of 2: rows that go to many places of an index would be read and written again and again.
            connection.execute("PRAGMA cache_size = -65536")
            # Dropping a large table would otherwise write zeros over every page of it.
            connection.execute("PRAGMA secure_delete = FAST")
        else:
            connection.execute("PRAGMA query_only = ON")
        return connection

    # hide_parameters: an error's text never holds a value of a row, which may be a password's hash.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def turn_to_wal(path: Path) -> None:
    """Raises sqlite3.OperationalError where somebody else uses the file just now."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=0)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Readers never wait in WAL. The switch ignores the busy timeout, so a lost race is tried again here."""
    deadline = time.monotonic() + lock_timeout()
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@lru_cache(maxsize=64)
def _postgresql_engine(url: URL, seconds: float, *, write: bool) -> Engine:
    milliseconds = int(seconds * 1000)
    options = (
        f"-c lock_timeout={milliseconds} -c statement_timeout={STATEMENT_TIMEOUT}s "
        f"-c idle_in_transaction_session_timeout={STATEMENT_TIMEOUT}s {url.query.get('options', '')} "
        # Last, so that it holds whatever the URL says: days are days in UTC.
        "-c timezone=UTC"
    )
    engine = create_engine(
        url.difference_update_query(["options"]),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"options": options, "connect_timeout": 10, "application_name": "pharmdb"},
    )
    if not write:

        @event.listens_for(engine, "connect")
        def read_only(connection: Any, record: Any) -> None:
            from psycopg import IsolationLevel

            connection.read_only = True
            connection.isolation_level = IsolationLevel.REPEATABLE_READ

    return engine


@contextmanager
def _transaction(target: Target, *, write: bool, schema: bool = False) -> Iterator[Connection]:
    with explaining(target), _engine(target, write=write, schema=schema).connect() as connection:
        connection.begin()
        yield connection
        if write:
            with _answered(target, connection):
                connection.commit()


def _lost(connection: Connection) -> bool:
    # Of one that is closed or invalidated there is no driver's connection to ask.
    gone = connection.closed or connection.invalidated
    return gone or getattr(connection.connection.driver_connection, "closed", False)


@contextmanager
def _answered(target: Target, connection: Connection) -> Iterator[None]:
    """For a COMMIT: where the server is lost before it has answered, nobody knows whether it was carried out."""
    try:
        yield
    except exc.DBAPIError as error:
        # A server that ends the session itself says so, and has rolled back.
        if getattr(error.orig, "sqlstate", None) or not _lost(connection):
            raise
        raise UnavailableError(
            expected=f"{target} to answer to a COMMIT",
            found=str(error.orig).splitlines()[0],
            unchanged="not known: what was under way is written as a whole, or nothing of it",
            next="once the server answers, look whether it is there (pharmdb inspect) before you do it again",
        ) from error


@contextmanager
def explaining(target: Target, *, there: bool | None = None) -> Iterator[None]:
    """The drivers' errors as typed ones, where the cause is known; `there`: whether the SQLite file is known to be."""
    missing = target.is_sqlite and not (target.path.exists() if there is None else there)
    try:
        yield
    except _driver_errors() as error:
        known = explain(target, error, missing=missing or (target.is_sqlite and not target.path.exists()))
        if known is None:
            raise
        raise known from error


@contextmanager
def temporary_room() -> Iterator[None]:
    """What SQLite says of the folder for its temporary files as an UnavailableError that names this folder."""
    try:
        yield
    except sqlite3.OperationalError as error:
        folder = os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or "/var/tmp"
        raise UnavailableError(
            expected="room for temporary files",
            found=f"{folder}: {error}",
            next=f"free space in {folder}, or name another folder: export SQLITE_TMPDIR=…",
        ) from error


def _driver_errors() -> tuple[type[Exception], ...]:
    # A damaged schema is quoted in messages that Python can't decode.
    found: tuple[type[Exception], ...] = (exc.DBAPIError, exc.NoSuchTableError, sqlite3.Error, UnicodeDecodeError)
    # Where nobody has imported psycopg, none of its errors can come.
    return (*found, sys.modules["psycopg"].Error) if "psycopg" in sys.modules else found


def explain(target: Target, error: Exception, *, missing: bool = False) -> PharmdbError | None:
    """The driver's messages, mapped to typed errors in one place. None: the cause isn't known.

    `missing`: the SQLite file was not there before.
    """
    origin = getattr(error, "orig", None) or error
    text = str(origin).strip()
    if not target.is_sqlite:
        return _explain_postgresql(target, origin, text)
    # SQLite reads the schema's own text again and again; a damaged one fails in words like these.
    torn = isinstance(origin, exc.NoSuchTableError) or re.search(r"unknown function|error in (index|table|view)", text)
    return _explain_sqlite(target, text, missing) or (_torn_schema(target, text) if torn else None)


def _locked(target: Target, what: str) -> LockedError:
    from pharmdb.holders import holders

    who = holders(target)
    return LockedError(
        expected=f"{what} within {lock_timeout():g} s",
        found="held by " + ("; ".join(map(str, who)) or "a process that can't be seen from here, or one just gone"),
        next="wait for it or stop it, then run the same command again",
    )


def _explain_sqlite(target: Target, text: str, missing: bool) -> PharmdbError | None:
    path = target.path
    if "locked" in text or "busy" in text:
        return _locked(target, f"the write lock of {target}")
    if "unable to open database file" in text or path.is_dir():
        if path.is_dir():
            found, advice = f"{path} is a folder", "name a file in database_url"
        elif not path.parent.exists():
            found, advice = f"the folder {path.parent} does not exist", f"mkdir -p {shlex.quote(str(path.parent))}"
        elif missing:
            found = f"no file {path}"
            advice = command(target, "pharmdb reset")
        else:
            found, advice = f"no permission for {path}", f"ls -l {path}"
        return UnavailableError(expected=f"a database at {target}", found=found, next=advice)
    if any(word in text for word in ("not a database", "malformed", "decode", "isoformat", "unsupported file format")):
        return UnavailableError(
            expected=f"an SQLite database at {target}",
            found=text,
            next=command(target, "pharmdb restore"),
        )
    if "readonly" in text or "read-only" in text:
        return UnavailableError(
            expected=f"to write to {target}", found=f"it is read-only ({text})", next=f"chmod u+w {path}"
        )
    if "no such table" in text or "no such column" in text:
        return _torn_schema(target, text)
    if "full" in text or "disk I/O error" in text:
        return UnavailableError(
            expected=f"room to write to {target}", found=text, next=f"free space on the disk of {path.parent}"
        )
    return None


def _torn_schema(target: Target, found: str) -> RevisionError:
    return RevisionError(
        expected=f"the tables of {target} to be there", found=found, next=command(target, "pharmdb doctor")
    )


def _explain_postgresql(target: Target, origin: BaseException, text: str) -> PharmdbError | None:
    from psycopg import errors

    first = text.splitlines()[0] if text else type(origin).__name__
    if isinstance(origin, errors.LockNotAvailable | errors.DeadlockDetected):
        return _locked(target, f"a lock in {target}")
    if isinstance(origin, errors.UndefinedTable):
        return _torn_schema(target, first)
    if isinstance(origin, errors.DependentObjectsStillExist):
        return ProtectedError(
            expected="nothing to hang on what is dropped",
            found=" ".join(text.split()),
            unchanged="everything was rolled back",
            next="drop what it names yourself, then run the same command again",
        )
    if (getattr(origin, "sqlstate", None) or "").startswith(("57P", "08")):
        return UnavailableError(
            expected=f"{target} to stay connected",
            found=first,
            unchanged="what was under way was rolled back",
            next="run the same command again, once the server answers",
        )
    if isinstance(origin, errors.FeatureNotSupported) and "cached plan" in text:
        return UnavailableError(
            expected=f"the schema of {target} to stay as it is while it is used",
            found=first,
            unchanged="what was under way was rolled back",
            next="run the same command again",
        )
    if isinstance(origin, errors.InvalidSchemaName):
        return UnavailableError(
            expected=f"a schema in {target} that the search path names", found=first, next="CREATE SCHEMA public"
        )
    if isinstance(origin, errors.InsufficientPrivilege):
        return UnavailableError(
            expected=f"the rights for this in {target}",
            found=first,
            next="connect as the owner, or let the owner GRANT what is missing",
        )
    if isinstance(origin, errors.ReadOnlySqlTransaction):
        return UnavailableError(expected=f"to write to {target}", found=first, next="use a database that takes writes")
    if isinstance(origin, errors.DiskFull):
        return UnavailableError(expected=f"room to write to {target}", found=first, next="free space on the server")
    if "password" in text and isinstance(origin, errors.OperationalError):
        found, advice = first, "correct the password in PHARMDB_URL or ~/.pgpass"
    elif "does not exist" in text and "database" in text:
        found, advice = first, f"createdb {target.name}"
    elif isinstance(origin, errors.OperationalError) and origin.sqlstate is None:
        found, advice = first, "start the server, or correct host and port in PHARMDB_URL"
    else:
        return None
    return UnavailableError(expected=f"an answer from {target}", found=found, next=advice)


def is_local(connection: Connection) -> bool:
    """Whether the server runs on this machine: a file, a Unix socket or a loopback address.

    Asks the connection itself, because a service file or PGHOST may name another host than the URL.
    """
    if connection.dialect.name == "sqlite":
        return True
    driver: Any = connection.connection.dbapi_connection
    info = driver.info
    if info.host.startswith(("/", "@")):
        return True
    try:
        return ip_address(info.hostaddr or info.host).is_loopback
    except ValueError:
        return str(info.host) == "localhost"


# -- the environment --------------------------------------------------------------------------------


def configured_environment() -> str:
    """PHARMDB_ENV, or development. Raises ParameterError for any other word."""
    name = os.environ.get("PHARMDB_ENV") or "development"
    if name not in ENVIRONMENTS:
        raise ParameterError(
            expected=f"PHARMDB_ENV to be one of {', '.join(ENVIRONMENTS)}",
            found=f"PHARMDB_ENV={name!r}",
            next="export PHARMDB_ENV=development",
        )
    return name


def environment(connection: Connection) -> str:
    """The stricter of PHARMDB_ENV and what the database remembers."""
    configured = configured_environment()
    remembered = remembered_environment(connection) or configured
    return "production" if "production" in (configured, remembered) else remembered


def remembered_environment(connection: Connection) -> str | None:
    """What the database itself says; None where it says nothing."""
    if not inspect(connection).has_table(_stamp.name):
        return None
    return connection.scalar(select(_stamp.c.name))


def stamp_environment(connection: Connection) -> None:
    """Makes the database remember the environment; one that was production stays so."""
    name = environment(connection)
    _stamp.create(connection, checkfirst=True)
    connection.execute(_stamp.delete().where(_stamp.c.name != name))
    if connection.scalar(select(_stamp.c.name)) is None:
        connection.execute(_stamp.insert().values(id=1, name=name))


def refuse_production(connection: Connection | None, verb: str) -> None:
    """Raises ProtectedError where PHARMDB_ENV or, given its connection, the database itself says production."""
    expected = f"a development or test database to {verb}"
    if configured_environment() == "production":
        raise ProtectedError(expected=expected, found="PHARMDB_ENV says production", next="unset PHARMDB_ENV")
    if connection is not None and environment(connection) == "production":
        raise ProtectedError(
            expected=expected,
            found="the database itself says production",
            next="point PHARMDB_URL at another database; if this one is a mere copy: "
            "UPDATE pharmdb_environment SET name = 'development'",
        )
