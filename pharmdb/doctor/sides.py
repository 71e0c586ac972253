"""The Side object for each kind of database."""

from __future__ import annotations

from pharmdb.database import targets
from pharmdb.doctor.postgresql_side import PostgreSQLSide
from pharmdb.doctor.side import Side
from pharmdb.doctor.sqlite_side import SQLiteSide

_SIDES: dict[str, Side] = {"sqlite": SQLiteSide(), "postgresql": PostgreSQLSide()}


def of(target: targets.Target) -> Side:
    """The Side object for the target's kind of database."""
    return _SIDES[target.dialect.name]
