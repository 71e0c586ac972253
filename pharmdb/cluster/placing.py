"""What the catalogues of a cluster say about the tables, and moving the tables inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, inspect

from pharmdb import progress
from pharmdb.cluster import planning
from pharmdb.cluster.planning import Step, Table
from pharmdb.database.placements import placements
from pharmdb.models import MODELS


def tables(connection: Connection) -> list[Table]:
    """The tables of the models as they are now, in the models' order, without sizes; a missing one is left out."""
    placed = placements(connection)
    inspector = inspect(connection)
    there = set(inspector.get_table_names())
    return [
        Table(
            name=name,
            placement=planning.named(name),
            placed=placed.get(name, ""),
            key=tuple(inspector.get_pk_constraint(name)["constrained_columns"]),
            rows=int(connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()),
            remains=name in placed and _remains(connection, name),
        )
        for name in (model.__tablename__ for model in MODELS)
        if name in there
    ]


def _remains(connection: Connection, table: str) -> bool:
    """Whether the coordinator's own file of a distributed table still holds its rows."""
    return bool(connection.exec_driver_sql(f"SELECT pg_relation_size('{table}')").scalar_one())


def run(connection: Connection, steps: Iterable[Step]) -> None:
    """Runs the steps inside the caller's transaction."""
    steps = list(steps)
    with progress.counting("distribute", len(steps), " statements") as advance:
        for step in steps:
            connection.exec_driver_sql(step.statement)
            advance(1)


@contextmanager
def gathered(connection: Connection, *, emptied: bool = False) -> Iterator[None]:
    """Brings distributed tables back to the coordinator for the block, and distributes what is there after it.

    For operations that drop tables or make them anew: in a transaction that has dropped a distributed table, Citus
    can't distribute another one. Does nothing if no table is distributed. With `emptied`, the rows are deleted instead
    of moved, because the block replaces them.
    """
    placed = placements(connection)
    quote = connection.dialect.identifier_preparer.quote_identifier
    if placed and emptied:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(map(quote, placed))} CASCADE")
    was_distributed = bool(placed)
    while placed:
        name = quote(next(iter(placed))).replace("'", "''").replace("%", "%%")
        connection.exec_driver_sql(f"SELECT undistribute_table('{name}', cascade_via_foreign_keys => true)")
        placed = placements(connection)
    yield
    if was_distributed:
        place(connection)


def place(connection: Connection) -> list[Step]:
    """Distributes what is not yet distributed, and returns the steps: all of them, or none."""
    steps = planning.forward(tables(connection))
    run(connection, steps)
    return steps
