"""Upgrades with SQL's conversion and without it, and all that they leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from pharmdb.database import indexes, storable, targets, transactions
from pharmdb.legacy import checksums, raw_rows, receiving, server_based, set_based, stages
from pharmdb.legacy.accounting import Account
from support import legacy, raw


def copied(
    source: Path | str,
    url: str,
    *,
    decode: bool = False,
    dry: bool = False,
    constant: bool = True,
    exclusive: bool = False,
) -> Any:
    """All that a copy leaves: the rows of the target, the rejects, and the account."""
    place = targets.of_file(source) if isinstance(source, Path) else targets.target(source)
    target = targets.target(url)
    with transactions.watching(place) as reader:
        old = raw_rows.Source(reader, place, place, stages.recognize(reader, "old"), constant=constant)
        options: dict[str, Any] = {"to_postgresql": not target.is_sqlite, "decode_json": decode}
        if dry:
            account = Account(old, limits=storable.of(target), **options)
            account.run()
        else:
            with transactions.changing_schema(target) as writer:
                receiving.empty(writer)
                with raw_rows.attached(writer, old) as attached:
                    options |= {"limits": storable.limits(writer), "writer": writer, "exclusive": exclusive}
                    account = Account(attached, **options)
                    account.run()
                account.verify(writer, {count.table.table: count.largest_id for count in account.counts}, {})
    return [
        *(account.digest, account.changes, account.json_strings, account.reasons, account.rejects),
        *((c.source, c.imported, c.rejected, c.source_sum, c.largest_id) for c in account.counts),
    ]


def everything(url: str) -> dict[str, list[Any]]:
    """All rows in the order of their ids, with the types that SQLite stores."""
    found = {}
    form = "{0}, typeof({0})" if url.startswith("sqlite") else "{0}::text"
    with raw.session(url) as session:
        for table, names in raw.ROWS.items():
            values = ", ".join(map(form.format, ("id", *names)))
            found[table] = session.execute(f"SELECT {values} FROM {table} ORDER BY {table}.id").fetchall()
        sql = 'SELECT source_table, source_id, reason, "row" FROM upgrade_rejects ORDER BY id'
        found["upgrade_rejects"] = session.execute(sql).fetchall()
    return found


def both_ways(source: Path | str, url: str, **options: Any) -> int:
    """Copies once with SQL and once without it, compares, and returns how many rows Python did not convert."""
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        # So that few rows are many batches, and large tables.
        for module in (raw_rows, set_based, server_based, checksums):
            patch.setattr(module, "BATCH", 7)
        for module in (set_based, indexes):
            patch.setattr(module, "_MANY", 40)
        take = Account._judged

        def judged(account: Account, count: Any, rows: Any, *others: Any) -> Any:
            seen.append(len(rows))
            return take(account, count, rows, *others)

        patch.setattr(Account, "_judged", judged)
        report = copied(source, url, exclusive=True, **options)
        rows, dry = everything(url), copied(source, url, dry=True, **options)
        by_sql: int = sum(source_rows for source_rows, *_ in report[5:]) - sum(seen) // 2
    with pytest.MonkeyPatch.context() as patch:
        for module in (set_based, server_based):
            patch.setattr(module, "lane", lambda *arguments, **options: None)
        slow = copied(source, url, **options)
    assert report == slow == dry
    assert rows == everything(url)
    return by_sql


@st.composite
def old_rows(draw: st.DrawFn, odd: Callable[[str, str], st.SearchStrategy[Any]]) -> list[legacy.Row]:
    """Rows of which some have odd values of a table's column; keys and e-mails are repeated."""
    rows = [
        legacy.row("users", n, email=draw(st.sampled_from(["a@b.test", "A@b.test", f"{n}@b.test"])))
        for n in range(1, 6)
    ]
    for table, names in raw.ROWS.items():
        for id_ in draw(st.lists(st.integers(6, 60), max_size=25, unique=True)):
            changes: dict[str, Any] = {"user_id": draw(st.integers(1, 8))} if "user_id" in names else {}
            changes |= {"email": f"{id_}@b.test"} if table == "users" else {}
            for name in draw(st.lists(st.sampled_from(sorted(names)), max_size=2)):
                changes[name] = draw(odd(table, name))
            rows.append(legacy.row(table, id_, **changes))
    return rows
