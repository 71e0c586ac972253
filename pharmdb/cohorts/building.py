"""Adds synthetic learners with all their rows to the database, for load tests, demonstrations and teaching."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from pharmdb import progress, reports
from pharmdb.arguments import checked
from pharmdb.cohorts import batches, cohort_charts
from pharmdb.database import bulk, environments, locks, targets, transactions
from pharmdb.errors import ParameterError, ProtectedError
from pharmdb.learning import charts
from pharmdb.learning.catalogue import read
from pharmdb.models import MODELS
from pharmdb.schema import revisions
from pharmdb.schema.fingerprints import fingerprint

if TYPE_CHECKING:
    import pandas as pd

MOST_LEARNERS = 999_999
MOST_DAYS = 730
# Learners per transaction: few enough to fit in memory, and to lose little work in a crash.
BATCH = 500


@dataclass(frozen=True, eq=False)
class CohortReport:
    """A cohort's rows and learning statistics. Each table or chart is queried when it is first used.

    `tables`: table (str), created, unchanged (int64, rows of these learners).
    """

    target: str
    learners: int
    days: int
    random_seed: int
    created: dict[str, int] = field(repr=False)
    unchanged: dict[str, int] = field(repr=False)
    # Contains the password, which `target` omits.
    _place: targets.Target = field(repr=False)

    @property
    def tables(self) -> pd.DataFrame:
        rows = [(name, self.created[name], self.unchanged[name]) for name in self.created]
        return reports.table(rows, {"table": "str", "created": "int64", "unchanged": "int64"})

    @cached_property
    def learning(self) -> pd.DataFrame:
        """attempt (int64, first of each ten of a learner's attempts), attempts, correct (int64), accuracy (percent)."""
        return self._accuracies("attempt", _LEARNING)

    @cached_property
    def by_tag(self) -> pd.DataFrame:
        """course_block, tag (str), answers, correct (int64), accuracy (percent), from the progress rows.

        An attempt counts once for each tag of its entity, so there are more answers than attempts.
        """
        rows = self._ask(_BY_TAG)
        columns = {"course_block": "str", "tag": "str", "answers": "int64", "correct": "int64"}
        return _with_accuracy(reports.table(sorted(map(tuple, rows)), columns), of="answers")

    @cached_property
    def retention(self) -> pd.DataFrame:
        """since (str, days since the last answer to the same entity), attempts, correct (int64), accuracy (percent)."""
        spans = self._accuracies("since", _RETENTION)
        return spans.assign(since=[_span(int(number)) for number in spans["since"]]).astype({"since": "str"})

    @cached_property
    def activity(self) -> pd.DataFrame:
        """weekday (int64, 1 is Monday), hour (int64, UTC), attempts (int64); no rows for hours without attempts."""
        rows = self._ask(_ACTIVITY)
        return reports.table(sorted(map(tuple, rows)), dict.fromkeys(("weekday", "hour", "attempts"), "int64"))

    @property
    def learning_picture(self) -> charts.Picture:
        """The learning curve: accuracy by number of attempts."""
        return cohort_charts.learning(self.learning)

    @property
    def tag_picture(self) -> charts.Picture:
        """Accuracy by tag."""
        return cohort_charts.by_tag(self.by_tag)

    @property
    def retention_picture(self) -> charts.Picture:
        """The retention curve: accuracy by days since the last review."""
        return cohort_charts.retention(self.retention)

    @property
    def activity_picture(self) -> charts.Picture:
        """Attempts by weekday and hour."""
        return cohort_charts.activity(self.activity)

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of these learners and all their rows (64 hex digits), independent of other content."""
        mine = text(f"users.id IN {_COHORT}").bindparams(**self._ends)
        with transactions.reading(self._place) as connection:
            return fingerprint(connection, users=mine)

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, changed, fingerprint, next (to inspect the first learner with attempts)."""
        ((active,),) = self._ask(_FIRST_ACTIVE)
        # Each tutor has one override.
        tutors = f" ({n} of them tutors)" if (n := self.created["dataset_overrides"]) else ""
        changed = f"{self.created['users']} learners{tutors} with {sum(self.created.values())} rows created"
        return reports.outcome(
            ok=True,
            changed=changed,
            fingerprint=self.fingerprint,
            next=targets.command(self.target, f"pharmdb inspect --user-email {active}" if active else "pharmdb doctor"),
        )

    @property
    def _ends(self) -> dict[str, str]:
        return _ends(1, self.learners)

    def _ask(self, sql: str) -> list[Any]:
        with transactions.reading(self._place) as connection:
            statement = sql.format(**_WORDS[connection.dialect.name]).replace(":cohort", _COHORT)
            return list(connection.execute(text(statement), self._ends))

    def _accuracies(self, name: str, sql: str) -> pd.DataFrame:
        columns = dict.fromkeys((name, "attempts", "correct"), "int64")
        return _with_accuracy(reports.table(sorted(map(tuple, self._ask(sql))), columns))


def _with_accuracy(data: pd.DataFrame, of: str = "attempts") -> pd.DataFrame:
    return data.assign(accuracy=(100.0 * data["correct"] / data[of]).astype("Float64").round(1))


@checked
def cohort(
    database_url: str = "",
    *,
    learners: int = 1000,
    days: int = 90,
    random_seed: int = 2026,
    catalogue: str | Path = "",
) -> CohortReport:
    """Adds the learners 1 to `learners` that don't exist yet, with their activity of `days` days from 2025-09-01 on.

    `catalogue` is the folder of what they practise (default data/catalogue; relative to settings.home()).

    The same parameters give the same rows on every machine and database; see `simulation.simulate`. A larger cohort
    contains the smaller one, and the attempts of more days contain those of fewer. The first of each 500 learners is
    also their tutor, with the role ADMIN and a dataset override. Existing learners, recognized by
    their e-mails (learner000001@cohort.invalid), are not changed, even if they were created with other `days`. Nobody
    can log in as a synthetic learner. Each transaction adds 500 learners; after an interruption, running the same
    command again completes the cohort.

    Raises ParameterError; CatalogueError; ProtectedError in production or if learners with another `random_seed` exist,
    or with progress in what is not in the catalogue; RevisionError if the schema isn't at head; UnavailableError,
    LockedError.
    """
    target = targets.target(database_url)
    _check(target, "learners", learners, 1, MOST_LEARNERS)
    _check(target, "days", days, 1, MOST_DAYS)
    _check(target, "random_seed", random_seed, 0, 2**32 - 1)
    contents = read(catalogue)
    environments.refuse_production(None, _OPERATION)
    with transactions.reading(target) as connection:
        _guard(connection, target)
    created, unchanged = ({model.__tablename__: 0 for model in MODELS} for _ in range(2))
    with (
        transactions.keeping(target) as transaction,
        progress.counting("cohort", learners, " learners") as advance,
    ):
        for first in range(1, learners + 1, BATCH):
            last = min(first + BATCH - 1, learners)
            batch = batches.Batch(first, last, days, random_seed, contents)
            with transaction() as connection:
                locks.take_advisory_lock(connection)
                # Another process may have reset the database since the last batch.
                _guard(connection, target)
                environments.ensure_id(connection)
                _add(connection, batch, created, unchanged)
            advance(last - first + 1)
    return CohortReport(str(target), learners, days, random_seed, created, unchanged, target)


_OPERATION = "fill with synthetic learners"
_DELETE = "DELETE FROM users WHERE email LIKE 'learner%@cohort.invalid'"


def _guard(connection: Connection, target: targets.Target) -> None:
    environments.refuse_production(connection, _OPERATION)
    revisions.require_head(connection, target)


def _check(target: targets.Target, name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ParameterError(
            expected=f"{name} as a whole number from {least} to {most}",
            found=f"{name}={value!r}",
            command=targets.command(target, "pharmdb cohort --learners 1000 --days 90 --random-seed 2026"),
        )


# The cohort's users. All e-mails have the same length, so every collation sorts them by number.
_COHORT = (
    "(SELECT id FROM users WHERE email >= :first AND email <= :last "
    "AND email LIKE 'learner%@cohort.invalid' AND length(email) = 28)"
)


def _ends(first: int, last: int) -> dict[str, str]:
    return {"first": batches.email(first), "last": batches.email(last)}


def _there(connection: Connection, first: int, last: int) -> dict[int, tuple[int, str]]:
    """number -> (id, created_at in SQLite's format) of the learners that are already in the database."""
    created = _WORDS[connection.dialect.name]["created"]
    rows = connection.execute(
        text(f"SELECT email, id, {created} FROM users WHERE id IN {_COHORT}"),
        _ends(first, last),
    )
    return {int(email[7:13]): (id_, when) for email, id_, when in rows if email[7:13].isdecimal()}


def _add(
    connection: Connection,
    batch: batches.Batch,
    created: dict[str, int],
    unchanged: dict[str, int],
) -> None:
    there = _there(connection, batch.first, batch.last)
    if there:
        names = _ends(batch.first, batch.last)
        _refuse_others(batch, {number: when for number, (_, when) in there.items()})
        _refuse_other_catalogues(connection, batch, names)
        for model in MODELS:
            table = model.__tablename__
            # The column with the owner's id: the foreign key, or for users their own id.
            (owner,) = [key.parent.name for key in model.__table__.foreign_keys] or ["id"]
            found = connection.execute(text(f"SELECT count(*) FROM {table} WHERE {owner} IN {_COHORT}"), names)
            unchanged[table] += found.scalar_one()
    missing = batch.without(set(there))
    if not missing:
        return
    bulk.insert(connection, "users", batches.USER_COLUMNS, missing.users())
    ids = {number: id_ for number, (id_, _) in _there(connection, batch.first, batch.last).items()}
    created["users"] += len(missing.numbers)
    for table, columns, count, rows in missing.belongings(ids):
        bulk.insert(connection, table, columns, rows)
        created[table] += count


def _refuse_others(batch: batches.Batch, there: dict[int, str]) -> None:
    expected = batch.signed_up(sorted(there))
    for number in sorted(there):
        if there[number] != expected[number]:
            raise ProtectedError(
                expected=f"the learners of random_seed={batch.random_seed}, or none",
                found=f"{batches.email(number)}, who signed up at {there[number]} and belongs to another cohort",
                unchanged="the existing learners",
                note="run the command with the --random-seed of the existing learners; or: " + _DELETE,
            )


def _refuse_other_catalogues(connection: Connection, batch: batches.Batch, names: dict[str, str]) -> None:
    practised = connection.execute(
        text(f"SELECT DISTINCT module, course_block, tag FROM progress_by_tag WHERE user_id IN {_COHORT}"), names
    )
    unknown = {tuple(row) for row in practised} - batch.catalogue.progress_keys
    if unknown:
        raise ProtectedError(
            expected="existing learners who practise what is in the catalogue",
            found=f"progress in {' / '.join(min(unknown))}, and {len(unknown) - 1} more that are not in it",
            unchanged="the existing learners",
            note="run the command with the --catalogue of the existing learners; or: " + _DELETE,
        )


# -- learning statistics ---------------------------------------------------------------------------

_CORRECT = "sum(CASE WHEN score >= 50 THEN 1 ELSE 0 END)"
_LEARNING = f"""
    SELECT (n - 1) / 10 * 10 + 1, count(*), {_CORRECT} FROM (
        SELECT score, row_number() OVER (PARTITION BY user_id ORDER BY created_at, id) AS n
        FROM attempts WHERE user_id IN :cohort
    ) AS counted GROUP BY 1
"""
_BY_TAG = """
    SELECT course_block, tag, sum(correct_count + wrong_count), sum(correct_count)
    FROM progress_by_tag WHERE user_id IN :cohort
    GROUP BY course_block, tag HAVING sum(correct_count + wrong_count) > 0
"""
# The last day of each span.
_SPANS = (1, 2, 4, 6, 9, 14, 21, 30, 45)
_RETENTION = f"""
    SELECT CASE {" ".join(f"WHEN days <= {end} THEN {n}" for n, end in enumerate(_SPANS))} ELSE {len(_SPANS)} END,
        count(*), {_CORRECT}
    FROM (
        SELECT score, {{days}} AS days FROM (
            SELECT score, created_at, lag(created_at) OVER (
                PARTITION BY user_id, entity_type, entity_id ORDER BY created_at, id
            ) AS before FROM attempts WHERE user_id IN :cohort
        ) AS pairs WHERE before IS NOT NULL
    ) AS known GROUP BY 1
"""
_FIRST_ACTIVE = """
    SELECT min(email) FROM attempts JOIN users ON users.id = user_id WHERE user_id IN :cohort
"""
_ACTIVITY = "SELECT {weekday}, {hour}, count(*) FROM attempts WHERE user_id IN :cohort GROUP BY 1, 2"
# Expressions that differ between the databases.
_WORDS = {
    "sqlite": {
        "created": "created_at",
        "days": "CAST(julianday(date(created_at)) - julianday(date(before)) AS INTEGER)",
        "weekday": "(CAST(strftime('%w', created_at) AS INTEGER) + 6) % 7 + 1",
        "hour": "CAST(strftime('%H', created_at) AS INTEGER)",
    },
    "postgresql": {
        "created": "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24\\:MI\\:SS.MS\"+00\\:00\"')",
        "days": "CAST(created_at AS date) - CAST(before AS date)",
        "weekday": "CAST(extract(isodow FROM created_at) AS integer)",
        "hour": "CAST(extract(hour FROM created_at) AS integer)",
    },
}


def _span(number: int) -> str:
    first = _SPANS[number - 1] + 1 if number else 1
    if number == len(_SPANS):
        return f"{first}+"
    return f"{first} to {_SPANS[number]}" if first < _SPANS[number] else str(first)
