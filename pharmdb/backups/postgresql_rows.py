"""The rows of a PostgreSQL database, as lines of COPY, to compare a dump with its source."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from pharmdb import progress


@dataclass
class Rows:
    """The rows of a table, as lines of COPY: how many, and the sum of their hashes; equal for a dump and its source.

    The sum does not depend on the order of the rows: those of a distributed table come as the nodes respond. A hash is
    Python's own of the bytes: a SipHash of 64 bits with a key of this process, to be compared only within the process.
    """

    count: int = 0
    hashes: int = 0

    def add(self, lines: Iterable[bytes | memoryview]) -> int:
        """Adds whole lines, each with its line break; returns how many."""
        hashes = list(map(hash, lines))
        self.count += len(hashes)
        self.hashes += sum(hashes)
        return len(hashes)


# The qualified and quoted name of each table, and its rows.
Content = dict[str, Rows]

# Lines that are hashed at a time.
_LINES = 5_000


def stored_rows(connection: Connection) -> Content:
    """The rows of each table as COPY writes them with pg_dump's settings."""
    found: Content = {}
    for quoted, rows in _copied(connection):
        found[quoted] = Rows()
        with progress.counting(f"read {_unquote(quoted)}") as advance:
            while read := found[quoted].add(islice(rows, _LINES)):
                advance(read)
    return found


def counts(content: Content) -> dict[str, int]:
    """The number of rows in each table."""
    return {_unquote(quoted): rows.count for quoted, rows in sorted(content.items())}


def holds(connection: Connection, loaded: Content, digest: str) -> bool:
    """Whether the database holds the rows that were loaded; with the digest of an old manifest, those that it is of."""
    return old_digest(connection) == digest if digest else stored_rows(connection) == loaded


def old_digest(connection: Connection) -> str:
    """The digest in manifests up to form 2: a SHA-256 of the rows of all tables in physical order."""
    found = []
    for quoted, rows in _copied(connection):
        sha256, count = hashlib.sha256(), 0
        for line in rows:
            sha256.update(line)
            count += 1
        found.append((quoted, count, sha256.hexdigest()))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


def _copied(connection: Connection) -> Iterator[tuple[str, Iterator[Any]]]:
    """The qualified and quoted name of each table, and its rows as libpq returns them: one line at a time."""
    settings = ("datestyle = 'ISO'", "intervalstyle = 'postgres'", "extra_float_digits = 3", "timezone = 'UTC'")
    for setting in (*settings, "synchronize_seqscans = off"):
        connection.exec_driver_sql(f"SET LOCAL {setting}")
    tables = connection.exec_driver_sql(
        "SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class "
        "JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE nspname = current_schema() AND relkind = 'r' AND NOT EXISTS (SELECT FROM pg_depend "
        "WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e') ORDER BY 1"
    )
    driver: Any = connection.connection.dbapi_connection
    for quoted in list(tables.scalars()):
        with driver.cursor() as cursor, cursor.copy(f"COPY {quoted} TO STDOUT") as rows:
            yield quoted, _lines(driver, rows)


def _lines(driver: Any, rows: Any) -> Iterator[memoryview]:
    """The lines of a COPY. Those that have arrived are taken from libpq itself, in half the time of `iter(rows)`.

    `rows` waits for the others, where a signal can interrupt. Raises the driver's error if the COPY fails.
    """
    from psycopg import errors, generators, pq

    arrived = driver.pgconn.get_copy_data
    while True:
        size, line = arrived(1)
        if size < 0:
            break
        if not (line := line or rows.read()):
            return
        yield line
    # Not get_result of libpq, which would wait with all other threads stopped.
    for result in driver.wait(generators.fetch_many(driver.pgconn)):
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise errors.error_from_result(result, driver.info.encoding)


def _unquote(qualified: str) -> str:
    found = re.search(r'(?:"((?:[^"]|"")*)"|([^".]+))$', qualified)
    assert found is not None, qualified
    return (found.group(1) or found.group(2)).replace('""', '"')
