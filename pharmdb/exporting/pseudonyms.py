"""Pseudonyms: who has the export, but not the key, can't tell whose rows a user's rows are."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from pharmdb import settings
from pharmdb.database import targets
from pharmdb.errors import DamagedError, ExportError

if TYPE_CHECKING:
    import numpy as np

    Ids = np.ndarray[tuple[int], np.dtype[np.int64]]


def key_file() -> Path:
    """The secret key of all exports; it is beside their folders, and in none of them."""
    return settings.exports() / "pseudonyms.key"


def key() -> bytes:
    """The key; it is made at first use."""
    path = key_file()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        settings.write_once(path, secrets.token_hex(32))
    return path.read_bytes().strip()


def pseudonym(secret: bytes, user_id: int) -> int:
    """The first 63 bits of HMAC-SHA256 (RFC 2104) of the id."""
    return int.from_bytes(hmac.digest(secret, str(user_id).encode(), hashlib.sha256)[:8], "big") >> 1


class Names:
    """The number under which each user is exported: a pseudonym, or the id itself if there is no secret."""

    def __init__(self, connection: Connection, target: targets.Target, secret: bytes) -> None:
        import numpy as np

        # The command that says which rows are damaged.
        self.check = targets.command(target, "pharmdb doctor --thorough")

        found = connection.exec_driver_sql("SELECT id FROM users ORDER BY id").scalars()
        self._ids = np.fromiter(found, dtype=np.int64)
        self._names = self._ids
        if secret:
            self._names = np.fromiter((pseudonym(secret, int(id_)) for id_ in self._ids), np.int64, len(self._ids))
        if len(np.unique(self._names)) < len(self._names):
            raise ExportError(
                expected="a different pseudonym for each user",
                found="the same one for two of them",
                command=f"rm {shlex.quote(str(key_file()))}",
                note="then run the same command again, with a new key",
            )

    def of(self, user_ids: Ids) -> Ids:
        """The users' numbers. Raises DamagedError if there is no such user."""
        import numpy as np

        places = np.searchsorted(self._ids, user_ids)
        known = places < len(self._ids)
        if not known.all() or not (self._ids[places] == user_ids).all():
            raise DamagedError(
                expected="an existing user for every row's user_id",
                found="rows without their user",
                command=self.check,
            )
        return self._names[places]
