"""What every check is given."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from pharmdb.database import targets
from pharmdb.doctor import remedies


@dataclass(frozen=True)
class Context:
    connection: Connection
    target: targets.Target
    environment: str
    # Whether every row is looked at.
    whole: bool

    @property
    def is_sqlite(self) -> bool:
        return self.target.is_sqlite

    @property
    def rebuild(self) -> str:
        """What brings a wrong schema back: a reset where that is allowed, else the newest backup."""
        return "pharmdb restore" if self.environment == "production" else "pharmdb reset"

    @property
    def bring_back(self) -> str:
        """What brings wrong content back: the newest backup, if there is one."""
        return "pharmdb restore" if remedies.has_backup(self.target) else self.rebuild
