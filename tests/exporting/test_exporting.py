"""Exports: every value is in the files, nothing secret is, and what is kept is what would be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text
from support import raw
from support.databases import DIALECTS, Databases
from support.parquet import parquet

import pharmdb
from pharmdb.database import environments, targets, transactions
from pharmdb.errors import ExportError, LockedError, NoRoomError, ParameterError, ProtectedError, RevisionError
from pharmdb.exporting import contents, parquet_files, pseudonyms, slices, taking
from pharmdb.models import MODELS, Attempt, SpacedRepetitionItem, User
from pharmdb.types import DOCUMENT, UTCDateTime, milliseconds

TEXTS = ("q1", "", "ž💊", "a\x1eb", "\x1f", "two\nlines", "it's", '{"a": 1}')


@pytest.fixture(scope="module", params=DIALECTS)
def learners(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """Learners at work, a user with the id -1, and values that a careless reader would tear. Nobody changes it."""
    with databases.dropped(databases.migrated(request.param)) as url:
        pharmdb.cohort(url, learners=12, days=10)
        with transactions.writing(targets.target(url)) as connection:
            connection.execute(insert(User), {"id": -1, "email": "minus@one.test", "password_hash": "secret hash"})
            at = milliseconds(parquet_files.EPOCH)
            connection.execute(
                insert(Attempt),
                [
                    {
                        "id": 10_000 + n * n,
                        "user_id": -1,
                        "entity_type": "case",
                        "entity_id": value,
                        "answers": value if n % 2 else {"text": value},
                        "score": (33.333333333333336, 1e-300, 49.99999999999999)[n % 3],
                        "feedback": None if n % 3 else json.dumps({"n": n}),
                        "created_at": at,
                    }
                    for n, value in enumerate(TEXTS)
                ],
            )
            review = {"user_id": -1, "entity_type": "drug", "ease_factor": 2.5, "interval_days": 1}
            review |= {"next_review_at": at, "last_reviewed_at": None}
            connection.execute(insert(SpacedRepetitionItem), {"entity_id": "never"} | review)
        yield url


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slices, "SIZE", 300)
    monkeypatch.setenv("PHARMDB_EXPORTS", str(tmp_path / "exports"))


def read(export: Any, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    paths = export.files.query("table == @table")["path"].tolist()
    return parquet(f"SELECT {columns} FROM read_parquet({paths}) ORDER BY id") if paths else []


def stored(url: str, model: Any, names: list[str]) -> list[tuple[Any, ...]]:
    """The rows as an application would read them, with documents as text and times in microseconds."""
    with transactions.reading(targets.target(url)) as connection:
        columns = [model.__table__.c[name] for name in names]
        as_text = targets.target(url).dialect.as_text
        selected = [text(as_text(c.name)) if c.type is DOCUMENT else c for c in columns]
        rows = connection.execute(select(*selected).select_from(model.__table__).order_by(model.__table__.c.id)).all()
    epoch = parquet_files.EPOCH

    def plain(column: Any, value: Any) -> Any:
        if isinstance(column.type, UTCDateTime) and value is not None:
            return (value - epoch) // parquet_files.MICROSECOND
        return value

    return [tuple(plain(c, value) for c, value in zip(columns, row, strict=True)) for row in rows]


def test_every_value_of_every_table_is_in_the_files(learners: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SIZE", 60)
    report = pharmdb.export(learners, identities=True)
    export = pharmdb.exported(report.folder)
    for model in MODELS:
        exported = parquet_files.columns(model.__tablename__, True)
        sql = ", ".join(f"epoch_us({c.name})" if c.type == "TIMESTAMPTZ" else c.name for c in exported)
        names = [column.name for column in exported]
        assert set(model.__table__.c.keys()) - set(names) == ({"password_hash"} if model is User else set())
        found = read(export, model.__tablename__, sql)
        assert found == stored(learners, model, names)
        assert len(found) == report.tables.set_index("table")["rows"][model.__tablename__]
    assert report.tables["kept"].tolist() == [0] * len(MODELS)
    assert len([part for part in export.contents.parts if part.slice.table == "attempts"]) > 3


def test_users_have_pseudonyms_and_lie_in_their_buckets(learners: str) -> None:
    export = pharmdb.exported(pharmdb.export(learners, buckets=3).folder)
    secret = pseudonyms.key()
    with transactions.reading(targets.target(learners)) as connection:
        real = connection.scalars(select(User.id)).all()
        attempts = Counter(connection.scalars(select(Attempt.user_id)))
    expected = {pseudonyms.pseudonym(secret, user): user for user in real}
    assert {id_ for (id_,) in read(export, "users", "id")} == expected.keys()
    found = Counter(user for (user,) in read(export, "attempts", "user_id"))
    assert {expected[user]: count for user, count in found.items()} == attempts
    buckets = [
        f"SELECT DISTINCT {file.bucket}, {parquet_files.owner(str(file.table))} % 3 FROM '{file.path}'"
        for file in export.files.itertuples()
    ]
    assert all(named == found for named, found in parquet(" UNION ALL ".join(buckets)))
    for folder, _, names in os.walk(export.folder):
        for name in names:
            content = (Path(folder) / name).read_bytes()
            assert b"minus@one.test" not in content
            assert secret not in content
            assert b"secret hash" not in content
    assert "email" not in export.contents.columns["users"]
    assert pseudonyms.key_file().stat().st_mode & 0o77 == 0


def test_the_manifest_knows_times_and_sizes(learners: str) -> None:
    export = pharmdb.exported(pharmdb.export(learners).folder)
    files = list(export.files.itertuples())
    epoch, micro = parquet_files.EPOCH, parquet_files.MICROSECOND
    covered = [
        f"SELECT epoch_us(min({time})), epoch_us(max({time})), count(*) FROM '{file.path}'"
        for file in files
        for time in [parquet_files.time_column(str(file.table))]
    ]
    for file, found in zip(files, parquet(" UNION ALL ".join(covered)), strict=True):
        earliest, latest = ((pd.Timestamp(str(at)) - epoch) // micro for at in (file.earliest, file.latest))
        assert found == (earliest, latest, file.rows)
        assert Path(str(file.path)).stat().st_size == file.size


def test_production_is_exported_with_pseudonyms_only(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_ENV", "production")
    with pytest.raises(ProtectedError):
        pharmdb.export(seeded, identities=True)
    assert not taking.default_folder(targets.target(seeded)).exists()
    pharmdb.export(seeded)


def state(folder: str) -> dict[str, tuple[int, int]]:
    files = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}


def test_a_second_run_does_nothing_until_something_changes(seeded: str) -> None:
    attempt(seeded, *range(900))
    folder = pharmdb.export(seeded).folder
    before = state(folder)
    again = pharmdb.export(seeded)
    assert state(folder) == before
    assert again.tables["written"].sum() == 0
    with raw.session(seeded) as session, raw.transaction(session):
        session.execute("UPDATE attempts SET score = 1 WHERE id = 700")
    changed = pharmdb.export(seeded).tables.set_index("table")
    postgresql = not seeded.startswith("sqlite")
    # PostgreSQL knows which rows are new, SQLite that there are some.
    assert (changed["kept"]["attempts"], changed["kept"]["users"]) == ((600, 2) if postgresql else (0, 0))
    same_rows(seeded)


def attempt(url: str, *numbers: int) -> None:
    with transactions.writing(targets.target(url)) as connection:
        row = {"user_id": 1, "entity_type": "case", "answers": {}, "score": 50}
        if numbers:
            connection.execute(insert(Attempt), [row | {"entity_id": str(number)} for number in numbers])


def same_rows(url: str) -> None:
    """The published export is the database, no more and no less."""
    export = pharmdb.exported(taking.default_folder(targets.target(url)))
    names = ["id", "entity_id", "score", "answers", "feedback"]
    assert read(export, "attempts", ", ".join(names)) == stored(url, Attempt, names)
    on_disk = {str(path) for path in export.folder.rglob("*.parquet")}
    assert on_disk == set(export.files["path"])


class Killed(BaseException):
    """As a kill: nothing of pharmdb's catches it, and nothing is tidied."""


def killed_after(monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """The next export ends when it has noted so many slices."""
    add = contents.Notes.add
    left = [written]

    def add_or_die(self: contents.Notes, part: contents.Part) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        add(self, part)

    monkeypatch.setattr(contents.Notes, "add", add_or_die)


def test_a_killed_run_goes_on_and_leaves_the_old_export(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(seeded, *range(1000))
    folder = Path(pharmdb.export(seeded).folder)
    old = contents.find(folder)
    attempt(seeded, *range(500))
    with raw.session(seeded) as session, raw.transaction(session):
        session.execute("UPDATE attempts SET score = 2")
    with monkeypatch.context() as patch:
        killed_after(patch, 2)
        with pytest.raises(Killed):
            pharmdb.export(seeded)
    assert pharmdb.exported(folder).contents == old
    unfinished = folder / contents.UNFINISHED
    kept = [json.loads(line)["slice"]["rows"] for line in unfinished.read_text().splitlines()[1:]]
    # The last line may be torn, too.
    with unfinished.open("a") as file:
        file.write('{"slice": {"tab')
    report = pharmdb.export(seeded)
    assert report.tables["kept"].sum() == sum(kept) > 0
    same_rows(seeded)


Step = st.one_of(
    st.tuples(st.just("insert"), st.integers(1, 700)),
    st.tuples(st.just("update"), st.integers(1, 1500)),
    st.tuples(st.just("delete"), st.integers(1, 1500)),
    st.tuples(st.just("kill"), st.integers(0, 4)),
    st.tuples(st.just("export"), st.just(0)),
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(Step, min_size=2, max_size=6))
def test_whatever_happens_between_the_runs_the_export_is_one_snapshot(
    seeded: str, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, int]]
) -> None:
    for step, number in steps:
        if step == "insert":
            attempt(seeded, *range(number))
        elif step in ("update", "delete"):
            sql = {"update": "UPDATE attempts SET score = 100 - score", "delete": "DELETE FROM attempts"}[step]
            with raw.session(seeded) as session, raw.transaction(session):
                session.execute(f"{sql} WHERE id % {number} = 1")
        elif step == "kill":
            # With nothing to write it is not reached.
            with monkeypatch.context() as patch, suppress(Killed):
                killed_after(patch, number)
                pharmdb.export(seeded)
        else:
            pharmdb.export(seeded)
            same_rows(seeded)
    pharmdb.export(seeded)
    same_rows(seeded)


def test_a_damaged_or_missing_file_is_found_and_written_again(seeded: str) -> None:
    attempt(seeded, *range(700))
    folder = pharmdb.export(seeded).folder
    first, second = damaged = sorted(Path(folder, "attempts").rglob("*.parquet"))[:2]
    content = first.read_bytes()
    first.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    second.unlink()
    with pytest.raises(ExportError) as error:
        pharmdb.exported(folder)
    assert all(path.name in error.value.found for path in (first, second))
    pharmdb.exported(folder, verify=False)
    report = pharmdb.export(seeded)
    touched = {
        part.slice for part in report.contents.parts for file in part.files if Path(folder, file.path) in damaged
    }
    assert report.tables["written"].sum() == sum(slice_.rows for slice_ in touched)
    same_rows(seeded)


def test_other_terms_make_another_export(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(seeded, *range(50))
    for terms in ({"buckets": 2}, {"buckets": 3}, {"identities": True}):
        with monkeypatch.context() as patch:
            killed_after(patch, 2)
            with pytest.raises(Killed):
                pharmdb.export(seeded, buckets=4)
        assert pharmdb.export(seeded, **terms).tables["kept"].sum() == 0
        same_rows(seeded)


def test_without_the_server_s_number_nothing_is_kept(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_history", lambda connection: "")
    numbers = count()
    monkeypatch.setattr(slices, "_files", lambda path: str(next(numbers)))
    for _ in range(2):
        assert pharmdb.export(seeded).tables["kept"].sum() == 0
    same_rows(seeded)


def test_a_folder_of_somebody_elses_is_left_alone(databases: Databases, seeded: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all of it", encoding="utf-8")
    with pytest.raises(ParameterError):
        pharmdb.export(seeded, folder=mine)
    folder = pharmdb.export(seeded, folder=tmp_path / "new").folder
    before = state(folder)
    with databases.dropped(databases.seeded("sqlite")) as other, pytest.raises(ParameterError):
        pharmdb.export(other, folder=folder)
    with taking.alone(Path(folder)), pytest.raises(LockedError):
        pharmdb.export(seeded, folder=folder)
    assert state(folder) == before


@pytest.mark.parametrize("buckets", [0, 5000, True, "4"])
def test_a_number_of_buckets_that_is_none(migrated: str, buckets: Any) -> None:
    with pytest.raises(ParameterError):
        pharmdb.export(migrated, buckets=buckets)


def test_an_empty_database_and_one_that_is_no_database_of_pharmdb(migrated: str, databases: Databases) -> None:
    export = pharmdb.exported(pharmdb.export(migrated).folder)
    assert export.overview()["rows"].tolist() == [0] * len(MODELS)
    assert export.daily_progress().empty
    with databases.dropped(databases.empty("postgresql")) as empty, pytest.raises(RevisionError):
        pharmdb.export(empty)
    with pytest.raises(ExportError):
        pharmdb.exported(Path(export.folder) / "nothing")
    Path(export.folder, contents.MANIFEST).write_text("[]", encoding="utf-8")
    with pytest.raises(ExportError):
        pharmdb.exported(export.folder)


def test_the_disk_is_full(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pharmdb.export(seeded).folder
    attempt(seeded, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NoRoomError):
            pharmdb.export(seeded)
    pharmdb.exported(folder)
    pharmdb.export(seeded)
    same_rows(seeded)


def test_the_environment_of_the_database_counts(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "remembered_environment", lambda connection: "production")
    with pytest.raises(ProtectedError):
        pharmdb.export(seeded, identities=True)


def test_the_command_prints_nothing_but_its_tables(seeded: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pharmdb.command", "export"]
    environment = os.environ | {"PHARMDB_URL": seeded, "PHARMDB_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "rows written" in done.stdout
