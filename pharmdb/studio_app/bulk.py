"""Many rows at once: all rows of a view, to stage one value in each of them."""

from __future__ import annotations

from pharmdb.studio_app import browsing, values
from pharmdb.studio_app.catalogue import Table
from pharmdb.studio_app.filters import View, words
from pharmdb.studio_app.statement_log import Session

# The most changes that are staged at once: the page holds each of them, and compares its row before the save.
MOST_CHANGES = 5000


def rows(session: Session, table: Table, view: View) -> list[browsing.Row]:
    """All rows of a view, in its order. Raises UnfitError if they are too many to be staged."""
    statement = browsing.whole(table, view, list(table.columns.values())).limit(MOST_CHANGES + 1)
    found = session.rows(statement)
    if len(found) > MOST_CHANGES:
        where = words(view)
        raise values.UnfitError(
            f"more than {MOST_CHANGES:,} rows{f' where {where}' if where else ''}: filter further, or use SQL"
        )
    return [browsing.row_of(table, row) for row in found]
