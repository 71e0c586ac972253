"""The checksum of what a target holds does not depend on how many rows are read at once."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection
from support import raw
from support.databases import Databases

from pharmdb.database import targets, transactions
from pharmdb.legacy import checksums, columns, stages
from pharmdb.legacy.columns import Wanted

(BOOKMARKS,) = (table for table in stages.TABLES if table.table == "bookmarks")
# With gaps, and in another order than they are stored in.
IDS = (3, 1, 2, 50, 51, 52, 53, 54, 1000, 999, 7, 2**62)


@pytest.fixture
def url(databases: Databases, dialect: str) -> str:
    made = databases.migrated(dialect)
    raw.run(made, "INSERT INTO users (id, email, password_hash) VALUES (1, 'a@b.test', '!')")
    for id_ in IDS:
        raw.run(made, f"INSERT INTO bookmarks (id, user_id, entity_type, entity_id) VALUES ({id_}, 1, 'drug', '{id_}')")
    return made


def checksum(connection: Connection, largest_id: int) -> str:
    wanted = Wanted(to_postgresql=connection.dialect.name == "postgresql", has_role=True)
    checks = {name: column.check for name, column in columns.of(BOOKMARKS, wanted).items()}
    return checksums.of_target(connection, "bookmarks", checks, largest_id)


def test_blocks_of_any_size_give_the_same(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with transactions.writing(targets.target(url)) as connection:
        expected = {largest: checksum(connection, largest) for largest in (0, 1, 53, 1000, 2**62)}
        assert expected[0] == checksums.NONE
        assert len(set(expected.values())) == 5
        for rows in range(1, 14):
            monkeypatch.setattr(checksums, "BATCH", rows)
            for at_once in (1, 2, 16):
                monkeypatch.setitem(checksums._AT_ONCE, "postgresql", at_once)
                assert {largest: checksum(connection, largest) for largest in expected} == expected


def test_a_server_makes_several_blocks_at_once_unless_they_are_large(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.migrated("postgresql")
    raw.run(url, "INSERT INTO users (id, email, password_hash) VALUES (1, 'a@b.test', '!')")
    raw.run(
        url,
        "INSERT INTO bookmarks (id, user_id, entity_type, entity_id) "
        "SELECT n, 1, 'drug', 'd' FROM generate_series(1, 100) AS n",
    )
    monkeypatch.setattr(checksums, "BATCH", 3)
    seen, sent = set(), list[int]()
    execute = psycopg.Connection.execute

    def noting(connection: Any, statement: str, *others: Any) -> Any:
        sent.append(str(statement).count("UNION ALL") + 1)
        return execute(connection, statement, *others)

    monkeypatch.setattr(psycopg.Connection, "execute", noting)
    for room, at_once in ((checksums._ROOM, 16), (1, 1)):
        monkeypatch.setattr(checksums, "_ROOM", room)
        sent.clear()
        with transactions.writing(targets.target(url)) as connection:
            seen.add(checksum(connection, 100))
        assert max(sent) == at_once
    assert len(seen) == 1
