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

    def command(self, name: str) -> str:
        """A pharmdb command on this database, as it works when typed."""
        return targets.command(self.target, f"pharmdb {name}")

    @property
    def rebuild(self) -> str:
        """What brings a wrong schema back: a reset where that is allowed, else the newest backup."""
        return self.command("restore" if self.environment == "production" else "reset")

    @property
    def bring_back(self) -> str:
        """What brings wrong content back: the newest backup, if there is one."""
        return self.command("restore") if remedies.has_backup(self.target) else self.rebuild
