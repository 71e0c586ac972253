"""What the doctor asks of a database in that database's own words: the interface of sqlite_side and postgresql_side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import CheckConstraint, Connection

from pharmdb.database import targets
from pharmdb.doctor import orphans, sampling
from pharmdb.doctor.context import Context


class Faults(NamedTuple):
    """What is damaged, in the database's own words; the tables of which a part was looked at, and those left out."""

    found: list[str]
    looks: list[sampling.Rows]
    skipped: list[str]


class Side(ABC):
    """What one kind of database says about itself."""

    @abstractmethod
    def faults(self, context: Context) -> Faults:
        """Damage to tables and indexes."""

    @abstractmethod
    def mend_faults(self, context: Context) -> str:
        """The command that brings a damaged database back."""

    @abstractmethod
    def unenforced_keys(self, context: Context) -> tuple[str, str] | None:
        """Where foreign keys are switched off, and the command that switches them on; None where they are on."""

    @abstractmethod
    def orphans(self, connection: Connection) -> orphans.Orphans:
        """Looks at every row, even where its key is there and valid: a restore without triggers leaves it so."""

    @abstractmethod
    def unproven_checks(self, connection: Connection, checks: list[CheckConstraint]) -> list[CheckConstraint]:
        """Those of a table's checks for which the database does not vouch: its rows must be looked at."""

    @abstractmethod
    def unproven_constraints(self, context: Context) -> tuple[str, str] | None:
        """Constraints that the database does not vouch for, and the remedy; None where there is none."""

    @abstractmethod
    def index_name(self, index: str, table: str) -> str:
        """How a plan names the index that the models call so."""

    @abstractmethod
    def plan(self, connection: Connection, statement: Any) -> str:
        """How the database would run a query, were every way round an index closed."""

    @abstractmethod
    def journal_mode(self, connection: Connection) -> str:
        """ "wal" where readers and writers don't wait for each other."""

    @abstractmethod
    def other_zones(self, context: Context) -> tuple[str, str] | None:
        """Whose sessions are in a time zone other than UTC, and the command that changes it; None if there are none."""

    @abstractmethod
    def is_locked(self, target: targets.Target) -> bool:
        """Whether a writer would have to wait now."""

    @abstractmethod
    def end(self, target: targets.Target, pid: int) -> str:
        """The command that ends the process or session that holds a lock."""

    @abstractmethod
    def folder(self, target: targets.Target) -> Path:
        """The folder on this machine that fills up with use."""
