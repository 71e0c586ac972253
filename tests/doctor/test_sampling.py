"""A large database: the doctor looks at a part, says at which, costs the same at every size, and can look at it all.

What counts as large is set so small here that a cohort of a few learners does.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from support import raw
from support.effort import LARGE_TABLES, SCAN, double, executed, plans, work
from support.findings import found
from support.raw import run

import pharmdb
from pharmdb import settings
from pharmdb.backups import manifests
from pharmdb.database import servers
from pharmdb.doctor import sampling
from pharmdb.doctor.results import FAIL, OK, Finding

WORDS = "only the newest 10 rows, the oldest 5 and up to 12 between them were checked"
THOROUGH = "pharmdb doctor --thorough"


@pytest.fixture
def large(seeded: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that counts as large, and so do three of its tables; PHARMDB_URL names it."""
    monkeypatch.setenv("PHARMDB_URL", seeded)
    pharmdb.cohort(seeded, learners=20, days=90)
    monkeypatch.setattr(servers, "LARGE", 0)
    for name, value in {"WHOLE": 100, "NEWEST": 10, "OLDEST": 5, "PLACES": 4, "EACH": 3}.items():
        monkeypatch.setattr(sampling, name, value)
    return seeded


def wrong(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.state != OK} - {"newest backup"}


def ask(url: str, sql: str) -> Any:
    with raw.session(url) as session:
        return session.execute(sql).fetchone()[0]


def looked_at(url: str, table: str = "attempts") -> list[int]:
    """The ids of the rows that are looked at, in order."""
    with pharmdb.reading(pharmdb.target(url)) as connection:
        rows = sampling.all_or_some(connection, table)
        return sorted(connection.exec_driver_sql(f"SELECT id {rows.source}").scalars())


# -- which rows ---------------------------------------------------------------------------------------


def test_the_size_is_what_the_database_takes(seeded: str) -> None:
    with pharmdb.reading(pharmdb.target(seeded)) as connection:
        size = servers.size(connection)
    if seeded.startswith("sqlite"):
        assert size == raw.path(seeded).stat().st_size
    else:
        assert size == ask(
            seeded,
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )


def test_the_oldest_the_newest_and_some_between_are_looked_at(large: str) -> None:
    ids, last = looked_at(large), ask(large, "SELECT max(id) FROM attempts")
    assert ids[:5] == [1, 2, 3, 4, 5]
    assert ids[-10:] == list(range(last - 9, last + 1))
    between = ids[5:-10]
    assert len(between) == 12
    starts = between[::3]
    assert between == [start + n for start in starts for n in range(3)]
    steps = {later - start for start, later in pairwise(starts)}
    assert steps == {(last - 9 - 5) // 4}
    assert starts[0] == 6 + steps.pop() // 2


def test_a_small_table_is_looked_at_whole(large: str) -> None:
    assert looked_at(large, "users") == list(range(1, ask(large, "SELECT count(*) FROM users") + 1))


def test_where_ids_are_missing_as_many_rows_are_looked_at(large: str) -> None:
    last = ask(large, "SELECT max(id) FROM attempts")
    run(large, f"UPDATE attempts SET id = id + 1000000 WHERE id > {last - 100}")
    run(large, "DELETE FROM attempts WHERE id % 2 = 0")
    ids = looked_at(large)
    assert len(ids) == len(set(ids))
    assert 5 + 10 + 3 <= len(ids) <= 5 + 10 + 12
    assert ids == [id_ for id_ in ids if id_ % 2]


def test_no_row_is_looked_at_twice(large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places that are larger than the distance between them."""
    last = ask(large, "SELECT max(id) FROM attempts")
    for each in (last // 3, last):
        monkeypatch.setattr(sampling, "EACH", each)
        ids = looked_at(large)
        assert ids == [1, 2, 3, 4, 5, *range(ids[5], last + 1)]
        assert ids[5] < last / 4


# -- what is said -------------------------------------------------------------------------------------


def test_a_healthy_large_database_is_well_and_what_was_not_looked_at_is_said(large: str) -> None:
    report = pharmdb.check()
    findings = {finding.check: finding for finding in report.findings}
    assert wrong(findings) == set()
    if large.startswith("sqlite"):
        words = f"of {', '.join(LARGE_TABLES)} {WORDS}"
        assert findings["integrity"] == Finding("integrity", OK, f"nothing wrong found; {words}", THOROUGH)
        assert findings["constraints"] == Finding("constraints", OK, f"no row violates one; {words}", THOROUGH)
    else:
        # The server vouches for its constraints, so no row needs a look.
        assert findings["constraints"] == Finding("constraints", OK, "no row violates one")
    assert findings["orphans"] == Finding("orphans", OK, "none, according to the indexes on the keys")
    assert report.outcome["next"].item() == "pharmdb backup", "a look at a part is no warning"


def test_a_thorough_look_at_a_large_database_says_what_it_says_of_a_small_one(
    large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    thorough = found(thorough=True)
    monkeypatch.setattr(servers, "LARGE", 2**40)
    assert found() == thorough
    assert {finding.remedy for finding in thorough.values()} == {"", "pharmdb backup"}


def test_the_whole_look_is_named_with_the_database(large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PHARMDB_URL")
    remedies = [finding.remedy for finding in pharmdb.check(large).findings if "--thorough" in finding.remedy]
    option = f"--database-url {shlex.quote(str(pharmdb.target(large)))}"
    assert remedies == [f"pharmdb doctor --thorough {option}"] * (3 if large.startswith("sqlite") else 1)


# -- what is found ------------------------------------------------------------------------------------


def break_score(url: str, id_: int) -> None:
    """A row with an impossible score, on PostgreSQL under a check that nobody has validated."""
    worse = f"UPDATE attempts SET score = 101 WHERE id = {id_}"
    if url.startswith("sqlite"):
        run(url, f"PRAGMA ignore_check_constraints = ON; {worse}")
    else:
        check = "CHECK (score >= 0 AND score <= 100) NOT VALID"
        run(url, f"ALTER TABLE attempts DROP CONSTRAINT ck_attempts_score; {worse}")
        run(url, f"ALTER TABLE attempts ADD CONSTRAINT ck_attempts_score {check}")


@pytest.mark.parametrize("which", [0, 4, 7, -10, -1])
def test_a_row_that_breaks_a_check_is_found_among_those_looked_at(large: str, which: int) -> None:
    id_ = looked_at(large)[which]
    break_score(large, id_)
    told = found()["constraints"]
    assert told.state == FAIL
    assert told.found == f"ck_attempts_score: 1 rows of attempts, such as id {id_}; of {TOLD[large[:6]]} {WORDS}"


# On PostgreSQL only the table with the check that was not validated is looked at.
TOLD = {"sqlite": ", ".join(LARGE_TABLES), "postgr": "attempts"}


def test_a_row_that_was_not_looked_at_is_found_by_the_thorough_look(large: str) -> None:
    id_ = looked_at(large)[7] + 1
    assert id_ not in looked_at(large)
    break_score(large, id_)
    told = found()["constraints"]
    assert f"such as id {id_}" not in told.found
    assert (told.state, told.remedy) == ((OK, THOROUGH) if large.startswith("sqlite") else (FAIL, told.remedy))
    assert found(thorough=True)["constraints"].found == f"ck_attempts_score: 1 rows of attempts, such as id {id_}"


def orphan(url: str, users: str) -> None:
    """Deletes users, and leaves what they own."""
    off = "PRAGMA foreign_keys = OFF" if url.startswith("sqlite") else "SET session_replication_role = replica"
    run(url, f"{off}; DELETE FROM users WHERE id IN ({users})")


@pytest.mark.parametrize("users", ["1", "10", "9, 10, 11", "22", "5, 7, 22", "SELECT id FROM users"])
def test_every_row_without_its_user_is_found_wherever_it_is(large: str, users: str) -> None:
    orphan(large, users)
    count = sum(
        ask(large, f"SELECT count(*) FROM {table} WHERE {owner} NOT IN (SELECT id FROM users)")
        for table, owner in raw.OWNERS.items()
    )
    told, whole = found()["orphans"], found(thorough=True)["orphans"]
    assert count > 3
    assert (told.state, whole.state) == (FAIL, FAIL)
    for finding in (told, whole):
        number, rows = re.fullmatch(r"(\d+) rows without their user: (.+)", finding.found).groups()  # type: ignore[union-attr]
        assert int(number) == count
        assert len(rows.split(", ")) == 3
    if not large.startswith("sqlite"):
        # SQLite goes through its tables in another order.
        assert told == whole


def test_without_an_index_a_table_is_left_out_and_that_is_said(large: str) -> None:
    run(large, "DROP INDEX ix_bookmarks_user_id")
    off = "PRAGMA foreign_keys = OFF" if large.startswith("sqlite") else "SET session_replication_role = replica"
    run(large, f"{off}; INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (9999, 'drug', 'x')")
    told = found()["orphans"]
    assert told == Finding(
        "orphans", OK, "none, according to the indexes on the keys; not checked: bookmarks", THOROUGH
    )
    assert "1 rows without their user: bookmarks " in found(thorough=True)["orphans"].found


def hide(url: str, index: str, insert: str) -> None:
    """Inserts rows that an index doesn't learn of."""
    schema = "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = "
    run(
        url,
        f"{schema} sql || ' WHERE 0' WHERE name = '{index}'-- again\n{insert}-- again\n"
        f"{schema} replace(sql, ' WHERE 0', '') WHERE name = '{index}'",
    )


ATTEMPT = (
    "INSERT INTO attempts (user_id, entity_type, entity_id, answers, score) "
    "SELECT user_id, entity_type, entity_id, answers, score FROM attempts LIMIT "
)
INDEX = "ix_attempts_user_id_entity_type_entity_id"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_row_that_an_index_lacks_is_found_among_those_looked_at(large: str) -> None:
    hide(large, INDEX, f"{ATTEMPT} 1")
    last = ask(large, "SELECT max(id) FROM attempts")
    assert found()["integrity"].found == f"row {last} missing from index {INDEX}"
    run(large, f"{ATTEMPT} 500")
    assert last not in looked_at(large)
    assert found()["integrity"].remedy == THOROUGH
    told = found(thorough=True)["integrity"]
    assert told.state == FAIL
    assert f"missing from index {INDEX}" in told.found


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_row_that_the_index_of_a_small_table_lacks_is_found(large: str) -> None:
    hide(large, "ix_bookmarks_user_id", raw.insert("bookmarks", user_id="1"))
    assert "missing from index ix_bookmarks_user_id" in found()["integrity"].found


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_a_damaged_page_is_found_where_it_is_looked_at(large: str, order: str) -> None:
    path = raw.path(large)
    ask(large, "PRAGMA wal_checkpoint(TRUNCATE)")
    page = ask(
        large, f"SELECT pageno FROM dbstat WHERE name = 'attempts' AND pagetype = 'leaf' ORDER BY path {order} LIMIT 1"
    )
    size = ask(large, "PRAGMA page_size")
    data = bytearray(path.read_bytes())
    data[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(data)
    findings = found()
    assert wrong(findings) >= {"integrity"}
    assert "malformed" in findings["integrity"].found
    assert findings["revision"].state == OK


def test_another_programs_large_table_is_named_as_not_looked_at(large: str) -> None:
    rows = "SELECT id FROM attempts"
    run(large, f'CREATE TABLE "odd ""name" AS {rows}')
    told = found()["integrity"]
    assert told.state == OK
    assert told.found.endswith('; not checked: odd "name') == large.startswith("sqlite")


def test_the_notebook_hands_on_what_it_is_asked(large: str) -> None:
    notebook = json.loads((settings.notebooks() / "doctor.ipynb").read_text("utf-8"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    break_score(large, looked_at(large)[7] + 1)
    names: dict[str, Any] = {"pharmdb": pharmdb}
    exec(code[0], names)
    assert names["thorough"] is False
    (verb,) = [source for source in code if source.startswith("report = ")]
    names["thorough"] = True
    exec(verb, names)
    assert "as id" in names["report"].checks.set_index("check")["found"]["constraints"]


# -- the newest backup --------------------------------------------------------------------------------


def test_of_a_large_backup_size_and_beginning_are_looked_at(large: str) -> None:
    pharmdb.backup()
    words = "size and first bytes as expected, less than 7 days old; not read completely"
    assert found()["newest backup"] == Finding("newest backup", OK, words, THOROUGH)
    assert found(thorough=True)["newest backup"].found == "readable, less than 7 days old"


# (what is done to the file, what is said of it at a glance)
DAMAGE: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda data: data[:-1], " bytes instead of "),
    (lambda data: b"", "a file of 0 bytes instead of "),
    (lambda data: b"x" + data[1:], "a file that does not begin like a backup"),
    (lambda data: data[:-1] + bytes([data[-1] ^ 1]), ""),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGE)
def test_a_damaged_backup_is_told(large: str, damage: Callable[[bytes], bytes], told: str) -> None:
    pharmdb.backup()
    (newest,) = manifests.known()
    newest.path.chmod(0o600)
    newest.path.write_bytes(damage(newest.path.read_bytes()))
    glance, whole = found()["newest backup"], found(thorough=True)["newest backup"]
    assert glance.state == (FAIL if told else OK)
    assert told in glance.found
    assert "changed since it was taken" in whole.found


@pytest.mark.parametrize("validated", [True, False])
def test_what_the_doctor_reads_does_not_grow_with_the_rows(large: str, validated: bool) -> None:
    if not validated:
        break_score(large, 1)
        run(large, "UPDATE attempts SET score = 1 WHERE id = 1")
    # Enough for every part that is looked at.
    double(large, 1, "a")
    before = work(large, pharmdb.check), work(large, lambda: pharmdb.check(thorough=True))
    double(large, 3, "b")
    after = work(large, pharmdb.check), work(large, lambda: pharmdb.check(thorough=True))
    assert after[0] < before[0] * 1.1
    assert after[1] > before[1] * 4, "what is counted here does grow where every row is read"


SCANNED = (
    # Counting to a limit, and walking a few rows from one end of a table.
    re.compile(r'SELECT count\(\*\) FROM \(SELECT 1 FROM "?\w+"? LIMIT 101\) AS few'),
    re.compile(r"SELECT count\(\*\) AS count_1 FROM \(SELECT (\w+)\.id AS id FROM \1 LIMIT \? OFFSET \?\) AS anon_1"),
    re.compile(r"SELECT id FROM \w+ ORDER BY id( DESC)? LIMIT 1 OFFSET \d"),
)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_no_statement_of_the_doctor_scans_a_large_table(large: str) -> None:
    statements = executed(pharmdb.check)
    assert not [sql for sql, _ in statements if re.match(r"PRAGMA (integrity|quick|foreign_key)_check$", sql)]
    scans = {sql for sql, plan in plans(large, statements) if SCAN.search(plan)}
    assert {sql for sql in scans if not any(form.fullmatch(sql) for form in SCANNED)} == set()
    assert len(scans) > 3


@pytest.mark.parametrize(
    "columns", ["score", "entity_id COLLATE NOCASE", "(score + 1)"], ids=["odd name", "collation", "expression"]
)
def test_an_index_of_somebody_elses_is_no_damage(large: str, columns: str, recwarn: pytest.WarningsRecorder) -> None:
    columns = columns.replace("NOCASE", "NOCASE" if large.startswith("sqlite") else '"C"')
    raw.run(large, f'CREATE INDEX "it\'s mine" ON attempts ({columns})')
    assert found()["integrity"].state == OK
    assert [str(warning) for warning in recwarn if "index" in str(warning.message)] == []
