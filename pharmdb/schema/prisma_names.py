"""Names in Prisma's spelling."""

from __future__ import annotations


def camel(name: str) -> str:
    """user_id -> userId."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
