"""Progress by tag and day, computed from the attempts: the database counts them, a catalogue maps them to tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from pharmdb.learning import frames
from pharmdb.learning.catalogue import Catalogue, read
from pharmdb.learning.sm2 import CORRECT_FROM

if TYPE_CHECKING:
    import pandas as pd

# Attempts by day and entity.
COUNTED = ["day", "entity_type", "entity_id", "correct_count", "attempts"]
_COUNTS = ["correct_count", "wrong_count"]
_KEY = ["day", "module", "course_block", "tag"]


def daily_progress(
    connection: Connection,
    *,
    user_id: int | None = None,
    since: datetime | None = None,
    catalogue: str | Path = "",
) -> pd.DataFrame:
    """Counts correct and wrong attempts by day (UTC) and tag; of all users or one, of all time or since a given time.

    Columns: day (datetime64[s]), module, course_block, tag (str), correct_count, wrong_count (Int64), sorted by the
    first four. An attempt counts for each tag of its entity; the tag is missing if the entity is not in the catalogue,
    which is read from a folder (default data/catalogue; relative to settings.home()).

    Raises ValueError for a `since` without a time zone; CatalogueError.
    """
    import pandas as pd

    conditions, values = frames.of_attempts(connection, user_id, since)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = _SQL[connection.dialect.name].format(where=where, correct=CORRECT_FROM)
    rows: Iterable[Sequence[Any]] = connection.execute(text(sql), values)
    if connection.dialect.name == "sqlite":
        rows = ((key[:10], *key[10:].split(" ", 1), correct, attempts) for key, correct, attempts in rows)
    return by_tag(pd.DataFrame(map(tuple, rows), columns=COUNTED), catalogue)


def by_tag(data: pd.DataFrame, catalogue: str | Path) -> pd.DataFrame:
    """The dataframe of `daily_progress` from one with the columns COUNTED, which may have several rows for a key."""
    data = data.astype({"day": "datetime64[s]"} | dict.fromkeys(("entity_type", "entity_id"), "str"))
    data = data.assign(wrong_count=data["attempts"] - data["correct_count"])
    tagged = data.merge(_tags(read(catalogue)), how="left", on=["entity_type", "entity_id"])
    found = tagged.groupby(_KEY, dropna=False, sort=True)[_COUNTS].sum()
    return found.reset_index().astype(dict.fromkeys(_KEY[1:], "str") | dict.fromkeys(_COUNTS, "Int64"))


def _tags(contents: Catalogue) -> pd.DataFrame:
    """One row for each tag of each entity."""
    import pandas as pd

    rows = [
        (entity.kind, entity.id, contents.modules[entity.kind], entity.block, tag)
        for entity in contents.entities
        for tag in entity.tags
    ]
    return pd.DataFrame(rows, columns=["entity_type", "entity_id", *_KEY[1:]], dtype="str")


# Grouping by one text is faster than by three columns. A day has ten characters; an entity type contains no space.
_SQL = {
    "sqlite": """
        SELECT substr(created_at, 1, 10) || entity_type || ' ' || entity_id AS key, sum(score >= {correct}), count(*)
        FROM attempts {where} GROUP BY key
    """,
    "postgresql": """
        SELECT CAST(created_at AT TIME ZONE 'UTC' AS date), entity_type, entity_id,
               count(*) FILTER (WHERE score >= {correct}), count(*)
        FROM attempts {where} GROUP BY 1, 2, 3
    """,
}
