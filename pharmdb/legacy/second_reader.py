"""A second process that reads an SQLite file ahead, so that two processors work.

Two threads would wait for each other: SQLite's allocator has one lock for all of a process. The process runs this file
alone, imports nothing but the standard library, and ends with its pipe.
"""

from __future__ import annotations

import pickle
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

T = TypeVar("T")
# Less than any id.
BEFORE_ALL = -1e19


@contextmanager
def answers(path: Path, sql: str, parameters: Sequence[Any], last: int) -> Iterator[Iterator[tuple[Any, ...]]]:
    """Yields the rows that a query of the file gives for one id after the other.

    The query gives one row and takes the parameters and an id: first BEFORE_ALL, then column `last` of the row before,
    until the first column is 0. Text that is not UTF-8 is bytes. Raises OSError if no process can be started;
    the rows raise sqlite3.OperationalError.
    """
    command = [sys.executable or "python3", "-I", __file__]
    # A thread takes each answer from the pipe while the caller works on the one before.
    with (
        ThreadPoolExecutor(1) as thread,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=1 << 20) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdin as pipe:
                pickle.dump((str(path), sql, tuple(parameters), last), pipe)
            yield ahead(thread, _answers(process.stdout))
        finally:
            process.kill()


def ahead(thread: ThreadPoolExecutor, items: Iterator[T]) -> Iterator[T]:
    """Yields the items; the thread fetches the next one meanwhile."""
    coming = thread.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = thread.submit(next, items, None)
        yield item


def _answers(pipe: IO[bytes]) -> Iterator[tuple[Any, ...]]:
    while True:
        try:
            found, message, code = pickle.load(pipe)
        except EOFError:
            found, message, code = None, "the process that reads the source has ended", sqlite3.SQLITE_IOERR
        if message:
            error = sqlite3.OperationalError(message)
            error.sqlite_errorcode = code
            raise error
        yield found
        if not found[0]:
            return


def decode(value: bytes) -> str | bytes:
    """Decodes text; a value that is not UTF-8, which SQLite allows, stays bytes, so that the others can be read."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def prepare(connection: sqlite3.Connection) -> None:
    """Gives a connection what the queries need: text as `decode` gives it, and real_text(), a float's exact digits."""
    connection.text_factory = decode
    connection.create_function("real_text", 1, repr, deterministic=True)


def _main() -> None:
    # An interrupt is for the process that reads the answers; it ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, sql, parameters, last = pickle.load(sys.stdin.buffer)
    with suppress(BrokenPipeError):
        try:
            with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as connection:
                prepare(connection)
                id_, rows = BEFORE_ALL, 1
                while rows:
                    found = connection.execute(sql, (*parameters, id_)).fetchone()
                    pickle.dump((found, "", 0), sys.stdout.buffer)
                    sys.stdout.buffer.flush()
                    rows, id_ = found[0], found[last]
        except sqlite3.Error as error:
            pickle.dump((None, str(error) or "error", error.sqlite_errorcode), sys.stdout.buffer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
