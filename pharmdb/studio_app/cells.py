"""Cells for the page: long values are truncated, secrets are masked."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

from pharmdb.studio_app import values
from pharmdb.studio_app.catalogue import Column
from pharmdb.studio_app.statement_log import MASKED, mask_hashes

CELL_CUT = 300
# Masked cells are compared by a keyed digest that only this process can compute.
_DIGEST_KEY = secrets.token_bytes(32)


Cell = str | None | dict[str, Any]


def cell(found: Column, value: Any) -> Cell:
    """A value for the page: text, None for NULL, or, if truncated or masked, an object with a digest of the value."""
    if value is None:
        return None
    text = values.shown(value, found.kind) or ""
    if found.secret:
        return {"t": MASKED, "d": digest(text), "m": True}
    safe = mask_hashes(text)
    if safe != text:
        return {"t": safe[:CELL_CUT], "d": digest(text), "m": True, "n": len(safe)}
    return of_text(text)


def of_text(text: str | None) -> Cell:
    """A text without secrets as a cell."""
    if text is None or len(text) <= CELL_CUT:
        return text
    # Not a keyed digest, so that another kernel recognizes the value after a reload.
    number = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return {"t": text[:CELL_CUT], "d": number, "n": len(text)}


def digest(text: str) -> str:
    """The digest of a value that is not sent to the page in full."""
    return hmac.new(_DIGEST_KEY, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def same(before: Cell, now: Cell) -> bool:
    """Whether a cell that was shown is still the same in the database."""
    if isinstance(before, dict) and isinstance(now, dict):
        return before.get("d") == now.get("d")
    return before == now
