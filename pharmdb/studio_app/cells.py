"""Cells for the page: cut where they are long, masked where they are secret."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

from pharmdb.studio_app import values
from pharmdb.studio_app.catalogue import Column
from pharmdb.studio_app.statement_log import MASKED, mask_hashes

CELL_CUT = 300
# Cells that are masked are compared by a digest that only this process can make.
_DIGEST_KEY = secrets.token_bytes(32)


Cell = str | None | dict[str, Any]


def cell(found: Column, value: Any) -> Cell:
    """A value for the page: text, None for NULL; cut or masked, an object with a digest in place of the rest."""
    if value is None:
        return None
    text = values.shown(value, found.kind) or ""
    if found.secret:
        return {"t": MASKED, "d": digest(text), "m": True}
    safe = mask_hashes(text)
    if safe != text:
        return {"t": safe[:CELL_CUT], "d": digest(text), "m": True, "n": len(safe)}
    if len(text) > CELL_CUT:
        # No secret: another kernel, after a reload, must know it again.
        return {
            "t": text[:CELL_CUT],
            "d": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32],
            "n": len(text),
        }
    return text


def digest(text: str) -> str:
    """What stands for a value that does not leave the kernel whole."""
    return hmac.new(_DIGEST_KEY, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def same(before: Cell, now: Cell) -> bool:
    """Whether a cell that was shown is what the database holds now."""
    if isinstance(before, dict) and isinstance(now, dict):
        return before.get("d") == now.get("d")
    return before == now
