"""A backup that a test takes."""

from __future__ import annotations

import pharmdb
from pharmdb.backups.manifests import Backup


def backed_up(url: str = "") -> Backup:
    """Backs this database up, and says what was taken; there has to be something to take."""
    taken = pharmdb.backup(url).backup
    assert taken is not None
    return taken
