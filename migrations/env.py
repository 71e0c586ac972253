"""Alembic runs this file for every command; pharmdb's commands pass it their connection.

When run by the plain `alembic` command it opens its own connection, with the same locks and checks.
"""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from sqlalchemy import JSON, Connection, TypeDecorator

from pharmdb.cluster import placing
from pharmdb.database import environments, targets, time_zone, transactions
from pharmdb.database.placements import placements
from pharmdb.migration import checks
from pharmdb.schema import rebuilding, revisions
from pharmdb.schema.drift import COMPARISON
from pharmdb.types import SQLITE_NOW, UTCDateTime, utcnow


def render_item(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:
    """Revisions are frozen: they use SQLAlchemy's types, never those of pharmdb, which may change."""
    if kind == "server_default" and isinstance(item, sa.DefaultClause) and isinstance(item.arg, utcnow):
        return f'sa.text("({SQLITE_NOW})" if op.get_bind().dialect.name == "sqlite" else "now()")'
    if kind == "check":
        return checks.render(item)
    if kind != "type":
        return False
    if isinstance(item, JSON):
        autogen_context.imports.add("from sqlalchemy.dialects import postgresql")
        return "sa.JSON().with_variant(postgresql.JSONB(), 'postgresql').with_variant(sa.TEXT(), 'sqlite')"
    if isinstance(item, UTCDateTime):
        autogen_context.imports.add("from sqlalchemy.dialects import postgresql")
        return "postgresql.TIMESTAMP(timezone=True, precision=3).with_variant(sa.TEXT(), 'sqlite')"
    if isinstance(item, TypeDecorator):
        return "sa.Boolean().with_variant(sa.Integer(), 'sqlite')"
    return False


def include_object(item: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
    """A table without a model belongs to somebody else: a revision never drops it. It is still reported as drift."""
    return not (type_ == "table" and reflected and compare_to is None)


def migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        time_zone.use_utc(connection)

    def record(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
        revisions.record_step(connection, step)

    context.configure(
        on_version_apply=record,
        connection=connection,
        transactional_ddl=True,
        render_as_batch=True,
        render_item=render_item,
        include_object=include_object,
        **COMPARISON,
    )
    with context.begin_transaction(), rebuilding.counting_on(connection):
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
elif context.is_offline_mode():
    raise SystemExit(
        "pharmdb's revisions read the data they change, so they can't be exported as SQL: apply them online"
    )
else:
    target = targets.target()
    with transactions.changing_schema(target) as own:
        revisions.require_known(own, target)
        distributed = bool(placements(own))
        migrate(own)
        if distributed:
            placing.place(own)
        environments.stamp_environment(own)
