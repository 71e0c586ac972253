"""What a database holds, to compare before and after."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from support import raw


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    """What is done inside leaves nothing behind."""
    savepoint = connection.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()


def everything(url: str) -> Any:
    """As raw.everything, with tables of any name, and the text of views, functions and triggers."""
    if url.startswith("sqlite") and not raw.path(url).exists():
        return None
    with raw.session(url) as session:
        content = {}
        names = raw.tables(session)
        if isinstance(session, sqlite3.Connection):
            # Text may be bytes that no encoding knows.
            session.text_factory = bytes
        for name in names:
            quoted = '"' + name.replace('"', '""') + '"'
            content[name] = Counter(map(repr, session.execute(f"SELECT * FROM {quoted}").fetchall()))
        texts = []
        if not url.startswith("sqlite"):
            texts = session.execute(
                "SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
                "UNION ALL SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' "
                "UNION ALL SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal "
                "UNION ALL SELECT enumlabel, enumsortorder::text FROM pg_enum ORDER BY 1, 2"
            ).fetchall()
        return plain(raw.schema(session)), content, texts


def plain(schema: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """PostgreSQL writes the casts in a condition differently once a dump has been loaded; nothing else may differ."""
    return sorted(
        (tuple(re.sub(r"[()]|::[a-z ]+(\[\])?", "", str(p)) for p in o) if o[0] == "constraint" else o for o in schema),
        key=repr,
    )
