"""An answer to record."""

from __future__ import annotations

from datetime import UTC, datetime

from pharmdb.learning.attempts import Tag

AT = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)


HEART = Tag("questions", "cardiology", "arrhythmias")
