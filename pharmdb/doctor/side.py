"""The doctor's checks that differ between databases: the interface of sqlite_side and postgresql_side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import CheckConstraint, Connection

from pharmdb.database import targets
from pharmdb.database.lock_holders import Holder
from pharmdb.doctor import orphans, sampling
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding


class Faults(NamedTuple):
    """The damage, in the database's own words; the rows of our tables that were checked, and the skipped tables."""

    found: list[str]
    checked: list[sampling.Rows]
    skipped: list[str]


class Side(ABC):
    """The checks specific to one kind of database."""

    @abstractmethod
    def faults(self, context: Context) -> Faults:
        """Damage to tables and indexes."""

    @abstractmethod
    def repair_command(self, context: Context) -> str:
        """The command that repairs a damaged database."""

    @abstractmethod
    def unenforced_keys(self, context: Context) -> tuple[str, str] | None:
        """Where foreign keys are not enforced, and the command that enables them; None if all are enforced."""

    @abstractmethod
    def orphans(self, connection: Connection) -> orphans.Orphans:
        """Checks every row, even if the foreign key is valid: a load with disabled triggers can leave orphans."""

    @abstractmethod
    def unproven_checks(self, connection: Connection, checks: list[CheckConstraint]) -> list[CheckConstraint]:
        """The CHECK constraints that the database does not guarantee for all rows, so that the rows must be read."""

    @abstractmethod
    def unproven_constraints(self, context: Context) -> tuple[str, str] | None:
        """The constraints that are not validated or not enforced, and the remedy; None if there are none."""

    @abstractmethod
    def hidden_rows(self, context: Context) -> tuple[str, str, str] | None:
        """The tables of which row security hides rows from us, the command that ends it, and a note; None without."""

    @abstractmethod
    def index_name(self, index: str, table: str) -> str:
        """The name that a query plan shows for an index of the models."""

    @abstractmethod
    def plan(self, connection: Connection, statement: Any) -> str:
        """The plan of a query when all alternatives to an index are disabled."""

    @abstractmethod
    def journal_mode(self, connection: Connection) -> str:
        """ "wal" if readers and writers don't wait for each other."""

    @abstractmethod
    def other_zones(self, context: Context) -> tuple[str, str] | None:
        """Whose sessions are in a time zone other than UTC, and the command that changes it; None if there are none."""

    @abstractmethod
    def replica(self, context: Context) -> Finding | None:
        """Whether a standby replays its primary's changes, and how far behind it is; None if it is none."""

    @abstractmethod
    def is_locked(self, target: targets.Target) -> bool:
        """Whether a writer would have to wait now."""

    @abstractmethod
    def end(self, target: targets.Target, holder: Holder) -> str:
        """The command that ends the process or session that holds a lock."""

    @abstractmethod
    def folder(self, target: targets.Target) -> Path:
        """The local folder whose disk may fill up."""
