"""Few rows and many take different ways into a table; they must end in the same place."""

from __future__ import annotations

import csv
import multiprocessing
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, insert
from support import legacy, raw
from support.databases import DIALECTS, Databases
from support.large_seeds import EMAIL, large, staged
from support.processes import warm
from support.seeds import KNOWN_GOOD, PROGRESS_HEADER, USERS_HEADER, counts, folder, progress, users

import pharmdb
from pharmdb import csv_marks
from pharmdb.database import targets, transactions, upserts
from pharmdb.errors import RevisionError
from pharmdb.models import ProgressByTag, User
from pharmdb.schema import drift
from pharmdb.seeding import passwords, seeding

# This module has ways of its own to hash quickly.
pytestmark = pytest.mark.real_hashing


@pytest.fixture
def all_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if any row were one too many for a single statement."""
    monkeypatch.setattr(upserts, "FEW", 0)


# -- a large seed -------------------------------------------------------------------------------------


def test_a_large_seed(migrated: str, tmp_path: Path) -> None:
    seed_dir = large(tmp_path)
    before = datetime.now(UTC)
    first = pharmdb.seed(migrated, seed_dir=seed_dir)
    assert counts(first)["progress_by_tag"] == (20_000, 0, 0)
    made = progress(migrated)
    assert len(made) == 20_000
    # The file's order is the order of the ids, as in a small seed.
    in_order = sorted(made, key=lambda row: row.id)
    assert [row.correct_count for row in in_order] == list(range(20_000))
    assert all((row.course_block, row.tag) == (f"block {n % 37}", f"tag {n}") for n, row in enumerate(in_order))
    assert all(row.wrong_count == row.correct_count % 7 for row in made)
    assert {row.last_attempt_at for row in made} == {made[0].last_attempt_at}
    assert before <= made[0].last_attempt_at <= datetime.now(UTC)

    second = pharmdb.seed(migrated, seed_dir=seed_dir)
    assert counts(second) == {"users": (0, 0, 1), "user_settings": (0, 0, 1), "progress_by_tag": (0, 20_000, 0)}
    assert second.fingerprint == first.fingerprint
    renewed = progress(migrated)
    assert renewed[0].last_attempt_at > made[0].last_attempt_at
    unchanged = {"last_attempt_at": None}
    assert [row._asdict() | unchanged for row in renewed] == [row._asdict() | unchanged for row in made]
    assert staged(migrated) == []


def test_a_large_seed_over_rows_that_are_partly_there(migrated: str, tmp_path: Path) -> None:
    pharmdb.seed(migrated, seed_dir=large(tmp_path / "part", 3000, first=2000))
    with raw.session(migrated) as session:
        session.execute("UPDATE progress_by_tag SET correct_count = 77, wrong_count = 88")
    report = pharmdb.seed(migrated, seed_dir=large(tmp_path / "whole", 6000))
    assert counts(report)["progress_by_tag"] == (3000, 3000, 0)
    earned = {row.tag for row in progress(migrated) if (row.correct_count, row.wrong_count) == (77, 88)}
    assert earned == {f"tag {n}" for n in range(2000, 5000)}


def test_the_operations_of_a_large_seed_are_those_that_created_something_and_how_many_more(
    migrated: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pharmdb.seed(migrated, seed_dir=large(tmp_path / "part", 3000))
    with caplog.at_level("INFO", "pharmdb.seeding.seeding"):
        report = pharmdb.seed(migrated, seed_dir=large(tmp_path / "whole", 3002))
    rows = report.operations[report.operations["table"] == "progress_by_tag"]
    found = list(rows[["key", "action"]].itertuples(index=False, name=None))
    assert found[:2] == [(f"{EMAIL} questions/block {n % 37}/tag {n}", "created") for n in (3000, 3001)]
    shown = upserts.SHOWN
    assert found[2:shown] == [(f"{EMAIL} questions/block {n % 37}/tag {n}", "updated") for n in range(shown - 2)]
    assert found[shown:] == [("and 2,002 more", "updated")]
    assert len(caplog.records) == len(report.operations)
    # Each action has a line of its own.
    third = pharmdb.seed(migrated, seed_dir=large(tmp_path / "more", 6000))
    assert third.operations["key"].tolist()[-2:] == ["and 1,998 more", "and 3,002 more"]
    assert third.operations["action"].tolist()[-2:] == ["created", "updated"]


def test_memory_does_not_grow_with_the_rows(databases: Databases, tmp_path: Path) -> None:
    """Held as objects, the rows of the larger one take 40 MiB; a batch of a fingerprint takes 17, at any size."""
    context = multiprocessing.get_context("spawn")
    peaks = []
    for rows in (2000, 60_000):
        mine, its = context.Pipe()
        arguments = (its, databases.migrated("sqlite"), large(tmp_path / str(rows), rows))
        child = context.Process(target=_seed_and_tell_its_peak, args=arguments)
        child.start()
        assert mine.poll(120)
        peaks.append(mine.recv())
        child.join(60)
    assert peaks[1] < peaks[0] + 25 * 1024, peaks


def _seed_and_tell_its_peak(pipe: Any, url: str, seed_dir: str) -> None:
    # Hashing takes time, and behind SQLite's page cache the memory of the rows could hide.
    passwords.hash_password = lambda password: "!"
    event.listen(Engine, "connect", lambda connection, record: connection.execute("PRAGMA cache_size = -2000"))
    pharmdb.seed(url, seed_dir=seed_dir)
    status = Path("/proc/self/status").read_text()
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    pipe.send(int(peak))


def test_two_large_seeds_at_once(migrated: str, tmp_path: Path) -> None:
    """One makes the rows, the other waits and finds them."""
    seed_dir = large(tmp_path, 5000)
    context = warm()
    barrier, results = context.Barrier(2), context.Queue()
    children = [
        context.Process(target=_seed_when_both_are_there, args=(migrated, seed_dir, barrier, results)) for _ in range(2)
    ]
    for child in children:
        child.start()
    found = sorted(results.get(timeout=120) for _ in children)
    for child in children:
        child.join(60)
    assert found == [(0, 5000, 0), (5000, 0, 0)]
    assert len(progress(migrated)) == 5000


def _seed_when_both_are_there(url: str, seed_dir: str, barrier: Any, results: Any) -> None:
    barrier.wait(60)
    results.put(counts(pharmdb.seed(url, seed_dir=seed_dir))["progress_by_tag"])


def test_more_users_than_a_statement_takes_values(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """On SQLite, which takes fewer than PostgreSQL, if it is not built for more."""
    url, number = databases.migrated("sqlite"), 33_000

    def limit(connection: sqlite3.Connection, record: Any) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)

    event.listen(Engine, "connect", limit)
    request.addfinalizer(lambda: event.remove(Engine, "connect", limit))
    lines = "".join(f"u{n}@example.org,Secret-of-mine-1,USER,en\n" for n in range(number))
    seed_dir = folder(tmp_path, f"{USERS_HEADER}\n{lines}", f"{PROGRESS_HEADER}\nu7@example.org,a,b,c,1,2\n")
    report = pharmdb.seed(url, seed_dir=seed_dir)
    assert counts(report) == {"users": (number, 0, 0), "user_settings": (number, 0, 0), "progress_by_tag": (1, 0, 0)}
    assert len(report.operations) == 2 * (upserts.SHOWN + 1) + 1
    monkeypatch.setattr(seeding, "SEED_DIRECTORY", Path(seed_dir))
    checks = {f.check: f.found for f in pharmdb.check(url).findings}
    assert checks["seed"].startswith("complete")
    assert checks["default passwords"] == "valid, as documented"


def test_users_beyond_one_statement(migrated: str, tmp_path: Path) -> None:
    lines = "".join(f"u{n}@example.org,Secret-of-mine-1,USER,en\n" for n in range(2500))
    progress_csv = f"{PROGRESS_HEADER}\nu2400@example.org,a,b,c,1,2\n"
    pharmdb.seed(migrated, seed_dir=folder(tmp_path, f"{USERS_HEADER}\n{lines}", progress_csv))
    with raw.session(migrated) as session:
        session.execute("UPDATE users SET password_hash = 'garbage', role = 'ADMIN' WHERE email = 'u2300@example.org'")
        session.execute("DELETE FROM user_settings WHERE user_id % 2 = 0")
    report = pharmdb.seed(migrated, seed_dir=str(tmp_path))
    assert counts(report) == {"users": (0, 1, 2499), "user_settings": (1250, 0, 1250), "progress_by_tag": (0, 1, 0)}
    assert report.operations.iloc[0].tolist() == [
        *("users", "u2300@example.org", "updated"),
        "password reset to the documented one",
    ]
    assert users(migrated)["u2300@example.org"].role == "ADMIN"


def test_the_doctor_names_some_of_many_missing_rows(
    migrated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pharmdb.seed(migrated, seed_dir=large(tmp_path / "part", 1500, first=2000))
    monkeypatch.setattr(seeding, "SEED_DIRECTORY", Path(large(tmp_path / "whole", 5000)))
    (found,) = [f.found for f in pharmdb.check(migrated).findings if f.check == "seed"]
    assert found.startswith(f"missing: progress_by_tag {EMAIL} questions/block 0/tag 0, ")
    assert found.count("progress_by_tag") == seeding.NAMED
    assert found.endswith(f", and {3500 - seeding.NAMED} more")


# -- many rows everywhere -----------------------------------------------------------------------------


@pytest.mark.usefixtures("all_many")
def test_a_reset_ends_known_good_without_a_trace(seeded: str) -> None:
    report = pharmdb.reset(seeded)
    assert report.fingerprint == KNOWN_GOOD
    assert report.seeded.tables["created"].tolist() == [2, 2, 4]
    assert staged(seeded) == []
    with pharmdb.reading(pharmdb.target(seeded)) as connection:
        assert drift.differences(connection) == []
    # The destroyed of the next one are those of a small seed.
    assert not any("staged" in name for name in pharmdb.reset(seeded).destroyed["name"])


@pytest.mark.usefixtures("all_many")
def test_an_upgrade_seeds_the_same(databases: Databases, dialect: str, tmp_path: Path) -> None:
    source = legacy.sample(tmp_path)
    upgraded = pharmdb.upgrade(str(source), databases.empty(dialect), seed=True)
    assert upgraded.outcome["ok"].all()
    assert upgraded.seeded is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upserts, "FEW", 1000)
        other = pharmdb.upgrade(str(source), databases.empty(dialect), seed=True)
    assert other.seeded is not None
    assert upgraded.seeded.counts == other.seeded.counts
    # Many are shown by action, few in the file's order.
    assert sorted(upgraded.seeded.log) == sorted(other.seeded.log)


@pytest.mark.usefixtures("all_many")
def test_a_table_of_the_same_name_is_left_alone(migrated: str) -> None:
    with raw.session(migrated) as session:
        session.execute("CREATE TABLE pharmdb_staged (own INTEGER)")
        session.execute("INSERT INTO pharmdb_staged VALUES (7)")
    assert pharmdb.seed(migrated).fingerprint == KNOWN_GOOD
    with raw.session(migrated) as session:
        assert session.execute("SELECT own FROM pharmdb_staged").fetchall() == [(7,)]


# -- the two ways -------------------------------------------------------------------------------------

# What a file in UTF-8 can hold and a database keeps, but what a shell, a quote or a COPY could trip over more often.
LETTERS = st.sampled_from("aé'\"\\,;\n\r\tN .%_{}β𝒳\u2028\x1f\x7f") | st.characters(
    exclude_categories=["Cs"], exclude_characters="\0"
)
NAMES = st.text(LETTERS, min_size=1, max_size=6).map(str.strip).filter(bool) | st.sampled_from(["\\N", "\\.", "NULL"])
KEYS = st.tuples(st.sampled_from(["a@x.test", "b@x.test"]), NAMES, NAMES, NAMES)
COUNTS = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))


@pytest.fixture(scope="module", params=DIALECTS)
def two_databases(request: pytest.FixtureRequest, databases: Databases) -> tuple[str, str]:
    return databases.migrated(request.param), databases.migrated(request.param)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "seed"
    lines = "".join(f"{email},Secret-of-mine-1,USER,en\n" for email in ("a@x.test", "b@x.test"))
    folder(path, f"{USERS_HEADER}\n{lines}", "")
    return path


@pytest.fixture(scope="module", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Each password is hashed as itself in this module; what becomes of hashes is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "hash_password", lambda password: f"$2b$10${password}")
        patch.setattr(passwords, "verify_password", lambda password, stored: stored.endswith(password))
        # Tables take values that the files of a seed may not hold.
        patch.setattr(csv_marks, "unseen", lambda value: "")
        yield


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(
    rows=st.dictionaries(KEYS, COUNTS, max_size=30),
    there=st.dictionaries(KEYS, COUNTS, max_size=5),
    of_them=st.integers(0, 10),
)
def test_few_and_many_end_in_the_same_place(
    two_databases: tuple[str, str], written: Path, rows: Any, there: Any, of_them: int
) -> None:
    there = there | dict(list(rows.items())[:of_them])
    with (written / "progress.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(PROGRESS_HEADER.split(","))
        writer.writerows((*key, *numbers) for key, numbers in rows.items())
    ends = []
    for url, few in zip(two_databases, (1000, 0), strict=True):
        with raw.session(url) as session:
            session.execute("DELETE FROM users")
            if "postgresql" in url:
                session.execute("ALTER SEQUENCE progress_by_tag_id_seq RESTART")
        _put(url, there)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(upserts, "FEW", few)
            reports = [pharmdb.seed(url, seed_dir=str(written)) for _ in range(2)]
        emails = {user.id: email for email, user in users(url).items()}
        found = [row._asdict() for row in progress(url)]
        times = {row["last_attempt_at"] for row in found if _key(row, emails) in rows}
        assert len(times) <= 1
        ends.append(
            (
                sorted((_key(row, emails), row["correct_count"], row["wrong_count"]) for row in found),
                [_key(row, emails) for row in sorted(found, key=lambda row: row["id"])],
                {_key(row, emails) for row in found if row["last_attempt_at"].year == 2001},
                [(r.counts, sorted(r.log), r.fingerprint) for r in reports],
            )
        )
    assert ends[0] == ends[1]
    assert ends[0][2] == set(there) - set(rows)
    new = len(set(rows) - set(there))
    assert [counts(r)["progress_by_tag"] for r in reports] == [(new, len(rows) - new, 0), (0, len(rows), 0)]


def _key(row: dict[str, Any], emails: dict[int, str]) -> tuple[str, ...]:
    return emails[row["user_id"]], row["module"], row["course_block"], row["tag"]


def _put(url: str, there: dict[tuple[str, ...], tuple[int, int]]) -> None:
    """The users, and these rows, last renewed in 2001."""
    if not there:
        return
    names = ("module", "course_block", "tag", "correct_count", "wrong_count")
    with transactions.writing(targets.target(url)) as connection:
        ids = {}
        for email in sorted({email for email, *_ in there}):
            user = insert(User).values(email=email, password_hash="$argon2id$v=19$Secret-of-mine-1")
            ids[email] = connection.execute(user.returning(User.id)).scalar_one()
        rows = [dict(zip(names, (*key[1:], *numbers), strict=True)) for key, numbers in there.items()]
        for row, (email, *_) in zip(rows, there, strict=True):
            row |= {"user_id": ids[email], "last_attempt_at": datetime(2001, 1, 1, tzinfo=UTC)}
        connection.execute(insert(ProgressByTag), rows)


SWALLOW = {
    "sqlite": "CREATE TRIGGER swallow BEFORE INSERT ON progress_by_tag BEGIN SELECT RAISE(IGNORE); END",
    "postgresql": """
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER swallow BEFORE INSERT ON progress_by_tag FOR EACH ROW EXECUTE FUNCTION swallow()
    """,
}


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("every", [True, False])
def test_a_trigger_that_drops_updates_is_no_silent_success(
    seeded: str, dialect: str, monkeypatch: pytest.MonkeyPatch, few: int, every: bool
) -> None:
    monkeypatch.setattr(upserts, "FEW", few)
    script = SWALLOW[dialect].replace("BEFORE INSERT", "BEFORE UPDATE")
    if not every:
        words = "BEGIN SELECT" if dialect == "sqlite" else "EXECUTE"
        script = script.replace(words, f"WHEN (OLD.tag = 'asthma') {words}")
    raw.run(seeded, script)
    before = raw.everything(seeded)
    with pytest.raises(RevisionError) as error:
        pharmdb.seed(seeded)
    lost = 4 if every else 1
    assert error.value.found == f"{lost} are not: dropped by one of progress_by_tag.swallow"
    assert raw.everything(seeded) == before


@pytest.mark.parametrize("few", [1, 1000])
def test_a_trigger_that_drops_rows_is_no_silent_success(
    migrated: str, dialect: str, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(upserts, "FEW", few)
    raw.run(migrated, SWALLOW[dialect])
    with pytest.raises(RevisionError) as error:
        pharmdb.seed(migrated)
    assert "progress_by_tag.swallow" in error.value.found
    assert raw.ask(migrated, "SELECT count(*) FROM users") == [(0,)]
    (finding,) = [f for f in pharmdb.check(migrated).findings if f.check == "triggers"]
    assert (finding.state, finding.found) == ("warn", "progress_by_tag.swallow")
