"""Prints a Markdown table: whole processes over an empty papermill run, a reset over raw sqlite3, the import."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import nbformat

import pharmdb
from benchmarks import reliability
from benchmarks.timing import Result, alternate
from pharmdb import database, seeding

PROCESS_ROUNDS = 9
RESET_ROUNDS = 40
IMPORT_ROUNDS = 15
BINARIES = Path(sys.executable).parent


def whole_processes(folder: Path) -> list[Result]:
    """`pharmdb reset` and `pharmdb seed` over papermill with a notebook of one empty cell, the floor."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "empty.ipynb")
    environment = os.environ | {
        "PHARMDB_URL": f"sqlite:///{folder / 'process.db'}",
        "PHARMDB_BACKUPS": str(folder / "backups"),
    }

    def run(*command: object) -> None:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    floor, reset, seed = alternate(
        PROCESS_ROUNDS,
        lambda: run(BINARIES / "papermill", folder / "empty.ipynb", folder / "out.ipynb"),
        lambda: run(BINARIES / "pharmdb", "reset"),
        lambda: run(BINARIES / "pharmdb", "seed"),
    )
    return [
        Result(f"whole process, `pharmdb {name}`", ours, "empty papermill run", floor, 1.5)
        for name, ours in (("reset", reset), ("seed", seed))
    ]


def in_process_reset(folder: Path) -> Result:
    """A reset over raw sqlite3 with the same DDL and rows, opened and committed alike; password hashing apart."""
    url = f"sqlite:///{folder / 'ours.db'}"
    peer = folder / "peer.db"
    pharmdb.reset(url, backup=False)
    hashes = seeding.hash_passwords(seeding.read(), {})
    with mock.patch.object(seeding, "hash_passwords", return_value=hashes):
        # The raw peer takes no backup, so neither do we.
        statements = _written_by(lambda: pharmdb.reset(url, backup=False))

        def raw() -> None:
            connection = sqlite3.connect(peer, isolation_level=None)
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = FAST")
            connection.execute("BEGIN IMMEDIATE")
            for statement in statements:
                connection.execute(statement)
            connection.execute("COMMIT")
            connection.close()

        # The peer starts from the same database, so that it too has something to drop.
        with sqlite3.connect(url.removeprefix("sqlite:///")) as source, sqlite3.connect(peer) as copy:
            source.backup(copy)
        ours, raws = alternate(RESET_ROUNDS, lambda: pharmdb.reset(url, backup=False), raw)
    return Result("reset in one process, without hashing", ours, "raw `sqlite3`, same DDL and rows", raws, 5)


def _written_by(work: object) -> list[str]:
    """The statements that change schema or rows, with their values, as SQLite saw them."""
    seen: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)  # type: ignore[call-overload]
        connection.set_trace_callback(seen.append)
        return connection

    with mock.patch.object(sqlite3, "connect", traced):
        work()  # type: ignore[operator]
    kept = ("CREATE", "DROP", "ALTER", "INSERT", "UPDATE", "DELETE")
    return [statement for statement in seen if statement.lstrip().upper().startswith(kept)]


def imports() -> Result:
    """`import pharmdb` over `import sqlalchemy`, each in a process of its own."""

    def load(name: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True, cwd=database.ROOT)

    ours, peer = alternate(IMPORT_ROUNDS, lambda: load("pharmdb"), lambda: load("sqlalchemy"))
    return Result("`import pharmdb`, whole process", ours, "`import sqlalchemy`", peer, 1.3)


def main() -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        lines = list(map(str, [*whole_processes(folder), in_process_reset(folder), imports()]))
        lines += reliability.main(folder)
    print("| work | pharmdb: median (quartiles) | peer | peer: median (quartiles) | ratio | target | |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(lines))
    versions = ", ".join(f"{name} {version(name)}" for name in ("sqlalchemy", "alembic", "papermill", "pandas"))
    print(
        f"\n{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version} (WAL, synchronous FULL on both sides), {versions}"
    )


if __name__ == "__main__":
    main()
