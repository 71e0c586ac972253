"""From other tables than the attempts: reviews that become due, and the progress that the application counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, text

from pharmdb.classes import definitions
from pharmdb.classes.counting import DAY, Tally
from pharmdb.classes.intervals import with_shares
from pharmdb.classes.material import Material
from pharmdb.classes.population import Population, Terms, among, members
from pharmdb.classes.streaming import Attempts, undamaged
from pharmdb.learning import joined
from pharmdb.learning.joined import Column
from pharmdb.models import ATTEMPT_ENTITY_TYPES
from pharmdb.types import UTCDateTime

if TYPE_CHECKING:
    import pandas as pd

DAYS = 30
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def forecast(
    connection: Connection, population: Population, terms: Terms, material: Material, attempts: Attempts, last_day: int
) -> pd.DataFrame:
    """The table `forecast`: reviews of the class's learners by day, counted from the class's newest attempt on."""
    import pandas as pd

    if not attempts.count:
        return definitions.empty("forecast")
    newest = attempts.newest
    conditions, values = _restricted(connection, population, material)
    conditions.append("next_review_at < :before")
    values["before"] = UTCDateTime().process_bind_param(_end(newest), connection.dialect)
    columns = [Column(name, "integer", False) for name in ("id", "user_id")]
    columns.append(Column("next_review_at", "time", False))
    due, overdue = Tally(), 0
    learners = np.zeros((DAYS, len(population)), dtype=bool)
    with undamaged(connection):
        for _, user_id, at in joined.chunks(connection, "spaced_repetition_items", columns, conditions, values):
            user = population.places(user_id)
            # In some time zones the clock is set back at midnight, to the day before.
            ahead = np.maximum(terms.local(at) // DAY - last_day, 0)
            overdue += int(((user >= 0) & (at <= newest)).sum())
            there = (user >= 0) & (at > newest) & (ahead < DAYS)
            user, ahead = user[there], ahead[there]
            due.add(ahead, np.zeros(len(ahead), dtype=np.int64), np.zeros(len(ahead), dtype=np.int64), 1)
            learners[ahead, user] = True
    days, number, _, _ = due.sums()
    reviews = np.zeros(DAYS, dtype=np.int64)
    reviews[days] = number
    data = pd.DataFrame(
        {
            "day": (last_day + np.arange(DAYS)).astype("datetime64[D]").astype("datetime64[s]"),
            "reviews": reviews,
            "learners": learners.sum(axis=1),
            "waiting": overdue + np.cumsum(reviews),
        }
    )
    return definitions.table("forecast", data)


def _end(newest: int) -> datetime:
    """Before when reviews are read: a day more than needed, because of the time zones."""
    try:
        return _EPOCH + timedelta(microseconds=newest) + timedelta(days=DAYS + 2)
    except OverflowError:
        return datetime.max.replace(microsecond=0, tzinfo=UTC)


def _restricted(connection: Connection, population: Population, material: Material) -> tuple[list[str], dict[str, Any]]:
    """The conditions for the class, a module and a block, and their values."""
    conditions, values = [], dict[str, Any]()
    if len(material.kinds) < len(ATTEMPT_ENTITY_TYPES):
        conditions.append(material.kinds_condition)
    if material.items is not None:
        keys = sorted(f"{key.kind} {key.id}" for key in material.items)
        condition, values = among(connection, "entity_type || ' ' || entity_id", "keys", keys)
        conditions.append(condition)
    if not population.all_users:
        condition, more = members(connection, population)
        conditions.append(condition)
        values |= more
    return conditions, values


def progress(connection: Connection, population: Population, terms: Terms) -> pd.DataFrame:
    """The table `progress`, from the application's own rows, which know no period."""
    condition, values = members(connection, population)
    conditions = [condition]
    for name, column in (("module", "module"), ("block", "course_block")):
        if value := getattr(terms, name):
            conditions.append(f"{column} = :{name}")
            values[name] = value
    sql = (
        "SELECT module, course_block, tag, count(*) AS learners, sum(correct_count + wrong_count) AS answers, "
        "sum(correct_count) AS correct FROM progress_by_tag WHERE correct_count + wrong_count > 0 AND "
        f"{' AND '.join(conditions)} GROUP BY module, course_block, tag"
    )
    import pandas as pd

    columns = ["module", "course_block", "tag", "learners", "answers", "correct"]
    rows = [(*row[:3], *map(int, row[3:])) for row in connection.execute(text(sql), values)]
    # Sorted here: the databases' collations differ.
    data = pd.DataFrame(sorted(rows), columns=columns)
    return definitions.table("progress", with_shares(data, "answers", terms.min_attempts))
