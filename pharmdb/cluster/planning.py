"""The statements that distribute the tables over a Citus cluster, and those that bring them back; no database needed.

`users` and `dataset_overrides` are copied to every node, so that an e-mail stays unique everywhere; all rows of a user
are in shards on one node. A unique key of a sharded table must contain the column that decides about the shard, so the
primary key of those tables becomes (id, user_id).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pharmdb.database.placements import REFERENCE
from pharmdb.models import Base

# What a statement keeps others from doing until the transaction ends.
WRITING, EVERYTHING = "writing", "reading and writing"


@dataclass(frozen=True)
class Table:
    """A table as the catalogues describe it.

    `placement`: "reference", or the column that decides about the shard, as the models say; `placed`: the same as it is
    now, or "". `key`: the columns of the primary key; `mib`: its size with indexes. `remains`: whether the coordinator
    still holds the rows that were distributed.
    """

    name: str
    placement: str
    placed: str = ""
    key: tuple[str, ...] = ("id",)
    rows: int = 0
    mib: float = 0.0
    remains: bool = False

    @property
    def is_sharded(self) -> bool:
        return self.placement != REFERENCE

    @property
    def key_there(self) -> tuple[str, ...]:
        """The primary key that the table needs on a cluster."""
        return ("id", self.placement) if self.is_sharded else ("id",)


class Step(NamedTuple):
    """A statement, its table and rows, what others can't do meanwhile, and the MiB that it adds to the cluster."""

    statement: str
    table: str
    rows: int
    locks: str
    growth_mib: float


def named(name: str) -> str:
    """The placement that the models give a table."""
    return str(Base.metadata.tables[name].info["placement"])


def forward(tables: Sequence[Table], workers: int = 1) -> list[Step]:
    """The steps from any state, also a half distributed one, to the distributed database; none if it is there."""
    return list(_forward(tables, workers))


def _forward(tables: Sequence[Table], workers: int) -> Iterator[Step]:
    for table in tables:
        if table.is_sharded and table.key != table.key_there:
            yield from _key(table, table.key_there)
    # Foreign keys lead from shards to reference tables, which must therefore be there first.
    for table in tables:
        if not table.is_sharded and not table.placed:
            # The coordinator keeps one copy.
            growth = table.mib * workers
            yield Step(f"SELECT create_reference_table('{table.name}')", table.name, table.rows, WRITING, growth)
    together = next((t.name for t in tables if t.is_sharded and t.placed), "none")
    for table in tables:
        if table.is_sharded and not table.placed:
            options = f"colocate_with => '{together}'"
            statement = f"SELECT create_distributed_table('{table.name}', '{table.placement}', {options})"
            yield Step(statement, table.name, table.rows, EVERYTHING, table.mib)
            together = table.name if together == "none" else together
    for table in _outward(tables):
        if table.remains or (not table.placed and table.rows):
            statement = f"SELECT truncate_local_data_after_distributing_table('{table.name}')"
            yield Step(statement, table.name, 0, EVERYTHING, -table.mib)


def back(tables: Sequence[Table]) -> list[Step]:
    """The steps from any state to one server with the models' own keys; none if it is there."""
    steps = []
    placed = [table for table in tables if table.placed]
    if placed:
        # All tables hang together by their foreign keys: one call takes all of them.
        first = min(placed, key=lambda table: table.is_sharded)
        statement = f"SELECT undistribute_table('{first.name}', cascade_via_foreign_keys => true)"
        rows, mib = sum(table.rows for table in placed), sum(table.mib for table in placed)
        steps.append(Step(statement, ", ".join(table.name for table in placed), rows, EVERYTHING, mib))
    for table in tables:
        if table.key != ("id",):
            steps += _key(table, ("id",))
    return steps


def _outward(tables: Sequence[Table]) -> list[Table]:
    """Tables that refer to others come before those."""
    return sorted(tables, key=lambda table: table.name == "users")


def _key(table: Table, columns: tuple[str, ...]) -> Iterator[Step]:
    # Citus takes ADD CONSTRAINT only alone.
    for change in (
        f"DROP CONSTRAINT pk_{table.name}",
        f"ADD CONSTRAINT pk_{table.name} PRIMARY KEY ({', '.join(columns)})",
    ):
        yield Step(f"ALTER TABLE {table.name} {change}", table.name, table.rows, EVERYTHING, 0.0)
