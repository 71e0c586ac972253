"""What the catalogues of a cluster say about the tables, and running the statements that place them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, inspect

from pharmdb import progress
from pharmdb.cluster import planning
from pharmdb.cluster.planning import Step, Table
from pharmdb.learning import table_sizes
from pharmdb.models import MODELS
from pharmdb.schema import placements


def tables(connection: Connection, *, sized: bool = True) -> list[Table]:
    """The tables of the models as they are now, in the models' order; the schema must be at head.

    Citus measures no sizes in a transaction that has changed several shards: there, ask for none.
    """
    placed = placements.placements(connection)
    inspector = inspect(connection)
    names = [model.__tablename__ for model in MODELS]
    rows = {name: int(connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()) for name in names}
    sizes = {name: size for name, (size, _) in table_sizes.measure(connection, rows).items()} if sized else {}
    for name in placed if sized else ():
        sizes[name] = connection.exec_driver_sql(f"SELECT citus_total_relation_size('{name}')").scalar_one()
    return [
        Table(
            name=name,
            placement=planning.named(name),
            placed=placed.get(name, ""),
            key=tuple(inspector.get_pk_constraint(name)["constrained_columns"]),
            rows=rows[name],
            mib=float(sizes.get(name, 0)) / 2**20,
            remains=name in placed and _remains(connection, name),
        )
        for name in names
    ]


def _remains(connection: Connection, table: str) -> bool:
    """Whether the coordinator's own file of a distributed table still holds its rows."""
    return bool(connection.exec_driver_sql(f"SELECT pg_relation_size('{table}')").scalar_one())


def workers(connection: Connection) -> int:
    """The number of workers that the coordinator knows; 0 without Citus."""
    if not placements.has_citus(connection):
        return 0
    return int(connection.exec_driver_sql("SELECT count(*) FROM citus_get_active_worker_nodes()").scalar_one())


def run(connection: Connection, steps: Iterable[Step]) -> None:
    """Runs the steps inside the caller's transaction."""
    steps = list(steps)
    with progress.counting("distribute", len(steps), " statements") as advance:
        for step in steps:
            connection.exec_driver_sql(step.statement)
            advance(1)
