"""The command that rebuilds an SQLite database that is missing or damaged."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress

from pharmdb import settings
from pharmdb.database import environments, targets
from pharmdb.errors import ParameterError


def command(target: targets.Target, *, damaged: bool = False) -> str:
    """Restores the newest backup, or else makes the database anew; a damaged file is renamed first."""
    if _has_backup(target):
        return targets.command(target, "pharmdb restore")
    text = targets.command(target, "pharmdb migrate" if _in_production() else "pharmdb reset")
    path = shlex.quote(str(target.path))
    return f"mv {path} {path}.damaged && {text}" if damaged else text


def _has_backup(target: targets.Target) -> bool:
    """Judged by the manifests alone: the database itself can't be asked which one it is."""
    for manifest in settings.backups().glob("*.sqlite.json"):
        with suppress(OSError, ValueError, AttributeError):
            entry = json.loads(manifest.read_text(encoding="utf-8"))
            if entry.get("target") == target.identity and manifest.with_suffix("").exists():
                return True
    return False


def _in_production() -> bool:
    try:
        return environments.configured_environment() == "production"
    except ParameterError:
        return False
