"""What the source's own counters of ids come to: an id that was ever given is not given again."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import legacy, raw
from support.databases import Databases

import pharmdb
from pharmdb.database import targets

OLDEST = 2**62


@pytest.fixture
def source(databases: Databases, dialect: str, tmp_path: Path) -> str:
    """An old database with user 1 and three bookmarks."""
    url = f"sqlite:///{tmp_path / 'old.db'}" if dialect == "sqlite" else databases.empty("postgresql")
    rows = [
        legacy.row("users", 1, email="one@example.test"),
        *(legacy.row("bookmarks", id_) for id_ in (1, 2, 7)),
    ]
    return legacy.make(url, 4, rows)


def given(url: str, table: str) -> int:
    """The highest id that the table has given, or could have: the next one less one."""
    with raw.session(url) as session, raw.transaction(session, keep=False):
        owner = {} if table == "users" else {raw.OWNERS[table]: "(SELECT min(id) FROM users)"}
        ((next_,),) = session.execute(f"{raw.insert(table, **owner)} RETURNING id").fetchall()
    return int(next_) - 1


def count_to(source: str, dialect: str, last: int, table: str = "Bookmark") -> None:
    """As if rows up to this id had been there and were deleted."""
    if dialect == "sqlite":
        raw.run(source, f"UPDATE sqlite_sequence SET seq = {last} WHERE name = '{table}'")
    else:
        raw.run(
            source,
            f'ALTER SEQUENCE "{table}_id_seq" AS bigint NO MAXVALUE',
            f"SELECT setval('\"{table}_id_seq\"', {last})",
        )


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
def test_ids_go_on_after_those_of_rows_that_were_deleted(
    source: str, databases: Databases, dialect: str, to: str
) -> None:
    count_to(source, dialect, 5000)
    count_to(source, dialect, 300, "User")
    url = databases.empty(to)
    pharmdb.upgrade(source, url)
    assert given(url, "bookmarks") == 5000
    # The default accounts are new users.
    assert raw.ask(url, "SELECT min(id) FROM users WHERE id > 1") == [(301,)]


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
def test_a_rejected_rows_id_is_not_given_again(source: str, databases: Databases, dialect: str, to: str) -> None:
    raw.run(
        source,
        'INSERT INTO "Bookmark" ("id", "userId", "entityType", "entityId") VALUES (900, 1, \'drug\', \'x\')',
        *(["PRAGMA foreign_keys = OFF"] if dialect == "sqlite" else []),
    )
    if dialect == "sqlite":
        raw.run(source, 'UPDATE "Bookmark" SET "createdAt" = \'never\' WHERE "id" = 900')
    else:
        raw.run(source, 'UPDATE "Bookmark" SET "createdAt" = \'infinity\' WHERE "id" = 900')
    url = databases.empty(to)
    assert len(pharmdb.upgrade(source, url).rejects) == 1
    assert given(url, "bookmarks") == 900


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
def test_a_targets_counter_never_goes_back(source: str, databases: Databases, to: str, dialect: str) -> None:
    url = databases.seeded(to)
    with raw.session(url) as session:
        session.execute(raw.insert("users", id="70000", email="'gone@example.test'"))
        session.execute("DELETE FROM users WHERE id = 70000")
        if to == "postgresql":
            session.execute("SELECT setval('users_id_seq', 70000)")
    pharmdb.upgrade(source, url, confirm=targets.target(url).name)
    assert given(url, "users") > 70000


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("id_", [2**63 - 1, 2**62 + 1])
def test_an_id_too_large_to_count_on_from_is_told(source: str, databases: Databases, to: str, id_: int) -> None:
    raw.run(source, f'INSERT INTO "User" ("id", "email", "passwordHash") VALUES ({id_}, \'far@x.test\', \'x\')')
    url = databases.empty(to)
    report = pharmdb.upgrade(source, url)
    assert report.rejects["reason"].tolist() == [f"id is too large to continue from: {id_}"]
    notes = dict(report.recognized.itertuples(index=False, name=None))
    assert notes["ids"].startswith(f"User has reached {id_}")
    assert given(url, "users") < 100


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_the_largest_id_that_is_taken_leaves_room(source: str, databases: Databases, to: str) -> None:
    raw.run(source, f'INSERT INTO "User" ("id", "email", "passwordHash") VALUES ({OLDEST}, \'far@x.test\', \'x\')')
    url = databases.empty(to)
    assert pharmdb.upgrade(source, url).rejects.empty
    assert given(url, "users") > OLDEST


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_counter_that_somebody_wrote_nonsense_into_does_not_count(source: str, databases: Databases) -> None:
    raw.run(source, "UPDATE sqlite_sequence SET seq = 'many'")
    url = databases.empty("sqlite")
    pharmdb.upgrade(source, url)
    assert given(url, "bookmarks") == 7
