"""The context that every check receives."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from pharmdb.database import targets
from pharmdb.doctor import remedies
from pharmdb.schema import ownership


@dataclass(frozen=True)
class Context:
    connection: Connection
    target: targets.Target
    environment: str
    # Whether every row is checked, or only a sample of a large database.
    whole: bool

    def command(self, name: str) -> str:
        """A pharmdb command on this database that can be run as it is."""
        return targets.command(self.target, f"pharmdb {name}")

    @property
    def rebuild(self) -> str:
        """The command that repairs a wrong schema: a reset if that is allowed, else a restore, if there is a backup."""
        return ownership.reset_command(self.connection, self.target) or self._restore

    @property
    def restore_content(self) -> str:
        """The command that repairs wrong content: a restore of the newest backup, if there is one."""
        return self._restore or self.rebuild

    @property
    def _restore(self) -> str:
        return self.command("restore") if remedies.has_backup(self.target, self.environment) else ""
