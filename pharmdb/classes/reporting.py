"""The report on a class: from one snapshot, by one streaming pass, read-only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from pharmdb import progress, reports
from pharmdb.arguments import checked
from pharmdb.classes import (
    computing,
    counting,
    course_pictures,
    definitions,
    files,
    material,
    page,
    people_pictures,
    population,
    reviews,
    streaming,
)
from pharmdb.classes.computing import Asked
from pharmdb.classes.population import Terms
from pharmdb.database import environments, targets, transactions
from pharmdb.errors import ParameterError
from pharmdb.exporting.pseudonyms import key
from pharmdb.learning.charts import Picture
from pharmdb.models import ATTEMPT_ENTITY_TYPES, Attempt
from pharmdb.schema import revisions

if TYPE_CHECKING:
    import pandas as pd

MOST = 100_000


@dataclass(frozen=True, eq=False)
class ClassReport:
    """A class in tables and charts. Each table is a dataframe; the dtype, unit and definition of each column:"""

    target: str
    period: pd.DataFrame = field(repr=False)
    overview: pd.DataFrame = field(repr=False)
    weeks: pd.DataFrame = field(repr=False)
    blocks: pd.DataFrame = field(repr=False)
    tags: pd.DataFrame = field(repr=False)
    progress: pd.DataFrame = field(repr=False)
    curve: pd.DataFrame = field(repr=False)
    retention: pd.DataFrame = field(repr=False)
    hours: pd.DataFrame = field(repr=False)
    scores: pd.DataFrame = field(repr=False)
    items: pd.DataFrame = field(repr=False)
    answers: pd.DataFrame = field(repr=False)
    learners: pd.DataFrame = field(repr=False)
    at_risk: pd.DataFrame = field(repr=False)
    forecast: pd.DataFrame = field(repr=False)
    # Without rows unless a learner was named.
    learner: pd.DataFrame = field(repr=False)
    learner_blocks: pd.DataFrame = field(repr=False)
    # What there is to say about the tables in words, such as how many attempts are of items without tags.
    notes: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    _next: str = field(repr=False, default="")

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""
        return {name: getattr(self, name) for name in definitions.TABLES}

    @property
    def doubtful(self) -> pd.DataFrame:
        """Of `items` those with a rating, the least discriminating ones first, with the columns that tell why."""
        columns = ["entity_id", "learners", "difficulty", "discrimination", "logit", "logit_error", "rating"]
        found = self.items[self.items["rating"] != ""]
        return found.sort_values("discrimination", kind="stable", ignore_index=True)[columns]

    @property
    def definitions(self) -> pd.DataFrame:
        """table, column, dtype, unit, definition (str): what each column of each table is."""
        return definitions.frame()

    @property
    def said(self) -> pd.DataFrame:
        """note (str): the notes."""
        return reports.table([(note,) for note in self.notes], {"note": "str"})

    @property
    def _accuracy(self) -> float:
        return float(self.overview["correct"].iloc[0] / max(self.overview["attempts"].iloc[0], 1) * 100)

    @property
    def weeks_picture(self) -> Picture:
        """Active learners and accuracy by week."""
        return course_pictures.weeks(self.weeks)

    @property
    def blocks_picture(self) -> Picture:
        """The accuracy of each course block, with its interval."""
        return course_pictures.blocks(self.blocks, self._accuracy)

    @property
    def tags_picture(self) -> Picture:
        """The accuracy of the most difficult tags, with their intervals."""
        return course_pictures.tags(self.tags, self._accuracy)

    @property
    def curve_picture(self) -> Picture:
        """The learning curve, with the number of learners behind each point."""
        return course_pictures.curve(self.curve)

    @property
    def retention_picture(self) -> Picture:
        """Accuracy by days since the previous answer to the same item."""
        return course_pictures.retention(self.retention)

    @property
    def hours_picture(self) -> Picture:
        """Attempts by weekday and hour."""
        return course_pictures.hours(self.hours, str(self.period["time_zone"].iloc[0]))

    @property
    def scores_picture(self) -> Picture:
        """The distribution of scores."""
        return people_pictures.scores(self.scores)

    @property
    def items_picture(self) -> Picture:
        """Difficulty and discrimination of the items."""
        return people_pictures.items(self.items)

    @property
    def scale_picture(self) -> Picture:
        """Abilities and difficulties in the Rasch model."""
        return people_pictures.scale(self.items, self.learners)

    @property
    def at_risk_picture(self) -> Picture:
        """Accuracy and days since the last attempt of each learner."""
        return people_pictures.at_risk(self.learners)

    @property
    def forecast_picture(self) -> Picture:
        """Reviews that become due."""
        return course_pictures.forecast(self.forecast)

    @property
    def learner_picture(self) -> Picture:
        """One learner beside the class, by course block."""
        return people_pictures.one(self.learner_blocks, len(self.learner) > 0)

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, changed, learners, attempts (int64), next. Not ok if no attempt counts."""
        attempts = int(self.overview["attempts"].iloc[0])
        files = self.written[0] if len(self.written) == 1 else f"{len(self.written)} files"
        changed = f"{files} written" if self.written else "nothing, read-only"
        row = (attempts > 0, changed, int(self.overview["active"].iloc[0]), attempts, self._next)
        columns = {"ok": "bool", "changed": "str", "learners": "int64", "attempts": "int64", "next": "str"}
        return reports.table([row], columns)


def _described() -> str:
    lines = [str(ClassReport.__doc__)]
    for name, columns in definitions.TABLES.items():
        lines.append(f"\n`{name}`: {definitions.TITLES[name].lower()}")
        for column, found in columns.items():
            unit = f", {found.unit}" if found.unit else ""
            lines.append(f"- {column} ({found.dtype}{unit}): {found.words}")
    return "\n".join(lines)


ClassReport.__doc__ = _described()


@checked
def class_report(
    database_url: str = "",
    *,
    since: str = "",
    until: str = "",
    module: str = "",
    block: str = "",
    users: str = "",
    user_email: str = "",
    min_attempts: int = 20,
    time_zone: str = "UTC",
    catalogue: str | Path = "",
    pseudonyms: bool = False,
    emails: bool = False,
    output: str | Path = "",
    tables: str | Path = "",
) -> ClassReport:
    """Reports on a class through a read-only connection, from one snapshot.

    Attempts count from the day `since` to the day `until`, both included (2026-01-31, in `time_zone`), of one module
    and of one block of the catalogue, if these are given. The class is all users with the role USER; or the users in
    a text file, one e-mail address in each line; or those whose address matches a pattern such as *@school.example.
    Less than `min_attempts` attempts, answers or learners give no share and no rating. `user_email` names one learner
    to compare with the class. `catalogue` is the folder that joins items to tags (default data/catalogue; relative to
    settings.home()).

    With `pseudonyms` learners have the same pseudonyms as in an export, and on a production database they always have,
    unless `emails` asks for their e-mail addresses. `output` is an HTML file, `tables` a folder for each table as CSV
    and Parquet; only what an earlier report wrote is replaced.

    Raises ParameterError, CatalogueError, RevisionError if the schema isn't at head, DamagedError, UnavailableError,
    ExportError or NoRoomError if a file can't be written.
    """
    target = targets.target(database_url)
    terms = Terms(since, until, module, block, str(users), min_attempts, time_zone)
    _check(target, terms, pseudonyms and emails)
    places = files.places(output, tables)
    with files.failing(places):
        files.require_writable(places)
    with transactions.reading(target) as connection:
        revisions.require_head(connection, target)
        production = environments.environment(connection) == "production"
        hidden = pseudonyms or (production and not emails)
        stuff = material.find(target, catalogue, module, block, ATTEMPT_ENTITY_TYPES)
        members = population.find(connection, target, terms.users)
        own = members.place_of(user_email) if user_email else None
        if user_email and own is None:
            raise ParameterError(
                expected="user_email as the address of a learner in the class",
                found="no learner with this address",
                command=targets.command(target, "pharmdb class"),
                note="without --users, administrators are not in the class",
            )
        with files.failing(places):
            asked = Asked(members, terms, stuff, members.names(key() if hidden else b""), hidden, own)
            total = connection.scalar(select(func.count()).select_from(Attempt)) or 0
            with progress.counting("class", total) as advance:
                attempts = streaming.stream(connection, members, terms, stuff, total, advance)
        with attempts:
            found = {"progress": reviews.progress(connection, members, terms)}
            last_day = counting.last_day(attempts, terms)
            found["forecast"] = reviews.forecast(connection, members, terms, stuff, attempts, last_day)
            # The snapshot is no longer needed.
            connection.rollback()
            with files.failing(places):
                found |= computing.tables(attempts, asked)
    if attempts.count:
        next_ = "pharmdb doctor" if places.written else "pharmdb class --output class.html"
    else:
        restricted = any((since, until, module, block, users))
        next_ = "pharmdb doctor" if production else "pharmdb cohort --learners 100"
        next_ = "pharmdb class" if total and restricted else next_
    notes = tuple(computing.notes(found))
    report = ClassReport(
        str(target), **found, notes=notes, written=places.written, _next=targets.command(target, next_)
    )
    with files.failing(places):
        files.write(report.tables, report.definitions, lambda: page.html(report), places)
    return report


def _check(target: targets.Target, terms: Terms, both: bool) -> None:
    command = targets.command(target, "pharmdb class")
    if not 1 <= terms.min_attempts <= MOST:
        raise ParameterError(
            expected=f"min_attempts as a whole number from 1 to {MOST}",
            found=f"min_attempts={terms.min_attempts!r}",
            command=command,
        )
    if both:
        raise ParameterError(
            expected="pseudonyms or emails", found="both", command=targets.command(target, "pharmdb class --pseudonyms")
        )
    # Raises ParameterError for what is no day.
    _ = terms.bounds
