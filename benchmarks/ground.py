"""What all parts share: a folder, a PostgreSQL server, databases, and the same settings for all baselines."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

import pharmdb
from pharmdb import settings
from pharmdb.database import targets, transactions

DIALECTS = ("SQLite", "PostgreSQL")
# The settings that affect durability and speed; read from pharmdb's own write connection, and set for every baseline.
# secure_delete is set by name, because FAST can't be set by number.
PRAGMAS = ("foreign_keys", "synchronous", "cache_size", "secure_delete")
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
# MiB that a writer's SQLite page cache, and a sort of the same size, may take; small databases don't fill them.
CACHE = 128


@dataclass
class Ground:
    """`attempts`: in the large databases; smaller sizes derive from it. `rounds`: of work that takes seconds."""

    folder: Path
    attempts: int = 1_000_000
    rounds: int = 5
    # A server that the tests lend; otherwise one is started when it is first needed.
    lent: Any = None
    _numbers: Any = field(default_factory=count, repr=False)
    _large: dict[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def server(self) -> Any:
        sys.path.insert(0, str(settings.SOURCE / "tests"))
        from support.postgres import Server

        return self.lent or Server(as_shipped=True)

    def close(self) -> None:
        if "server" in vars(self) and self.lent is None:
            self.server.close()

    @property
    def calls(self) -> int:
        """The number of calls in one measurement of work that takes microseconds."""
        return max(2, min(300, self.attempts // 1000))

    def empty(self, dialect: str) -> str:
        """The URL of a new database without tables."""
        name = f"bench_{self.number()}"
        return f"sqlite:///{self.folder}/{name}.db" if dialect == "SQLite" else self.create(name)

    def number(self) -> int:
        """A new number each time."""
        return int(next(self._numbers))

    def create(self, name: str, template: str = "template1") -> str:
        """The URL of a new PostgreSQL database of this name."""
        with psycopg.connect(dsn(self.server.uri()), autocommit=True) as connection:
            words = map(sql.Identifier, (name, template))
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*words))
        return str(self.server.uri(name))

    def drop(self, url: str) -> None:
        """Drops the database, to free disk space."""
        if url.startswith("sqlite"):
            for end in ("", "-wal", "-shm"):
                Path(f"{path(url)}{end}").unlink(missing_ok=True)
            return
        with psycopg.connect(dsn(self.server.uri()), autocommit=True) as connection:
            name = sql.Identifier(targets.target(url).name)
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def large(self, dialect: str) -> str:
        """A known-good database with `attempts` additional attempts, created once per run."""
        if dialect not in self._large:
            self._large[dialect] = self.empty(dialect)
            fill(self._large[dialect], self.attempts)
        return self._large[dialect]


def fill(url: str, attempts: int) -> None:
    """Creates a known-good database with additional attempts and reviews, which the database itself generates."""
    pharmdb.reset(url, backup=False)
    postgresql = not url.startswith("sqlite")
    document = """'{"choice": "b", "seconds": 12}'"""
    json = f"CAST({document} AS JSONB)" if postgresql else document

    def time(first: int) -> str:
        seconds = f"{first} + n"
        return f"to_timestamp({seconds})" if postgresql else f"strftime('{_FORM}', {seconds}, 'unixepoch')"

    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {})"
    with transactions.writing(targets.target(url)) as connection:
        for statement in (
            f"{numbers.format(attempts)} INSERT INTO attempts "
            "(user_id, entity_type, entity_id, answers, score, feedback, created_at) "
            f"SELECT 1 + n - n / 2 * 2, 'question', 'q' || (n - n / 400 * 400), {json}, n - n / 101 * 101, {json}, "
            f"{time(1780000000)} FROM numbers",
            f"{numbers.format(2000)} INSERT INTO spaced_repetition_items "
            "(user_id, entity_type, entity_id, ease_factor, interval_days, next_review_at, last_reviewed_at) "
            f"SELECT 1, 'drug', 'd' || n, 2.5, 6, {time(1780000000)}, {time(1770000000)} FROM numbers",
        ):
            connection.exec_driver_sql(statement.replace("%", "%%") if postgresql else statement)
    if postgresql:
        settle(url)


_FORM = "%Y-%m-%dT%H:%M:%f+00:00"


def settle(url: str) -> None:
    """Does now what autovacuum would do in the middle of a measurement."""
    with psycopg.connect(dsn(url), autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def peak_mib(code: str, *arguments: str) -> tuple[float, str]:
    """The peak memory in MiB of a separate Python process that does this work, and what it printed."""
    # Not ru_maxrss, which a process inherits from its parent.
    code = f"import sys\n{code}\nprint(open('/proc/self/status').read())"
    # Standard error is not captured, so that its progress bar is shown.
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    (peak,) = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("VmHWM")]
    return int(peak) / 1024, done.stdout


def path(url: str) -> Path:
    return targets.target(url).path


def dsn(url: str) -> str:
    """The URL in libpq's form."""
    return url.replace("postgresql+psycopg:", "postgresql:")


# -- the same settings for all ------------------------------------------------------------------------


def pragmas(url: str) -> list[str]:
    """The pragmas that give another SQLite connection pharmdb's settings."""
    found = asked_of_pharmdb(url)
    set_ = [f"PRAGMA {name} = {found[name]}" for name in PRAGMAS if name != "secure_delete"]
    return [*set_, "PRAGMA secure_delete = FAST"]


@cache
def asked_of_pharmdb(url: str) -> dict[str, Any]:
    """The settings of pharmdb's write connection; cached per database, so that no measurement includes the query."""
    with transactions.writing(targets.target(url)) as connection:
        return _asked(url, lambda statement: connection.exec_driver_sql(statement).scalar_one())


def _asked(url: str, ask: Callable[[str], Any]) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {name: ask(f"PRAGMA {name}") for name in (*PRAGMAS, "journal_mode")}
    return {name: ask(f"SHOW {name}") for name in SETTINGS}


def require_same(url: str, baseline: str, ask: Callable[[str], Any]) -> None:
    """Raises RuntimeError if a baseline's connection has other settings than pharmdb's."""
    ours, theirs = asked_of_pharmdb(url), _asked(url, ask)
    if ours != theirs:
        raise RuntimeError(f"{baseline} runs with {theirs}, pharmdb with {ours}")


def sqlite(url: str, isolation_level: str | None = None) -> sqlite3.Connection:
    """A connection of the raw driver with pharmdb's settings."""
    connection = sqlite3.connect(path(url), isolation_level=isolation_level)  # type: ignore[arg-type]
    for statement in pragmas(url):
        connection.execute(statement)
    require_same(url, "sqlite3", lambda statement: connection.execute(statement).fetchone()[0])
    return connection


def postgresql(url: str, *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """A connection of the raw driver, with times in UTC; psycopg prepares a statement at its sixth execution."""
    connection = psycopg.connect(dsn(url), options="-c timezone=UTC", autocommit=True)

    def ask(statement: str) -> Any:
        row = connection.execute(statement.encode()).fetchone()
        return row[0] if row else None

    require_same(url, "psycopg", ask)
    connection.autocommit = autocommit
    return connection


@contextmanager
def begun(url: str, *, foreign_keys: bool = True) -> Iterator[Any]:
    """A connection of the raw driver in a write transaction, which the caller commits."""
    if url.startswith("sqlite"):
        with closing(sqlite(url)) as connection:
            connection.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
    else:
        with closing(postgresql(url, autocommit=False)) as server:
            yield server


def insert(connection: Any, table: str, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Inserts prepared rows in the raw driver's fastest way: executemany or COPY."""
    names = tuple(columns)
    if isinstance(connection, sqlite3.Connection):
        marks = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)
        return
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(names)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def driver(dialect: str) -> str:
    """The name of `insert` in a table."""
    return "raw `executemany`" if dialect == "SQLite" else "raw `COPY`"


def engine(url: str) -> sa.Engine:
    """A plain SQLAlchemy engine for pandas, independent of pharmdb."""
    made = sa.create_engine(url)
    if url.startswith("sqlite"):
        statements = pragmas(url)

        @sa.event.listens_for(made, "connect")
        def connect(connection: Any, record: Any) -> None:
            for statement in statements:
                connection.execute(statement)

    with made.connect() as connection:
        require_same(url, "SQLAlchemy", lambda statement: connection.exec_driver_sql(statement).scalar_one())
    return made
