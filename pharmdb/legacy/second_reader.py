"""Other processes that read an SQLite file ahead, so that all processors work.

Threads would wait for each other: SQLite's allocator has one lock for all of a process. A process runs this file
alone, imports nothing but the standard library, and ends with its pipe.
"""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

T = TypeVar("T")
# Less and more than any id.
BEFORE_ALL, _AFTER_ALL = -1e19, 1e19


# As many as keep a server busy that is written to.
PROCESSES = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Query:
    """A query of a file that gives one row for each of many ids.

    `sql` takes `parameters` and an id: first BEFORE_ALL, then column `last` of the row before, until the first column
    is 0. `skip` takes such an id and a number, and gives the id that comes so many rows later, or no row at the end.
    """

    path: Path
    sql: str
    parameters: tuple[Any, ...]
    last: int
    skip: str


@contextmanager
def answers(query: Query, processes: int) -> Iterator[Iterator[tuple[Any, ...]]]:
    """Yields the rows of the query in their order, read in turn by so many processes.

    Text is bytes. Raises OSError if no process can be started; the rows raise sqlite3.OperationalError.
    """
    with ExitStack() as stack:
        lines = [stack.enter_context(_answers(query, place, processes)) for place in range(processes)]
        yield _in_turn(lines)


def _in_turn(lines: list[Iterator[tuple[Any, ...]]]) -> Iterator[tuple[Any, ...]]:
    for line in cycle(lines):
        found = next(line)
        yield found
        if not found[0]:
            return


@contextmanager
def _answers(query: Query, place: int, of: int) -> Iterator[Iterator[tuple[Any, ...]]]:
    """The rows that one of the processes reads."""
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
                pickle.dump((str(query.path), query.sql, query.parameters, query.last, query.skip, place, of), pipe)
            yield ahead(thread, _read(process.stdout))
        finally:
            process.kill()


def ahead(thread: ThreadPoolExecutor, items: Iterator[T]) -> Iterator[T]:
    """Yields the items; the thread fetches the next one meanwhile."""
    coming = thread.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = thread.submit(next, items, None)
        yield item


def _read(pipe: IO[bytes]) -> Iterator[tuple[Any, ...]]:
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


def prepare(connection: sqlite3.Connection, *, decoding: bool = True) -> None:
    """Gives a connection what the queries need: real_text(), a float's exact digits, and text as `decode` gives it.

    Without `decoding`, text is bytes.
    """
    connection.text_factory = decode if decoding else bytes
    connection.create_function("real_text", 1, repr, deterministic=True)


def _main() -> None:
    # An interrupt is for the process that reads the answers; it ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, sql, parameters, last, skip, place, of = pickle.load(sys.stdin.buffer)
    with suppress(BrokenPipeError):
        try:
            with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as connection:
                prepare(connection, decoding=False)
                id_, rows, others = BEFORE_ALL, 1, place
                while rows:
                    if others:
                        (id_,) = connection.execute(skip, (id_, others)).fetchone() or (_AFTER_ALL,)
                    found, others = connection.execute(sql, (*parameters, id_)).fetchone(), of - 1
                    pickle.dump((found, "", 0), sys.stdout.buffer)
                    sys.stdout.buffer.flush()
                    rows, id_ = found[0], found[last]
        except sqlite3.Error as error:
            pickle.dump((None, str(error) or "error", error.sqlite_errorcode), sys.stdout.buffer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
