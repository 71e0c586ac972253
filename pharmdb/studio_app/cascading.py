"""The effects of deleting rows on other tables, counted in the studio's session, whose statements are logged."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_

from pharmdb.schema.cascades import Cascade, Count, effects
from pharmdb.studio_app import rows
from pharmdb.studio_app.catalogue import Catalogue, Table
from pharmdb.studio_app.statement_log import Session


def cascades(session: Session, tables: Catalogue, table: Table, keys: Sequence[Sequence[str | None]]) -> list[Cascade]:
    """The rows of other tables that deleting these rows affects, counted at every depth; only tables with such rows."""

    def count(statement: Count) -> int:
        row = session.first(statement)
        return int(row[0]) if row else 0

    children = {name: each.children for name, each in tables.items()}
    return effects(count, children, table.name, or_(*(rows.named(table, key) for key in keys)))
