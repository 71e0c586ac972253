"""Whether a backup may replace what a database holds: another database's, or production's, only with a confirmation."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import Connection

from pharmdb.backups import manifests
from pharmdb.backups.manifests import Backup
from pharmdb.database import environments, identities, servers, targets, transactions
from pharmdb.database.environments import Stamp
from pharmdb.database.identities import Identity
from pharmdb.errors import ProtectedError, RevisionError, UnavailableError


@dataclass(frozen=True)
class Guard:
    """Decides whether a backup may replace what is there: one check on every path."""

    target: targets.Target
    chosen: Backup
    confirm: str
    # files.state of the backup before it was verified.
    seen: tuple[int, ...]

    def of(self, connection: Connection) -> Stamp:
        """Checks the connection's database. Returns what it is to record afterwards; see environments.put_stamp."""
        stamp = environments.read_stamp(connection)
        name = servers.server_name(connection, self.target)
        return self._check(identities.of(connection, self.target), stamp, name)

    def of_file(self) -> Stamp:
        """As `of`, for a file that may be missing or damaged; PHARMDB_ENV counts even if it can't be asked."""
        with suppress(UnavailableError, RevisionError), transactions.watching(self.target) as connection:
            return self.of(connection)
        return self._check(identities.unread(self.target), Stamp(), self.target.name)

    def _check(self, mine: Identity, stamp: Stamp, name: str) -> Stamp:
        own = manifests.belongs(self.chosen, mine)
        here = environments.known_environment(stamp)
        switches = bool(here) and manifests.needs_confirm(here, self.chosen.environment)
        reasons = [] if own else [f"a backup of another database: {self.chosen.origin}"]
        if switches:
            reasons.append(f"a backup of {self.chosen.environment} for a {here} database")
        # A wrong name is never ignored: the caller meant another database.
        if (reasons or self.confirm) and self.confirm != name:
            text = f"pharmdb restore --backup {self.chosen.name} --confirm {shlex.quote(name)}"
            raise ProtectedError(
                expected=f"confirm={name}, to replace everything in it"
                + (f" and make it a {self.chosen.environment} database" if switches else ""),
                found=f"{'; '.join(reasons) or 'a backup that needs no confirm'}; confirm={self.confirm!r}",
                unchanged="the database",
                command=targets.command(self.target, text),
            )
        return Stamp(
            "" if switches else stamp.environment,
            mine.database_id or ("" if own else str(uuid4())),
        )
