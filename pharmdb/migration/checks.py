"""Checks in new revisions: Alembic's autogenerate neither compares checks nor keeps which database one is for."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from alembic.autogenerate import renderers
from alembic.operations.ops import AddColumnOp, MigrateOperation, ModifyTableOps
from sqlalchemy import CheckConstraint, Connection

from pharmdb.schema import drift

# The name of a check, its SQL, and the one database that it is for, or "".
Check = tuple[str, str, str]


def render(check: CheckConstraint) -> str:
    """The check as Python code of a revision: DDL for one database stays with it."""
    name, sql, dialect = _check(check)
    text = f"sa.CheckConstraint({sql!r}, name=op.f({name!r}))"
    return f"{text}.ddl_if(dialect={dialect!r})" if dialect else text


def _check(check: CheckConstraint) -> Check:
    return str(check.name), str(check.sqltext), drift.dialect_of(check)


class ChecksOp(MigrateOperation):
    """Creates these checks of an existing table, or drops those of them that are there."""

    def __init__(self, table: str, checks: Iterable[Check], *, drop: bool = False) -> None:
        self.table = table
        self.checks = sorted(checks)
        self.drop = drop


@renderers.dispatch_for(ChecksOp)
def _render(context: Any, change: ChecksOp) -> list[str]:
    context.imports.add("import sqlalchemy as sa")
    lines = [f"with op.batch_alter_table({change.table!r}) as batch_op:"]
    if change.drop:
        lines.append(f"there = sa.inspect(op.get_bind()).get_check_constraints({change.table!r})")
        for name in sorted({name for name, _, _ in change.checks}):
            lines += [f"if {name!r} in {{check['name'] for check in there}}:"]
            lines += [f"batch_op.drop_constraint(op.f({name!r}), type_='check')", ""]
        return [*lines, ""]
    for name, sql, dialect in change.checks:
        create = f"batch_op.create_check_constraint(op.f({name!r}), {sql!r})"
        lines += [f"if op.get_bind().dialect.name == {dialect!r}:", create, ""] if dialect else [create]
    return [*lines, ""]


def complete(connection: Connection, up: Any, down: Any) -> None:
    """Adds to the operations of a new revision the checks that models have and the database has not, and vice versa.

    Of the checks for the other database, which can't be asked, it adds those with the name of a new one, and those of
    a new column. A changed check stays a difference. A dropped one comes back in the downgrade of this database only.
    """
    here = connection.dialect.name
    columns = defaultdict(set)
    for change in up.ops:
        for inner in change.ops if isinstance(change, ModifyTableOps) else ():
            if isinstance(inner, AddColumnOp):
                columns[inner.table_name].add(str(inner.column.name))
    for table, found in drift.checks_there(connection):
        checks = [_check(each) for each in table.constraints if isinstance(each, CheckConstraint)]
        own = {name for name, _, dialect in checks if dialect in ("", here)}
        new = own - found.keys()
        words = columns[table.name]
        added = [
            (name, sql, dialect)
            for name, sql, dialect in checks
            if name in new or (dialect not in ("", here) and words & set(re.findall(r"\w+", sql)))
        ]
        gone = [(name, sql, here) for name, sql in found.items() if name not in own]
        # A check is dropped before its column, and created after it.
        up.ops[:0] = _operations(table.name, gone, drop=True)
        up.ops += _operations(table.name, added)
        down.ops[:0] = _operations(table.name, added, drop=True)
        down.ops += _operations(table.name, gone)


def _operations(table: str, checks: list[Check], *, drop: bool = False) -> Iterator[ChecksOp]:
    if checks:
        yield ChecksOp(table, checks, drop=drop)
