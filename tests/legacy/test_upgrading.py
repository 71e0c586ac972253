"""The upgrade from an old database: every row is imported as it should be, or rejected with a reason."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time as clock
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from support import legacy, raw
from support.backups import backed_up
from support.databases import DIALECTS, Databases
from support.legacy import STAGES, Cell, Doc, row
from support.raw import OWNERS, TABLES, TIMES, run

import pharmdb
from pharmdb import settings
from pharmdb.backups import manifests, restoring, taking
from pharmdb.database import targets
from pharmdb.errors import LockedError, ParameterError, PharmdbError, ProtectedError, RevisionError, UnavailableError
from pharmdb.legacy import upgrading
from pharmdb.legacy.sources import source_target
from pharmdb.seeding import passwords, seeding


@pytest.fixture(scope="module", autouse=True)
def _far_from_utc() -> Iterator[None]:
    """A time that is read as a local one shows."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "America/St_Johns"
    clock.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    clock.tzset()


@pytest.fixture(scope="module")
def make(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Builds an old database, on SQLite in a folder of its own, and gives its URL."""

    def build(dialect: str, stage: int, rows: Any = (), **options: Any) -> str:
        if dialect == "postgresql":
            return legacy.make(databases.empty(dialect), stage, rows, **options)
        folder = tmp_path_factory.mktemp("old")
        return legacy.make(f"sqlite:///{folder / 'dev.db'}", stage, rows, **options)

    return build


@pytest.fixture
def old(make: Callable[..., str], dialect: str) -> str:
    """A clean old database at the last stage."""
    return make(dialect, 4, legacy.clean(dialect))


@pytest.fixture
def old_file(make: Callable[..., str]) -> Path:
    """The same as a file."""
    return raw.path(make("sqlite", 4, legacy.clean("sqlite")))


@pytest.fixture
def target(databases: Databases) -> str:
    """An SQLite target that is not there yet."""
    return databases.empty("sqlite")


def upgrade(source: str | Path, database_url: str, **options: Any) -> Any:
    return pharmdb.upgrade(str(source), database_url, **options)


def folder(path: Path) -> dict[str, str]:
    """Every file of the database's folder by its SHA-256. What is in a -shm is no content: it says who reads."""
    return {
        p.name: "" if p.name.endswith("-shm") else hashlib.sha256(p.read_bytes()).hexdigest()
        for p in path.parent.iterdir()
    }


def source_state(url: str) -> Any:
    """The bytes of an SQLite source's whole folder; the rows and the schema of a PostgreSQL source."""
    if url.startswith("sqlite"):
        return folder(raw.path(url))
    with psycopg.connect(raw.libpq(url), autocommit=True) as session:
        names = session.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
        ).fetchall()
        # As text: Python has no infinity among its times.
        rows = {
            name: sorted(session.execute(f"SELECT t::text FROM {name} t").fetchall(), key=repr) for (name,) in names
        }
        return rows, raw.schema(session)


def everything(url: str) -> Any:
    """Schema and rows of all tables. Numbers of any length: PostgreSQL's rows are read as text."""
    return raw.everything(url) if url.startswith("sqlite") else source_state(url)


def imported(url: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The target's rows with Python's times, documents as `Doc`, and nothing of pharmdb in between."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    sqlite = url.startswith("sqlite")
    with raw.session(url) as session:
        for table, columns in raw.ROWS.items():
            selected = [f"{c}::text" if c in ("answers", "feedback") and not sqlite else c for c in columns]
            for id_, *values in session.execute(f"SELECT id, {', '.join(selected)} FROM {table}"):
                found[table, id_] = {
                    column: _read(table, column, value) for column, value in zip(columns, values, strict=True)
                }
    return found


def _read(table: str, column: str, value: Any) -> Any:
    if value is None:
        return None
    if (table, column) in TIMES and isinstance(value, str):
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%f%z")
    if column in ("answers", "feedback"):
        return Doc(value)
    if column == "is_active" and value in (0, 1):
        return bool(value)
    return value


def rejects(url: str) -> list[tuple[str, int, str, Any]]:
    with raw.session(url) as session:
        found = session.execute('SELECT source_table, source_id, reason, "row" FROM upgrade_rejects').fetchall()
    return [(t, i, why, json.loads(r) if isinstance(r, str) else r) for t, i, why, r in found]


def equal(values: dict[str, Any], expected: dict[str, Any], exactly: bool) -> bool:
    """JSONB keeps a document's meaning, a text its form too."""
    if values.keys() != expected.keys():
        return False
    for column, value in values.items():
        wanted = expected[column]
        if isinstance(value, Doc) and isinstance(wanted, Doc) and not exactly:
            if not value.means(wanted):
                return False
        elif value != wanted or (type(value) is not type(wanted)):
            return False
    return True


def says(reason: str, words: tuple[str, ...]) -> bool:
    plain = reason.lower().replace("_", "").replace("-", "")
    return any(word.lower().replace("_", "") in plain for word in words)


def seed_emails() -> set[str]:
    return {r["email"] for r in seeding.read().users}


def assert_as_expected(
    found: dict[tuple[str, int], dict[str, Any]],
    rejected: dict[tuple[str, int], str],
    expected: dict[tuple[str, int], legacy.Fate],
    *,
    exactly: bool,
) -> None:
    """Every source row is where it belongs, with the values or the reason that it should have."""
    wrong: list[Any] = []
    for key, fate in expected.items():
        if fate.reasons:
            if key in found or key not in rejected:
                wrong.append((key, "not rejected", fate.reasons, found.get(key)))
            elif not says(rejected[key], fate.reasons):
                wrong.append((key, "another reason", fate.reasons, rejected[key]))
        elif key not in found:
            wrong.append((key, "not imported", rejected.get(key, "and not rejected"), fate.values))
        elif not equal(found[key], fate.values, exactly):
            values = {c: (v, fate.values.get(c)) for c, v in found[key].items() if v != fate.values.get(c)}
            wrong.append((key, "other values", values or found[key], fate.values))
    assert wrong == []


# -- every variation, from and to both databases ------------------------------------------------------

PAIRS = [(s, t) for s in DIALECTS for t in DIALECTS]
# Stages at which JSON strings are decoded; at the others they are kept.
DECODED = (2, 3)
# Each stage is read from both kinds of source and written to both kinds of target.
CASES = [
    (source, target, stage)
    for source, target in PAIRS
    for stage in (STAGES if target == "sqlite" else (1, 3) if source == "sqlite" else (3, 4))
]


def case_id(case: tuple[str, str, int]) -> str:
    return "{}-to-{}-stage-{}".format(*case)


@pytest.fixture(scope="module")
def dirty_sources(make: Callable[..., str]) -> Callable[[str, int], str]:
    # Without _prisma_migrations where the number is even, in WAL where it is above 2.
    return cache(
        lambda dialect, stage: make(
            dialect,
            stage,
            legacy.dirty(dialect),
            migrations=stage % 2 == 1,
            **({"journal": "WAL" if stage > 2 else "DELETE"} if dialect == "sqlite" else {}),
        )
    )


@pytest.fixture(scope="module")
def upgrades(
    databases: Databases, dirty_sources: Callable[[str, int], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[tuple[str, str, int]], SimpleNamespace]:
    """Dirty databases upgraded, each once: what there was and what there is."""

    @cache
    def run(case: tuple[str, str, int]) -> SimpleNamespace:
        source_dialect, dialect, stage = case
        source, url = dirty_sources(source_dialect, stage), databases.empty(dialect)
        before, backups = source_state(source), tmp_path_factory.mktemp("backups")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PHARMDB_BACKUPS", str(backups))
            report = upgrade(source, url, decode_json=stage in DECODED)
            assert report.source_backup is not None
            listed = manifests.of(pharmdb.target(url))
        rows = legacy.at_stage(legacy.dirty(source_dialect), stage)
        return SimpleNamespace(
            report=report,
            source=source,
            url=url,
            stage=stage,
            rows=rows,
            before=before,
            after=source_state(source),
            found=imported(url),
            rejects=rejects(url),
            expected=legacy.fates(rows, stage, dialect, decode=stage in DECODED),
            exactly=source_dialect == dialect == "sqlite",
            kept=report.source_backup,
            backups=backups,
            listed=listed,
        )

    return run


@pytest.fixture(params=CASES, ids=case_id)
def done(request: pytest.FixtureRequest, upgrades: Callable[[Any], SimpleNamespace]) -> SimpleNamespace:
    return upgrades(request.param)


@pytest.fixture(params=[case for case in CASES if case[2] == 3], ids=case_id)
def done_at_3(request: pytest.FixtureRequest, upgrades: Callable[[Any], SimpleNamespace]) -> SimpleNamespace:
    """At the one stage that has every table and every fault."""
    return upgrades(request.param)


def test_every_row_has_the_fate_that_it_should_have(done: SimpleNamespace) -> None:
    rejected = {(table, id_): reason for table, id_, reason, _ in done.rejects}
    assert_as_expected(done.found, rejected, done.expected, exactly=done.exactly)


def test_the_stage_is_recognized(done: SimpleNamespace) -> None:
    assert done.report.stage == done.stage
    assert str(done.stage) in " ".join(done.report.recognized["found"])


def test_nothing_but_the_source_is_there_afterwards(done: SimpleNamespace) -> None:
    assert done.found.keys() == {key for key, fate in done.expected.items() if not fate.reasons}
    assert done.report.seeded is None


def test_each_row_is_accounted_for_once(done: SimpleNamespace) -> None:
    assert Counter((table, id_) for table, id_, *_ in done.rejects).most_common(1)[0][1] == 1
    accounted = {(table, id_) for table, id_, *_ in done.rejects}
    assert accounted == {key for key, fate in done.expected.items() if fate.reasons}
    table = done.report.tables
    assert table["table"].tolist() == list(TABLES)
    assert (table["source"] == table["imported"] + table["rejected"]).all()
    for name, source, imported_, rejected in table[["table", "source", "imported", "rejected"]].itertuples(index=False):
        fates = [fate for key, fate in done.expected.items() if key[0] == name]
        bad = sum(bool(fate.reasons) for fate in fates)
        assert (name, source, imported_, rejected) == (name, len(fates), len(fates) - bad, bad)


def test_the_report_names_the_old_tables(done: SimpleNamespace) -> None:
    names = dict(done.report.tables[["table", "source_table"]].itertuples(index=False))
    present = {table: legacy.OLD[table] for table in legacy.tables(done.stage)}
    assert {table: name for table, name in names.items() if table in present} == present


def test_the_checksums_of_source_and_target_are_equal(done: SimpleNamespace) -> None:
    table = done.report.tables
    assert table["source_checksum"].tolist() == table["target_checksum"].tolist()
    # They are sums of something: no two tables with rows have the same.
    sums = table[table["imported"] > 0]["source_checksum"].tolist()
    assert len(set(sums)) == len(sums) >= 6
    assert all(sums)


def test_a_reject_holds_its_whole_row(done: SimpleNamespace) -> None:
    by_key = {each.key: each for each in done.rows}
    for table, id_, _, kept in done.rejects:
        values = {name.lower().replace("_", ""): value for name, value in kept.items()}
        names = legacy.columns(table, done.stage)
        assert {"id", *(name.replace("_", "") for name in names)} <= values.keys()
        assert values["id"] == id_
        for name in names:
            stored = by_key[table, id_].cells[name].raw
            if (
                isinstance(stored, str)
                and "\0" not in stored
                and not name.endswith("_at")
                and name not in ("answers", "feedback")
            ):
                assert values[name.replace("_", "")] in (stored, _number_or_none(stored)), (table, id_, name)


def _number_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def test_the_report_of_rejects_is_that_of_the_table(done: SimpleNamespace) -> None:
    shown = done.report.rejects
    assert shown.columns.tolist() == ["source_table", "source_id", "reason", "row"]
    found = {(table, id_): reason for table, id_, reason, _ in done.rejects}
    assert {(t, i): why for t, i, why, _ in shown.itertuples(index=False)} == found
    assert all(isinstance(json.loads(text), dict) for text in shown["row"])
    assert done.report.reasons["rows"].sum() == len(done.rejects)
    counts = Counter(table for table, *_ in done.rejects)
    assert done.report.reasons.groupby("table")["rows"].sum().to_dict() == dict(counts)


def test_every_change_is_counted(done: SimpleNamespace) -> None:
    def changed(word: str) -> int:
        changes = done.report.changes
        return int(changes[changes["change"].str.contains(word)]["rows"].sum())

    kept = {key: fate.values for key, fate in done.expected.items() if not fate.reasons}
    raws = {each.key: each for each in done.rows}
    emails = sum(
        table == "users" and values["email"] != raws[table, id_].cells["email"].raw
        for (table, id_), values in kept.items()
    )
    names = sum(
        table == "dataset_overrides" and values["name"] != raws[table, id_].cells["name"].raw
        for (table, id_), values in kept.items()
    )
    overrides = [(values, raws[key]) for key, values in kept.items() if key[0] == "dataset_overrides"]
    marks = sum(values["json_text"] != each.cells["json_text"].raw for values, each in overrides)
    drafts = sum(values["is_active"] != each.cells["is_active"].raw for values, each in overrides)
    rounded = sum(
        any(isinstance(c.value, datetime) and c.value != values[name] for name, c in raws[key].cells.items())
        for key, values in kept.items()
    )
    assert (changed("byte order mark"), changed("no longer active")) == (marks, drafts)
    strings = Counter(
        name
        for (table, id_), values in kept.items()
        if table == "attempts"
        for name in ("answers", "feedback")
        if values[name] is not None and raws[table, id_].cells[name].kept
    )
    said = f"attempts.answers: {strings['answers']} hold" in found_text(done.report)
    assert said == (done.stage not in DECODED)
    for name in ("answers", "feedback"):
        assert changed(f"JSON string decoded: {name}") == (strings[name] if done.stage in DECODED else 0)
        assert strings[name] > 5
    assert (drafts > 5) == (marks > 1) == (done.stage > 2)
    assert changed("rounded to milliseconds") == rounded
    assert (rounded > 5) == done.source.startswith("sqlite")
    users = {id_ for table, id_ in kept if table == "users"}
    assert changed("mail") == emails > 0
    assert changed("number") == names
    assert changed("created") == 0
    assert changed("role") == (len(users) if done.stage == 1 else 0)


def test_the_source_is_untouched(done: SimpleNamespace) -> None:
    assert done.after == done.before


def test_the_source_is_backed_up_and_an_absent_target_is_not(
    done: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_BACKUPS", str(done.backups))
    restoring.verify(done.kept)
    assert done.report.target_backup is None
    # A restore of the target must never bring the old schema into it.
    assert done.listed == []
    if done.source.startswith("sqlite"):
        assert sqlite_rows(done.kept.path) == sqlite_rows(raw.path(done.source))


def sqlite_rows(path: Path) -> dict[str, list[Any]]:
    # Immutable: else a reader puts its own files beside one that is in WAL.
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as session:
        session.text_factory = bytes
        names = [name.decode() for (name,) in session.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(session.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in names}


def test_the_doctor_finds_nothing_wrong_and_the_fingerprint_is_the_targets(done: SimpleNamespace) -> None:
    assert set(done.report.checks["state"]) <= {"ok", "warn"}
    assert len(done.report.checks) > 5
    # A later run of the doctor says the same.
    with pharmdb.reading(pharmdb.target(done.url)) as connection:
        assert pharmdb.fingerprint(connection) == done.report.fingerprint
    outcome = done.report.outcome
    assert outcome.columns.tolist() == ["ok", "changed", "fingerprint", "next"]
    assert outcome["ok"].tolist() == [True]
    assert done.report.fingerprint.startswith(outcome["fingerprint"].item())


def test_the_next_row_gets_an_id_past_the_largest(done_at_3: SimpleNamespace) -> None:
    with raw.session(done_at_3.url) as session:
        for table, largest in session.execute(
            " UNION ALL ".join(f"SELECT '{table}', max(id) FROM {table}" for table in TABLES)
        ).fetchall():
            owner = session.execute("SELECT max(id) FROM users WHERE id < 2000").fetchone()[0]
            changes = {OWNERS[table]: str(owner)} if table != "users" else {}
            if table == "user_settings":
                session.execute(f"DELETE FROM user_settings WHERE user_id = {owner}")
                largest = session.execute("SELECT max(id) FROM user_settings").fetchone()[0]
            with raw.transaction(session, keep=table == "user_settings"):
                session.execute(raw.insert(table, **changes))
                assert session.execute(f"SELECT max(id) FROM {table}").fetchone()[0] > largest


def test_old_passwords_still_open_their_accounts(done_at_3: SimpleNamespace) -> None:
    with raw.session(done_at_3.url) as session:
        hashes = dict(session.execute("SELECT id, password_hash FROM users").fetchall())
    assert hashes[1] == legacy.bcrypt_hash()
    assert hashes[1].startswith("$2a$10$")
    assert passwords.verify_password(legacy.PASSWORD, hashes[1])
    assert not passwords.verify_password(legacy.PASSWORD + "x", hashes[1])


def test_a_second_run_has_nothing_left_to_do_and_writes_nothing(
    upgrades: Callable[[Any], SimpleNamespace], dialect: str
) -> None:
    first = upgrades((dialect, dialect, 3))
    before, taken = everything(first.url), manifests.known()
    again = upgrade(first.source, first.url, decode_json=True)
    assert (again.nothing_left, first.report.nothing_left) == (True, False)
    assert again.outcome["ok"].tolist() == [True]
    assert everything(first.url) == before
    assert manifests.known() == taken
    assert source_state(first.source) == first.before


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_a_dry_run_gives_the_account_of_the_real_one_and_writes_nothing(
    upgrades: Callable[[Any], SimpleNamespace], databases: Databases, pair: tuple[str, str]
) -> None:
    real = upgrades((*pair, 3))
    url = databases.empty(pair[1])
    before = everything(url)
    report = upgrade(real.source, url, dry_run=True, decode_json=True)
    assert everything(url) == before
    assert not manifests.known()
    assert source_state(real.source) == real.before
    assert (report.dry_run, report.stage, report.nothing_left) == (True, 3, False)
    assert (report.source_backup, report.target_backup, report.seeded) == (None, None, None)
    assert report.checks.empty
    account = ["table", "source_table", "source", "imported", "rejected", "source_checksum"]
    assert report.tables[account].equals(real.report.tables[account])
    for name in ("rejects", "reasons", "changes"):
        assert getattr(report, name).equals(getattr(real.report, name)), name
    # What the target was is another matter after the real run.
    about = [r.recognized[r.recognized["what"] != "target"].reset_index(drop=True) for r in (report, real.report)]
    assert about[0].equals(about[1])


def test_a_clean_source_loses_nothing(make: Callable[..., str], databases: Databases, dialect: str) -> None:
    other = DIALECTS[dialect == "sqlite"]
    source, url = make(other, 4, legacy.clean(other)), databases.empty(dialect)
    report = upgrade(source, url)
    assert report.rejects.empty
    assert report.reasons.empty
    assert rejects(url) == []
    expected = legacy.fates(legacy.clean(other), 4, dialect)
    assert_as_expected(imported(url), {}, expected, exactly=False)
    assert set(report.changes["change"]) <= {"times rounded to milliseconds"}


def test_a_source_is_another_one_if_its_json_strings_are_to_be_decoded(old_file: Path, target: str) -> None:
    upgrade(old_file, target)
    with pytest.raises(ProtectedError) as error:
        upgrade(old_file, target, decode_json=True)
    name = targets.target(target).name
    assert error.value.command.split(" --database-url")[0].endswith(f" --decode-json --confirm {name}")
    decoded = upgrade(old_file, target, decode_json=True, confirm=name)
    expected = legacy.fates(legacy.clean("sqlite"), 4, "sqlite", decode=True)
    assert_as_expected(imported(target), {}, expected, exactly=True)
    dry = upgrade(old_file, target, decode_json=True, dry_run=True)
    assert (decoded.nothing_left, dry.nothing_left) == (False, True)


def test_one_other_value_gives_another_checksum_of_its_table_alone(
    make: Callable[..., str], databases: Databases
) -> None:
    def sums(rows: list[legacy.Row]) -> dict[str, str]:
        report = upgrade(make("sqlite", 4, rows), databases.empty("sqlite"), dry_run=True)
        return dict(report.tables[["table", "source_checksum"]].itertuples(index=False))

    first = sums(legacy.clean("sqlite"))
    for table, column, value in (
        ("attempts", "score", 12.5),
        ("attempts", "answers", legacy.twice('{"a": "1"}')),
        ("bookmarks", "created_at", 1),
        ("users", "password_hash", "x"),
    ):
        rows = legacy.clean("sqlite")
        changed = next(each for each in rows if each.table == table)
        changed.cells[column] = value if isinstance(value, Cell) else legacy.same(value)
        other = sums(rows)
        assert {name for name in first if first[name] != other[name]} == {table}, column


# -- what a source may look like ----------------------------------------------------------------------


def found_text(report: Any) -> str:
    return "\n".join(f"{what}: {found}" for what, found in report.recognized[["what", "found"]].itertuples(index=False))


def test_prismas_own_urls_are_accepted(
    old_file: Path, make: Callable[..., str], databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(settings.SOURCE)
    server = make("postgresql", 3, legacy.clean("postgresql"), schema="app")
    plain = server.replace("postgresql+psycopg:", "postgresql:")
    with pytest.raises(PharmdbError):
        upgrade(plain, databases.empty("sqlite"), dry_run=True)
    for source, stage in (
        (f"file:{old_file}", 4),
        (f"file:./{os.path.relpath(old_file)}", 4),
        (os.path.relpath(old_file), 4),
        (f"sqlite:///{old_file}", 4),
        (f"{plain}&schema=app", 3),
    ):
        report = upgrade(source, databases.empty("sqlite"), dry_run=stage == 4)
        assert report.stage == stage, source
        assert report.tables["source"].tolist()[:3] == [5, 3, 11], source
        assert report.tables["imported"].tolist()[:3] == [5, 3, 11], source


def test_the_source_is_named_by_the_environment_where_no_parameter_names_it(
    old: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_SOURCE", old)
    assert upgrade("", target).tables["imported"].sum() > 50


def test_without_any_source_the_parameter_is_asked_for(target: str) -> None:
    with pytest.raises(ParameterError, match="PHARMDB_SOURCE"):
        upgrade("", target)
    assert not raw.path(target).exists()


def test_a_password_is_taken_from_the_environment_and_refused_as_a_parameter(
    make: Callable[..., str], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make("postgresql", 2, legacy.clean("postgresql"))
    secret = source.replace("postgres@", "postgres:geheim-7@")
    assert secret != source
    for text in (secret, secret.replace("postgresql+psycopg:", "postgresql:") + "&schema=public"):
        with pytest.raises(ParameterError) as error:
            upgrade(text, target)
        assert "geheim" not in str(error.value)
        assert "PHARMDB_SOURCE" in str(error.value)
    monkeypatch.setenv("PHARMDB_SOURCE", secret)
    report = upgrade("", target, dry_run=True)
    assert report.stage == 2
    assert "geheim" not in repr(report) + found_text(report)


def test_unknown_tables_and_extra_columns_are_reported(
    make: Callable[..., str], databases: Databases, dialect: str
) -> None:
    source = make(dialect, 4, legacy.clean(dialect))
    run(
        source,
        'CREATE TABLE "Streak" ("id" INTEGER PRIMARY KEY, "days" INTEGER)',
        'INSERT INTO "Streak" VALUES (1, 7)',
        'CREATE TABLE "new_User" ("id" INTEGER PRIMARY KEY)',
        'ALTER TABLE "Attempt" ADD COLUMN "durationMs" INTEGER',
        'UPDATE "Attempt" SET "durationMs" = 5',
    )
    url = databases.empty("sqlite")
    report = upgrade(source, url)
    text = found_text(report)
    assert all(name in text for name in ("Streak", "new_User", "durationMs"))
    assert_as_expected(imported(url), {}, legacy.fates(legacy.clean(dialect), 4, "sqlite"), exactly=dialect == "sqlite")


def test_more_rejects_than_are_shown_are_all_in_the_table(make: Callable[..., str], target: str) -> None:
    rows = [*legacy.clean("sqlite"), *(row("bookmarks", 5000 + n, user_id=77) for n in range(1234))]
    report = upgrade(make("sqlite", 4, rows), target)
    assert (len(report.rejects), report.reasons["rows"].sum(), len(rejects(target))) == (1000, 1234, 1234)
    assert len({id_ for _, id_, *_ in rejects(target)}) == 1234
    run_now = datetime.now(UTC)
    with raw.session(target) as session:
        cursor = session.execute("SELECT * FROM upgrade_rejects LIMIT 1")
        values = dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))
    assert values.keys() == {"id", "source_table", "source_id", "row", "reason", "rejected_at"}
    age = run_now - datetime.fromisoformat(values["rejected_at"])
    assert timedelta(0) <= age < timedelta(minutes=10)


def test_rows_that_break_a_unique_rule_without_its_index_are_rejected(
    make: Callable[..., str], databases: Databases, dialect: str
) -> None:
    source = make(dialect, 3, legacy.clean(dialect))
    run(
        source,
        *(
            f'DROP INDEX "{name}"'
            for name in (
                "User_email_key",
                "UserSettings_userId_key",
                "ProgressByTag_userId_module_courseBlock_tag_key",
                "SpacedRepetitionItem_userId_entityType_entityId_key",
            )
        ),
    )
    for table in ("User", "UserSettings", "ProgressByTag", "SpacedRepetitionItem"):
        names = ", ".join(
            f'"{legacy.camel(c)}"' for c in legacy.columns({v: k for k, v in legacy.OLD.items()}[table], 3)
        )
        run(source, f'INSERT INTO "{table}" ("id", {names}) SELECT "id" + 7000, {names} FROM "{table}"')
    url = databases.empty("sqlite")
    report = upgrade(source, url)
    twins = {(t, each.id + 7000) for each in legacy.clean(dialect) for t in [each.table] if t in legacy._UNIQUE}
    assert {(t, i) for t, i, *_ in rejects(url)} == twins
    assert (report.tables["source"] == report.tables["imported"] + report.tables["rejected"]).all()


# -- sources that somebody else has open, or had -------------------------------------------------------


def test_rows_that_only_a_wal_holds_are_read_and_stay_there(make: Callable[..., str], databases: Databases) -> None:
    path = raw.path(make("sqlite", 4, legacy.clean("sqlite"), journal="WAL"))
    left = path.parent.parent / f"{path.parent.name} left"
    left.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        legacy.insert_sqlite(writer, 4, [row("bookmarks", 9001, entity_id="only in the wal")])
        # As a killed process leaves them: without the -shm, which is no content.
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", left / f"dev.db{end}")
        assert b"only in the wal" not in path.read_bytes()
        before = folder(path)
        url = databases.empty("sqlite")
        upgrade(path, url)
        assert ("bookmarks", 9001) in imported(url)
        assert folder(path) == before
    before = folder(left / "dev.db")
    assert set(before) == {"dev.db", "dev.db-wal"}
    url = databases.empty("sqlite")
    upgrade(left / "dev.db", url)
    assert ("bookmarks", 9001) in imported(url)
    assert folder(left / "dev.db") == before


def test_what_is_stale_in_a_wal_does_not_come_back(make: Callable[..., str], databases: Databases) -> None:
    path = raw.path(make("sqlite", 4, legacy.clean("sqlite"), journal="WAL"))
    left = path.parent.parent / f"{path.parent.name} left"
    left.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        legacy.insert_sqlite(writer, 4, [row("bookmarks", 9000 + n, entity_id="x" * 3000) for n in range(20)])
        writer.execute("PRAGMA wal_checkpoint(RESTART)")
        # This overwrites the first frames only; behind them stand those of the rows that it deletes.
        writer.execute('DELETE FROM "Bookmark" WHERE "id" >= 9001')
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", left / f"dev.db{end}")
    before = folder(left / "dev.db")
    url = databases.empty("sqlite")
    upgrade(left / "dev.db", url)
    assert {i for t, i in imported(url) if t == "bookmarks" and i >= 9000} == {9000}
    assert folder(left / "dev.db") == before


def test_a_wal_without_content_does_no_harm(old_file: Path, target: str) -> None:
    run(f"sqlite:///{old_file}", "PRAGMA journal_mode = WAL")
    Path(f"{old_file}-wal").touch()
    before = folder(old_file)
    assert upgrade(old_file, target).rejects.empty
    assert folder(old_file) == before


CRASHED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute('UPDATE "Attempt" SET "entityId" = hex(randomblob(3000))')
connection.execute('DELETE FROM "User"')
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_transaction_that_crashed_half_written_is_not_taken_over(old_file: Path, target: str) -> None:
    crashed = subprocess.run([sys.executable, "-c", CRASHED, str(old_file)], check=False)
    assert crashed.returncode == -signal.SIGKILL
    before = folder(old_file)
    assert set(before) == {"dev.db", "dev.db-journal"}
    assert Path(f"{old_file}-journal").stat().st_size > 0
    assert upgrade(old_file, target).rejects.empty
    assert_as_expected(imported(target), {}, legacy.fates(legacy.clean("sqlite"), 4, "sqlite"), exactly=True)
    assert folder(old_file) == before


WRITER = """
import itertools, select, sqlite3, sys
import psycopg
url = sys.argv[1]
sqlite = not url.startswith("postgresql")
connection = sqlite3.connect(url, isolation_level=None, timeout=60) if sqlite else psycopg.connect(url, autocommit=True)
for n in itertools.count(50_000):
    connection.execute("BEGIN")
    for table in ("Bookmark", "Attempt"):
        extra, more = (', "answers", "score"', ", '\\"{}\\"', 5") if table == "Attempt" else ("", "")
        connection.execute(
            f'INSERT INTO "{table}" ("id", "userId", "entityType", "entityId", "createdAt"{extra}) '
            f"VALUES ({n}, 1, 'case', 'pair', '2026-01-02 03:04:05'{more})"
        )
    connection.execute("COMMIT")
    if n == 50_010:
        print("begun", flush=True)
    if n % 10 == 0 and select.select([sys.stdin], [], [], 0.001)[0]:
        break
print(n, flush=True)
"""


@pytest.mark.parametrize("journal", ["WAL", "DELETE", "postgresql"])
def test_a_source_that_is_written_meanwhile_gives_one_moment_of_it(
    make: Callable[..., str], target: str, journal: str
) -> None:
    if journal == "postgresql":
        source = make("postgresql", 4, legacy.clean("postgresql"))
        named = raw.libpq(source)
    else:
        source = make("sqlite", 4, legacy.clean("sqlite"), journal=journal)
        named = str(raw.path(source))
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, named], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == "begun\n"
        report = upgrade(source, target)
        assert writer.poll() is None
        last, _ = writer.communicate("stop\n", timeout=60)
    finally:
        writer.kill()
        writer.wait()
    pairs = {
        table: {i for t, i in imported(target) if t == table and i >= 50_000} for table in ("attempts", "bookmarks")
    }
    assert pairs["attempts"] == pairs["bookmarks"] == set(range(50_000, max(pairs["attempts"]) + 1))
    # Others could write all the time, and what they wrote later is not there.
    assert 50_010 <= max(pairs["attempts"]) < int(last)
    assert report.rejects.empty
    with pytest.raises(ProtectedError):
        upgrade(source, target)


def test_a_source_that_somebody_has_locked_is_refused(
    old: str, target: str, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
    if dialect == "sqlite":
        holder: Any = sqlite3.connect(raw.path(old), isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
    else:
        holder = psycopg.connect(raw.libpq(old))
        holder.execute('LOCK TABLE "Attempt" IN ACCESS EXCLUSIVE MODE')
    with closing(holder), pytest.raises(LockedError):
        upgrade(old, target)
    assert not raw.path(target).exists()
    assert upgrade(old, target).outcome["ok"].item()


def _obey_permissions() -> None:
    """Takes from this process what lets the superuser write where nobody may."""
    if os.geteuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    # The first bits of effective and permitted: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
    sets[0] &= ~0b110
    sets[1] &= ~0b110
    assert libc.capset(header, sets) == 0


def _in_a_child(work: Callable[[], object]) -> tuple[int, str]:
    """Runs it in a child that obeys permissions, and gives its exit status and what it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reader)
            _obey_permissions()
            os.write(writer, str(work()).encode())
            status = 0
        except BaseException as error:  # noqa: BLE001 - the parent tells it
            os.write(writer, repr(error).encode())
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read().decode()
    return os.waitpid(child, 0)[1], said


@pytest.mark.skipif(sys.platform != "linux", reason="the superuser can't be told to obey elsewhere")
@pytest.mark.parametrize("journal", ["DELETE", "WAL", "WAL with rows"])
def test_a_read_only_file_in_a_read_only_folder_is_read(
    make: Callable[..., str], tmp_path: Path, target: str, journal: str
) -> None:
    path = raw.path(make("sqlite", 4, legacy.clean("sqlite"), journal=journal.split()[0]))
    place = tmp_path / "old"
    place.mkdir()
    with contextlib.ExitStack() as stack:
        if journal == "WAL with rows":
            writer = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
            legacy.insert_sqlite(writer, 4, [row("bookmarks", 9001)])
        for end in ("", "-wal"):
            if Path(f"{path}{end}").exists():
                shutil.copyfile(f"{path}{end}", place / f"dev.db{end}")
    for part in place.iterdir():
        part.chmod(0o444)
    place.chmod(0o555)
    before = folder(place / "dev.db")

    def work() -> int:
        with pytest.raises(PermissionError):
            (place / "new").touch()
        return int(upgrade(place / "dev.db", target).tables["imported"].sum())

    status, said = _in_a_child(work)
    place.chmod(0o755)
    assert status == 0, said
    assert int(said) == len(legacy.clean("sqlite")) + (journal == "WAL with rows")
    assert folder(place / "dev.db") == before


def test_a_source_may_have_any_name(old_file: Path, target: str) -> None:
    odd = old_file.with_name("the old %41 ů #1 'x'.db")
    old_file.rename(odd)
    assert upgrade(odd, target).rejects.empty
    assert [path.name for path in odd.parent.iterdir()] == [odd.name]


# -- sources that are refused --------------------------------------------------------------------------


def refuses(source: str | Path, url: str, *errors: type[PharmdbError], match: str = "") -> PharmdbError:
    """A typed error with its four parts; neither source nor target is touched."""
    before = everything(url)
    known = manifests.known()
    with pytest.raises(
        errors or (RevisionError, UnavailableError, ParameterError, LockedError), match=match or None
    ) as error:
        upgrade(source, url)
    assert all(
        (error.value.expected, error.value.found, error.value.unchanged, error.value.command or error.value.note)
    )
    assert everything(url) == before
    assert manifests.known() == known
    with pytest.raises(type(error.value)):
        upgrade(source, url, dry_run=True)
    return error.value


BROKEN: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "a folder": raw.folder_instead,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "a text": lambda path: path.write_text("id,email\n1,ann@example.test\n" * 100),
    "its first page alone": lambda path: path.write_bytes(path.read_bytes()[:4096]),
    "torn in the middle": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "overwritten in the middle": lambda path: path.write_bytes(
        path.read_bytes()[:4096] + b"\xa5" * (path.stat().st_size - 8192) + path.read_bytes()[-4096:]
    ),
}


@pytest.mark.parametrize("state", BROKEN)
def test_what_is_no_database_is_refused(old_file: Path, target: str, state: str) -> None:
    BROKEN[state](old_file)
    before = {} if old_file.is_dir() else folder(old_file)
    refuses(old_file, target)
    assert not raw.path(target).exists()
    assert old_file.is_dir() or folder(old_file) == before


def test_a_source_whose_index_lacks_rows_is_refused_or_read_whole(old_file: Path, target: str) -> None:
    url = f"sqlite:///{old_file}"
    with closing(sqlite3.connect(old_file, isolation_level=None)) as session:
        session.execute("PRAGMA writable_schema = ON")
        sql = 'CREATE INDEX "Attempt_damaged_idx" ON "Attempt" ("userId") WHERE "id" < 0'
        session.execute(sql)
        session.execute(
            "UPDATE sqlite_master SET sql = ? WHERE name = 'Attempt_damaged_idx'",
            ('CREATE INDEX "Attempt_damaged_idx" ON "Attempt" ("userId")',),
        )
    before = folder(old_file)
    try:
        upgrade(url, target)
    except PharmdbError:
        assert not raw.path(target).exists()
    else:
        assert_as_expected(imported(target), {}, legacy.fates(legacy.clean("sqlite"), 4, "sqlite"), exactly=True)
    assert folder(old_file) == before


FOREIGN: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "another program's table": ("CREATE TABLE invoices (id INTEGER PRIMARY KEY)",),
    "a table of the same name and another shape": (
        'CREATE TABLE "User" ("id" INTEGER PRIMARY KEY, "name" TEXT)',
        'CREATE TABLE "Attempt" ("id" INTEGER PRIMARY KEY, "day" TEXT)',
    ),
    "users alone": ('CREATE TABLE "User" ("id" INTEGER PRIMARY KEY, "email" TEXT, "passwordHash" TEXT)',),
}


@pytest.mark.parametrize("state", FOREIGN)
def test_a_database_that_is_not_prismas_is_refused(databases: Databases, dialect: str, target: str, state: str) -> None:
    source = databases.empty(dialect)
    run(source, *FOREIGN[state])
    if dialect == "sqlite":
        run(source, "PRAGMA user_version = 1")
    before = source_state(source)
    error = refuses(source, target)
    assert source_state(source) == before
    if state == "another program's table":
        assert "invoices" in str(error)


def test_our_own_schema_is_no_source(seeded: str, target: str) -> None:
    refuses(seeded, target, RevisionError, ParameterError)


@pytest.mark.parametrize("column", ["score", "answers", "createdAt"])
def test_a_known_table_without_a_known_column_is_refused(
    make: Callable[..., str], dialect: str, target: str, column: str
) -> None:
    source = make(dialect, 3, legacy.clean(dialect))
    run(source, f'ALTER TABLE "Attempt" RENAME COLUMN "{column}" TO "other"')
    refuses(source, target, RevisionError, match=column)


def test_a_database_that_lacks_a_table_is_refused(make: Callable[..., str], dialect: str, target: str) -> None:
    source = make(dialect, 4, legacy.clean(dialect))
    run(source, 'DROP TABLE "Bookmark"')
    refuses(source, target, RevisionError, match="Bookmark")


def test_the_target_itself_is_no_source(old: str, dialect: str, tmp_path: Path) -> None:
    before = source_state(old)
    names = [old]
    if dialect == "sqlite":
        path = raw.path(old)
        linked, hard = tmp_path / "linked.db", tmp_path / "hard.db"
        linked.symlink_to(path)
        os.link(path, hard)
        names += [str(path), str(linked), str(hard), f"{path.parent}/../{path.parent.name}/{path.name}"]
    for name in names:
        for confirm in ("", pharmdb.target(old).name):
            with pytest.raises((ParameterError, ProtectedError)):
                upgrade(name, old, confirm=confirm)
    assert source_state(old) == before


@pytest.mark.parametrize(
    "source",
    ["mysql://user@host/db", "postgresql://user@/db?host=/nonexistent/socket", "sqlite://", "sqlite:///:memory:", "\0"],
)
def test_a_source_that_cannot_be_is_refused(source: str, target: str) -> None:
    refuses(source, target, ParameterError, UnavailableError)
    assert not raw.path(target).exists()


def test_a_server_without_that_database_is_said_so(databases: Databases, target: str) -> None:
    source = databases.empty("postgresql").replace("test_", "nosuch_")
    refuses(source, target, UnavailableError, match="nosuch_")


# -- the target ----------------------------------------------------------------------------------------


def assert_clean_import(url: str) -> None:
    expected = legacy.fates(legacy.clean("sqlite"), 4, "sqlite" if url.startswith("sqlite") else "postgresql")
    assert_as_expected(imported(url), {}, expected, exactly=url.startswith("sqlite"))


@pytest.mark.parametrize("state", ["empty file", "migrated", "an older revision", "freshly reset", "reset with work"])
def test_a_target_without_learners_data_is_filled(
    databases: Databases, dialect: str, old_file: Path, state: str
) -> None:
    url = databases.empty(dialect)
    if state == "empty file":
        run(url, "SELECT 1")
    elif state == "an older revision":
        pharmdb.migrate(url, revision="8f1c2a6d4b10")
    else:
        url = databases.migrated(dialect) if state == "migrated" else databases.seeded(dialect)
    if state == "reset with work":
        with raw.session(url) as session:
            raw.fill(session)
        before = everything(url)
        with pytest.raises(ProtectedError, match="confirm"):
            upgrade(old_file, url)
        assert everything(url) == before
        assert not manifests.known()
        return
    with raw.session(url) as session:
        there = raw.tables(session)
    report = upgrade(old_file, url)
    assert_clean_import(url)
    assert (report.target_backup is not None) == bool(there)
    assert not seed_emails() & {v["email"] for (table, _), v in imported(url).items() if table == "users"}


WORK = {
    "an attempt": raw.insert("attempts", user_id="(SELECT id FROM users WHERE email = 'demo@pharmtrainer.test')"),
    "a user": raw.insert("users"),
    "progress": "UPDATE progress_by_tag SET correct_count = 1",
    "a role": "UPDATE users SET role = 'ADMIN'",
}


@pytest.mark.parametrize("work", WORK)
def test_the_least_of_a_learners_work_protects_a_target(databases: Databases, old_file: Path, work: str) -> None:
    url = databases.seeded("sqlite")
    run(url, WORK[work])
    before = everything(url)
    with pytest.raises(ProtectedError):
        upgrade(old_file, url)
    assert everything(url) == before


def test_with_confirm_a_target_is_replaced_and_can_be_brought_back(
    databases: Databases, dialect: str, old_file: Path
) -> None:
    url = databases.seeded(dialect)
    with raw.session(url) as session:
        raw.fill(session)
    before = imported(url)
    report = upgrade(old_file, url, confirm=pharmdb.target(url).name)
    assert_clean_import(url)
    emails = {v["email"] for (table, _), v in imported(url).items() if table == "users"}
    assert "ann@example.test" not in emails
    assert report.target_backup is not None
    pharmdb.restore(url, backup=report.target_backup.id)
    assert {key: repr(v) for key, v in imported(url).items()} == {key: repr(v) for key, v in before.items()}


def test_nobody_writes_to_a_target_between_its_backup_and_its_end(
    seeded: str, dialect: str, old_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    take = taking.take

    def take_and_try(connection: Any, of: Any, **options: Any) -> Any:
        taken = take(connection, of, **options)
        if of == pharmdb.target(seeded):
            with raw.session(seeded) as session:
                session.execute("PRAGMA busy_timeout = 50" if dialect == "sqlite" else "SET lock_timeout = '50ms'")
                with pytest.raises((sqlite3.OperationalError, psycopg.errors.LockNotAvailable)):
                    session.execute(raw.insert("users"))
            tried.append(of)
        return taken

    monkeypatch.setattr(taking, "take", take_and_try)
    upgrade(old_file, seeded)
    assert len(tried) == 1


@pytest.mark.parametrize("state", ["absent", "migrated", "seeded", "filled"])
def test_a_wrong_confirm_is_never_ignored(databases: Databases, dialect: str, old_file: Path, state: str) -> None:
    url = {"absent": databases.empty, "migrated": databases.migrated}.get(state, databases.seeded)(dialect)
    if state == "filled":
        with raw.session(url) as session:
            raw.fill(session)
    before = everything(url)
    for confirm in ("yes", pharmdb.target(url).name.upper(), " "):
        with pytest.raises(ProtectedError):
            upgrade(old_file, url, confirm=confirm)
    assert everything(url) == before


@pytest.mark.parametrize("way", ["the environment", "the database"])
def test_production_is_filled_without_default_accounts_and_never_replaced(
    databases: Databases, dialect: str, old_file: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    url = databases.migrated(dialect)
    if way == "the environment":
        monkeypatch.setenv("PHARMDB_ENV", "production")
    else:
        run(url, "UPDATE pharmdb_environment SET name = 'production'")
    before = everything(url)
    with pytest.raises(ProtectedError, match="no default account"):
        upgrade(old_file, url, seed=True)
    assert everything(url) == before
    upgrade(old_file, url)
    assert_clean_import(url)
    emails = {v["email"] for (table, _), v in imported(url).items() if table == "users"}
    assert emails == {f"user{id_}@example.test" for id_ in legacy.USERS}
    before = everything(url)
    run(f"sqlite:///{old_file}", 'DELETE FROM "Bookmark"')
    for confirm in ("", pharmdb.target(url).name):
        with pytest.raises(ProtectedError):
            upgrade(old_file, url, confirm=confirm)
    assert everything(url) == before


def test_a_target_that_somebody_has_locked_is_refused(
    migrated: str, dialect: str, old_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
    if dialect == "sqlite":
        holder: Any = sqlite3.connect(raw.path(migrated), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
    else:
        holder = psycopg.connect(raw.libpq(migrated))
        holder.execute("LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE")
    before = folder(old_file)
    with closing(holder), pytest.raises(LockedError):
        upgrade(old_file, migrated)
    assert imported(migrated) == {}
    assert folder(old_file) == before


def test_of_two_upgrades_at_once_one_does_the_work(empty: str, old_file: Path) -> None:
    def work(_: int) -> Any:
        try:
            return upgrade(old_file, empty).nothing_left
        except (ProtectedError, LockedError) as error:
            return type(error)

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(work, range(2)))
    assert outcomes.count(False) == 1, outcomes
    assert_clean_import(empty)


def test_another_programs_target_is_refused(empty: str, old_file: Path) -> None:
    run(empty, "CREATE TABLE invoices (id INTEGER PRIMARY KEY)", "INSERT INTO invoices VALUES (1)")
    before = everything(empty)
    with pytest.raises(PharmdbError, match="invoices"):
        upgrade(old_file, empty)
    assert everything(empty) == before


def test_a_source_that_has_changed_since_is_refused(old: str, databases: Databases, dialect: str) -> None:
    url = databases.empty(dialect)
    upgrade(old, url)
    assert upgrade(old, url).nothing_left
    run(old, 'UPDATE "Bookmark" SET "entityId" = \'another\' WHERE "id" = 1')
    before = everything(url)
    with pytest.raises(ProtectedError):
        upgrade(old, url)
    assert everything(url) == before


def test_work_done_after_an_upgrade_is_never_overwritten(old: str, target: str) -> None:
    upgrade(old, target)
    run(target, "UPDATE progress_by_tag SET correct_count = correct_count + 1 WHERE user_id = 1")
    before = everything(target)
    with contextlib.suppress(ProtectedError):
        assert upgrade(old, target).nothing_left
    assert everything(target) == before


def test_the_demo_account_keeps_its_role_its_id_and_its_progress(make: Callable[..., str], empty: str) -> None:
    rows = [
        *legacy.clean("sqlite"),
        row(
            "users", 77, email="Demo@PharmTrainer.test", role="ADMIN", password_hash=legacy.bcrypt_hash("Password123!")
        ),
        row("user_settings", 777, user_id=77, language="cs"),
        row(
            "progress_by_tag",
            707,
            user_id=77,
            course_block="cardiology",
            tag="arrhythmias",
            correct_count=9,
        ),
    ]
    report = upgrade(make("sqlite", 4, rows), empty, seed=True)
    found = imported(empty)
    assert found["users", 77]["email"] == "demo@pharmtrainer.test"
    assert found["users", 77]["role"] == "ADMIN"
    assert passwords.verify_password("Password123!", found["users", 77]["password_hash"])
    assert found["user_settings", 777]["language"] == "cs"
    assert found["progress_by_tag", 707]["correct_count"] == 9
    table = report.tables
    assert table["source_checksum"].tolist() == table["target_checksum"].tolist()
    assert upgrade(report_source(rows, make), empty, confirm=pharmdb.target(empty).name).outcome["ok"].item()


def report_source(rows: list[legacy.Row], make: Callable[..., str]) -> str:
    """The same content in another file, with one row less."""
    return make("sqlite", 4, rows[:-1])


def test_every_other_verb_works_on_an_upgraded_database(databases: Databases, dialect: str, old_file: Path) -> None:
    url = databases.empty(dialect)
    upgrade(old_file, url, seed=True)
    before = imported(url)
    assert set(pharmdb.seed(url).tables["created"]) == {0}
    report = pharmdb.migrate(url)
    assert (report.steps, report.differences) == ((), ())
    assert pharmdb.inspect(url) is not None
    taken = backed_up(url)
    pharmdb.reset(url)
    assert ("bookmarks", 1) not in imported(url)
    pharmdb.restore(url, backup=taken.id)
    assert imported(url).keys() == before.keys()
    # What was upgraded is known again once it is brought back.
    assert upgrade(old_file, url).nothing_left


def test_after_a_reset_the_same_source_is_upgraded_again(target: str, old_file: Path) -> None:
    upgrade(old_file, target)
    pharmdb.reset(target, backup=False)
    assert not upgrade(old_file, target).nothing_left
    assert_clean_import(target)


def test_rows_that_an_earlier_revision_rejected_are_not_dropped(
    databases: Databases, dialect: str, old_file: Path
) -> None:
    url = databases.empty(dialect)
    pharmdb.migrate(url, revision="8f1c2a6d4b10")
    with raw.session(url) as session:
        session.execute(raw.insert("users", email="'nobody'"))
    pharmdb.migrate(url)
    ((_, _, _, kept),) = rejects(url)
    assert kept["email"] == "nobody"
    try:
        upgrade(old_file, url)
    except ProtectedError:
        pass
    else:
        assert kept in [row_ for *_, row_ in rejects(url)]


@pytest.mark.parametrize("state", ["a text", "a folder", "no folder for it"])
def test_a_target_that_is_no_database_is_refused_and_stays(old_file: Path, tmp_path: Path, state: str) -> None:
    path = tmp_path / ("nowhere/new.db" if state == "no folder for it" else "new.db")
    if state == "a text":
        path.write_text("a diary\n" * 1000)
    elif state == "a folder":
        path.mkdir()
    before = folder(old_file)
    for dry_run in (True, False):
        with pytest.raises(UnavailableError):
            upgrade(old_file, f"sqlite:///{path}", dry_run=dry_run)
    assert state != "a text" or path.read_text() == "a diary\n" * 1000
    assert path.exists() == (state != "no folder for it")
    assert folder(old_file) == before


SWALLOWED = {
    "sqlite": ("CREATE TRIGGER swallow BEFORE INSERT ON attempts WHEN NEW.id % 7 = 2 BEGIN SELECT RAISE(IGNORE); END",),
    "postgresql": (
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER swallow BEFORE INSERT ON attempts "
        "FOR EACH ROW WHEN (NEW.id % 7 = 2) EXECUTE FUNCTION swallow()",
    ),
}
CHANGED = {
    "sqlite": (
        "CREATE TRIGGER change AFTER INSERT ON attempts BEGIN UPDATE attempts SET score = 1 WHERE id = NEW.id; END",
    ),
    "postgresql": (
        "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.score := 1; RETURN NEW; END'",
        "CREATE TRIGGER change BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION change()",
    ),
}


@pytest.mark.parametrize("triggers", [SWALLOWED, CHANGED], ids=["swallows rows", "changes values"])
def test_a_target_that_does_not_keep_what_it_is_given_is_noticed(
    migrated: str, dialect: str, old_file: Path, triggers: dict[str, tuple[str, ...]]
) -> None:
    run(migrated, *triggers[dialect])
    before = everything(migrated)
    try:
        upgrade(old_file, migrated)
    except PharmdbError:
        assert everything(migrated) == before
    else:
        # Right only where the trigger had to go before the rows came.
        assert_clean_import(migrated)


# -- properties ----------------------------------------------------------------------------------------

FEW = examples(
    deadline=None,
    # Each example is a whole upgrade: to shrink a failing one takes minutes.
    phases=[Phase.explicit, Phase.generate],
    max_examples=int(os.environ.get("PHARMDB_EXAMPLES") or 6),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
TEXTS = st.text(
    st.one_of(
        st.sampled_from('0123456789.eE+-"\\{}[]:, \n'),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=12,
)
NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True).filter(
        lambda text: text.isascii()
    ),
)


@st.composite
def json_texts(draw: st.DrawFn, depth: int = 3) -> str:
    """A JSON document as somebody may have written it: numbers in any form, white space anywhere, keys twice."""
    kind = draw(st.integers(0, 5 if depth else 3))
    space = draw(st.sampled_from(["", "", " ", "\n\t"]))
    if kind == 0:
        return draw(NUMBERS)
    if kind == 1:
        return draw(st.sampled_from(["null", "true", "false", "[]", "{}"]))
    if kind in (2, 3):
        return json.dumps(draw(TEXTS), ensure_ascii=draw(st.booleans()))
    inner = json_texts(depth - 1)
    if kind == 4:
        return f"[{space}" + f",{space}".join(draw(st.lists(inner, max_size=4))) + f"{space}]"
    pairs = draw(st.lists(st.tuples(TEXTS.map(json.dumps), inner), max_size=4))
    return "{" + ",".join(f"{space}{key}{space}:{value}" for key, value in pairs) + "}"


@st.composite
def documents(draw: st.DrawFn) -> Cell:
    text = draw(json_texts())
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        text = json.dumps(text, ensure_ascii=draw(st.booleans()))
    if text[0] in "-0123456789":
        # The column turns a bare number into SQLite's own, before anybody reads it.
        text = f"[{text}]"
    return legacy.document(text, legacy.decoded(text))


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# From the year 2 to the end of 9999 less two days: any zone's time of it can be written.
MOMENTS = st.integers(-62_103_974_400_000_000, 253_402_128_000_000_000).map(lambda n: EPOCH + timedelta(microseconds=n))


@st.composite
def times(draw: st.DrawFn) -> Cell:
    """Any moment in any of the forms that are read, with the digits that the form has."""
    value, form = draw(MOMENTS), draw(st.sampled_from(["ms", "float", "Z", "offset", "plain"]))
    since = value - EPOCH
    if abs(since) < timedelta(days=116):
        # Such a number is rejected, as it could be one of seconds.
        form = "plain"
    if form == "ms":
        ms = since // timedelta(milliseconds=1)
        return Cell(ms, EPOCH + timedelta(milliseconds=ms))
    if form == "float":
        float_ms = since / timedelta(milliseconds=1) + draw(st.floats(-1, 1))
        # Exactly what the float says, to the nearest microsecond.
        return Cell(float_ms, EPOCH + timedelta(microseconds=round(Fraction(float_ms) * 1000)))
    digits = draw(st.sampled_from(["seconds", "milliseconds", "microseconds"]))
    unit = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}[digits]
    value = value.replace(microsecond=value.microsecond // unit * unit)
    if form == "offset":
        return Cell(value.astimezone(draw(ZONES)).isoformat(timespec=digits), value)
    naive = value.replace(tzinfo=None)
    if form == "Z":
        return Cell(naive.isoformat(timespec=digits) + "Z", value)
    return Cell(naive.isoformat(sep=" ", timespec=digits), value)


@FEW
@given(
    answers=st.lists(documents(), min_size=1, max_size=150),
    moments=st.lists(times(), min_size=1, max_size=150),
    to=st.sampled_from(DIALECTS),
    decode=st.booleans(),
)
def test_times_and_documents_are_what_they_were(
    make: Callable[..., str], databases: Databases, answers: list[Cell], moments: list[Cell], to: str, decode: bool
) -> None:
    rows = [row("users", 1, email="one@example.test")]
    rows += [row("attempts", n, answers=cell, feedback=cell) for n, cell in enumerate(answers, 1)]
    rows += [row("bookmarks", n, created_at=cell) for n, cell in enumerate(moments, 1)]
    source, url = make("sqlite", 4, rows), databases.migrated(to)
    report = upgrade(source, url, decode_json=decode)
    assert report.rejects.empty
    assert_as_expected(imported(url), {}, legacy.fates(rows, 4, to, decode=decode), exactly=to == "sqlite")


LETTERS = st.sampled_from(["a", "A", "b", "ü"])
MIXED: dict[str, st.SearchStrategy[Any]] = {
    "time": st.one_of(times(), st.sampled_from([legacy.bad(v, "time") for v in legacy.UNREADABLE_TIMES])),
    "owner": st.integers(1, 12),
    "email": st.builds(
        lambda space, letter, host: Cell(
            f"{space}{letter}{host}",
            f"{letter}{host}".lower(),
            bad="email" if letter == "ü" or "@" not in host else "",
        ),
        st.sampled_from(["", "", " ", "\t"]),
        LETTERS,
        st.sampled_from(["@x.test", "@X.test", "", "@y.test"]),
    ),
    "role": st.sampled_from([*map(legacy.same, ("USER", "ADMIN")), legacy.bad("user", "role")]),
    "language": st.sampled_from([*map(legacy.same, ("en", "cs")), legacy.bad("c", "language")]),
    "entity_type": st.sampled_from([*map(legacy.same, ("case", "calc")), legacy.bad("drug", "entity_type")]),
    "answers": st.one_of(documents(), st.sampled_from([legacy.bad("{", "answers"), legacy.bad(b"{}", "answers")])),
    "score": st.one_of(
        st.floats(0, 100).map(lambda x: legacy.same(x + 0.0)),
        st.sampled_from([legacy.bad(-1.0, "score"), legacy.bad("x", "score"), legacy.bad(101.0, "score")]),
    ),
    "count": st.one_of(st.integers(0, 9), st.sampled_from([legacy.bad(-1, "count"), legacy.bad("x", "count")])),
    "name": st.sampled_from(["a", "a (2)", "b"]),
    "json_text": st.one_of(json_texts(), st.sampled_from(["{", "", "\ufeff[]"])),
    "boolean": st.booleans(),
}


@st.composite
def sources(draw: st.DrawFn) -> list[legacy.Row]:
    """Any mix of good and bad rows; as in the files themselves, what is unique there is unique here."""
    rows: list[legacy.Row] = []

    def some(table: str, most: int, **columns: str) -> None:
        for id_ in draw(st.lists(st.integers(1, 15), unique=True, max_size=most)):
            cells = {name: draw(MIXED[kind]) for name, kind in columns.items()}
            for name, cell in cells.items():
                if isinstance(cell, Cell) and cell.bad == "time":
                    cells[name] = legacy.bad(cell.raw, name)
            rows.append(row(table, id_, **cells))

    some("users", 12, email="email", role="role", created_at="time")
    some("user_settings", 12, user_id="owner", language="language", updated_at="time")
    some("bookmarks", 15, user_id="owner", created_at="time")
    some("attempts", 15, user_id="owner", entity_type="entity_type", answers="answers", score="score")
    some("progress_by_tag", 15, user_id="owner", correct_count="count", wrong_count="count", last_attempt_at="time")
    some("spaced_repetition_items", 10, user_id="owner", next_review_at="time", last_reviewed_at="time")
    some("dataset_overrides", 10, created_by_id="owner", name="name", json_text="json_text", is_active="boolean")
    seen: set[Any] = set()
    kept = []
    for each in rows:
        unique = legacy._UNIQUE.get(each.table)
        if unique and unique != ("email",) and len(unique) > 1:
            each.cells[unique[-1]] = legacy.same(f"{unique[-1]} {each.id % 3}")
        key = (each.table, tuple(each.cells[name].raw for name in unique)) if unique else each.key
        if key not in seen:
            kept.append(each)
        seen.add(key)
    return kept


@FEW
@given(rows=sources(), stage=st.sampled_from(STAGES), migrations=st.booleans())
def test_any_mix_of_rows_is_accounted_for(
    make: Callable[..., str], databases: Databases, rows: list[legacy.Row], stage: int, migrations: bool
) -> None:
    rows = legacy.at_stage(rows, stage)
    source, url = make("sqlite", stage, rows, migrations=migrations), databases.migrated("sqlite")
    before, empty = source_state(source), everything(url)
    dry = upgrade(source, url, dry_run=True)
    assert everything(url) == empty
    report = upgrade(source, url)
    assert source_state(source) == before
    table = report.tables
    assert (table["source"] == table["imported"] + table["rejected"]).all()
    assert table["source"].tolist() == [sum(each.table == name for each in rows) for name in TABLES]
    assert table["source_checksum"].tolist() == table["target_checksum"].tolist()
    rejected = {(t, i): why for t, i, why, _ in rejects(url)}
    assert len(rejects(url)) == len(rejected) == table["rejected"].sum()
    assert_as_expected(imported(url), rejected, legacy.fates(rows, stage, "sqlite"), exactly=True)
    account = ["table", "source", "imported", "rejected", "source_checksum"]
    assert dry.tables[account].equals(table[account])
    assert dry.rejects.equals(report.rejects)
    assert dry.changes.equals(report.changes)
    filled = everything(url)
    assert upgrade(source, url).nothing_left
    assert everything(url) == filled


# -- what a review found ----------------------------------------------------------------------------


def _next_id(url: str, table: str) -> int:
    with raw.session(url) as session:
        changes = {"user_id": "(SELECT min(id) FROM users)"}
        (found,) = session.execute(raw.insert(table, **changes) + " RETURNING id").fetchone()
        session.execute(f"DELETE FROM {table} WHERE id = {found}")
    return int(found)


def test_an_upgrade_that_fails_at_its_end_leaves_the_sequences_alone(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.seeded("postgresql")
    with raw.session(url) as session:
        session.execute("SELECT setval(pg_get_serial_sequence('bookmarks', 'id'), 500)")
    source = legacy.sample(tmp_path)

    def fail(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(upgrading, "fingerprint", fail)
        with pytest.raises(KeyboardInterrupt):
            pharmdb.upgrade(str(source), url, confirm=targets.target(url).name)
    assert _next_id(url, "bookmarks") == 501


@pytest.mark.parametrize("stored", [b"$2a$10$secretsecretsecret", "$2a$10$secret\0secret"])
def test_no_hash_is_shown_with_a_rejected_account(databases: Databases, tmp_path: Path, stored: Any) -> None:
    rows = [legacy.row("users", 1, email="one@example.test", password_hash=stored)]
    source = legacy.make(f"sqlite:///{tmp_path}/old.db", 2, rows)
    report = pharmdb.upgrade(source, databases.empty("postgresql"))
    shown = report.rejects.to_string() + report.reasons.to_string()
    assert "password_hash is" in shown
    assert "secret" not in shown
    assert "736563726574" not in shown, "nor as hex"


def test_what_was_deleted_since_is_imported_again(databases: Databases, dialect: str, tmp_path: Path) -> None:
    source, url = str(legacy.sample(tmp_path)), databases.empty(dialect)
    pharmdb.upgrade(source, url)
    with raw.session(url) as session:
        session.execute("DELETE FROM attempts")
    with pytest.raises(ProtectedError):
        pharmdb.upgrade(source, url)
    again = pharmdb.upgrade(source, url, confirm=targets.target(url).name)
    assert not again.nothing_left
    with raw.session(url) as session:
        assert session.execute("SELECT count(*) FROM attempts").fetchone() == (6,)
        for model in reversed(raw.TABLES):
            session.execute(f"DELETE FROM {model}")
        session.execute("DELETE FROM upgrade_rejects")
    assert not pharmdb.upgrade(source, url).nothing_left, "an empty target is filled"
    assert pharmdb.upgrade(source, url).nothing_left


def test_the_backup_of_a_source_read_from_a_copy_is_the_sources_own(databases: Databases, tmp_path: Path) -> None:
    source = legacy.sample(tmp_path)
    Path(f"{source}-wal").touch()
    report = pharmdb.upgrade(str(source), databases.empty("sqlite"))
    assert report.source_backup is not None
    assert report.source_backup.database == "old.db"
    assert [b.name for b in manifests.of(source_target(str(source)))] == [report.source_backup.name]


def test_a_source_without_its_primary_key_is_refused(databases: Databases, tmp_path: Path) -> None:
    source = legacy.sample(tmp_path)
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(
            'CREATE TABLE other AS SELECT * FROM "Bookmark"; DROP TABLE "Bookmark";'
            'ALTER TABLE other RENAME TO "Bookmark"'
        )
    with pytest.raises(RevisionError, match="primary key"):
        pharmdb.upgrade(str(source), databases.empty("sqlite"))


def test_a_damaged_source_is_never_advised_to_be_restored_over(databases: Databases, tmp_path: Path) -> None:
    source = legacy.sample(tmp_path)
    with closing(sqlite3.connect(source)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'User_email_key'").fetchone()
    content = bytearray(source.read_bytes())
    # The index has lost its entries: the table's rows are all there, and the file is not sound.
    content[(page - 1) * 4096 + 3 : (page - 1) * 4096 + 5] = b"\0\0"
    source.write_bytes(content)
    for dry_run in (True, False):
        with pytest.raises(PharmdbError) as error:
            pharmdb.upgrade(str(source), databases.empty("sqlite"), dry_run=dry_run)
        assert ".dump" in error.value.command
        assert "restore" not in error.value.command + error.value.note


def test_the_preferences_of_the_sources_server_change_nothing(databases: Databases) -> None:
    source = legacy.make(databases.empty("postgresql"), 4, legacy.clean("postgresql"))
    with raw.session(source) as session:
        name = targets.target(source).name
        session.execute(f"ALTER DATABASE \"{name}\" SET datestyle = 'SQL, DMY'")
    report = pharmdb.upgrade(source, databases.empty("sqlite"))
    assert report.tables["rejected"].sum() == 0
