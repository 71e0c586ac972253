"""Who may open the page: a token for each database, which stays the same, in a file that only its owner can read."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from pharmdb import settings
from pharmdb.database import targets

_BYTES = 24
_TOKEN = re.compile(r"[\w-]{32}")


def token_file(target: targets.Target) -> Path:
    """The file of the database's token."""
    digest = hashlib.sha256(target.identity.encode()).hexdigest()[:8]
    name = re.sub(r"[^\w.-]", "_", target.name)[:100]
    return settings.studio() / f"{name}-{digest}.token"


def token(target: targets.Target) -> str:
    """The token of this database's page; it is made at the first call, and stays the same in this home.

    A file that others can read, or that holds something else, gets a new token. Raises OSError if it can't be kept.
    """
    path = token_file(target)
    settings.make_private(path.parent)
    kept = _kept(path)
    if kept == "":
        path.unlink(missing_ok=True)
    if not kept:
        settings.write_once(path, secrets.token_urlsafe(_BYTES))
    return kept or _kept(path) or ""


def _kept(path: Path) -> str | None:
    """The token in this file; empty if others may know it too, None if there is no file."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            status = os.fstat(file.fileno())
            text = file.read(100).strip()
    except FileNotFoundError:
        return None
    private = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
    return text if private and _TOKEN.fullmatch(text) else ""


def cookie_secret(token: str) -> bytes:
    """What signs the cookies: they stay valid as long as the token."""
    return hmac.digest(token.encode(), b"pharmdb studio: cookies", "sha256")
