"""The doctor's checks that are specific to SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import CheckConstraint, Connection

from pharmdb.database import rebuilding, sqlite_codes, targets
from pharmdb.database.lock_holders import Holder
from pharmdb.doctor import orphans, sampling
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding
from pharmdb.doctor.side import Faults, Side
from pharmdb.models import MODELS, Base


class SQLiteSide(Side):
    def faults(self, context: Context) -> Faults:
        if context.whole:
            return Faults(_integrity(context.connection), [], [])
        return _faults_of_a_part(context.connection)

    def repair_command(self, context: Context) -> str:
        return rebuilding.command(context.target, damaged=True)

    def unenforced_keys(self, context: Context) -> tuple[str, str] | None:
        enforced = context.connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()
        return None if enforced else ("not enforced", context.rebuild)

    def orphans(self, connection: Connection) -> orphans.Orphans:
        count, examples = 0, list[tuple[str, int]]()
        for table, id_, *_ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            count += 1
            if len(examples) < sampling.EXAMPLES:
                examples.append((table, id_))
        return orphans.Orphans(count, examples)

    def unproven_checks(self, connection: Connection, checks: list[CheckConstraint]) -> list[CheckConstraint]:
        return checks

    def unproven_constraints(self, context: Context) -> tuple[str, str] | None:
        return None

    def hidden_rows(self, context: Context) -> tuple[str, str, str] | None:
        return None

    def index_name(self, index: str, table: str) -> str:
        # SQLite names the index of a unique constraint itself.
        return f"sqlite_autoindex_{table}_" if index.startswith("uq_") else index

    def plan(self, connection: Connection, statement: Any) -> str:
        compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}"))

    def journal_mode(self, connection: Connection) -> str:
        return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())

    def other_zones(self, context: Context) -> tuple[str, str] | None:
        return None

    def replica(self, context: Context) -> Finding | None:
        return None

    def is_locked(self, target: targets.Target) -> bool:
        if not target.path.is_file():
            return False
        try:
            with closing(sqlite3.connect(f"{target.path.as_uri()}?mode=rw", uri=True, timeout=0)) as connection:
                # Takes the lock and releases it; writes nothing.
                connection.execute("BEGIN IMMEDIATE").execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            return sqlite_codes.is_busy(error)
        except sqlite3.DatabaseError:
            return False
        return False

    def end(self, target: targets.Target, holder: Holder) -> str:
        return f"kill {holder.pid}"

    def folder(self, target: targets.Target) -> Path:
        return target.path.parent


def _integrity(connection: Connection, table: str = "") -> list[str]:
    """The findings of SQLite's integrity check in the file, or in one (quoted) table.

    Rows that violate a CHECK constraint are left out: check_constraints reports them.
    """
    connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
    try:
        pragma = f"PRAGMA integrity_check({table})" if table else "PRAGMA integrity_check"
        # A sound database yields one row, "ok".
        return [line for line in connection.exec_driver_sql(pragma).scalars() if line != "ok"]
    finally:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")


def _faults_of_a_part(connection: Connection) -> Faults:
    """Checks small tables completely, with their indexes; of our large tables a sample is looked up in each index."""
    found: list[str] = []
    checked: list[sampling.Rows] = []
    skipped: list[str] = []
    names = connection.exec_driver_sql(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow') ORDER BY name"
    )
    for (name,) in names.all():
        quoted = '"' + name.replace('"', '""') + '"'
        if not sampling.has_many(connection, quoted):
            found += _integrity(connection, quoted)
        elif _is_ours(connection, name):
            checked.append(sampling.all_or_some(connection, name))
            found += _unindexed(connection, checked[-1])
        else:
            skipped.append(name)
    return Faults(found, checked, skipped)


def _is_ours(connection: Connection, name: str) -> bool:
    if name not in {model.__tablename__ for model in MODELS}:
        return False
    key = connection.exec_driver_sql(f"SELECT name FROM pragma_table_info('{name}') WHERE pk")
    return key.scalars().all() == ["id"]


def _unindexed(connection: Connection, rows: sampling.Rows) -> Iterator[str]:
    """The rows that are missing from an index, in the wording of SQLite's integrity check."""
    table = rows.table
    # An index that isn't ours may not find rows by its columns; the drift check reports it.
    ours = {index.name for index in Base.metadata.tables[table].indexes}
    indexes = connection.exec_driver_sql(f"SELECT name FROM pragma_index_list('{table}') WHERE NOT partial").scalars()
    for index in indexes.all():
        if index not in ours and not index.startswith("sqlite_autoindex_"):
            continue
        columns = connection.exec_driver_sql(f"SELECT name FROM pragma_index_info('{index}')").scalars().all()
        same = " AND ".join(f'entry."{column}" IS looked."{column}"' for column in columns)
        lacking = (
            f'NOT EXISTS (SELECT 1 FROM {table} AS entry INDEXED BY "{index}" WHERE {same} AND entry.id = looked.id)'
        )
        _, ids = sampling.breaking(connection, rows, lacking)
        yield from (f"row {id_} missing from index {index}" for id_ in ids)
