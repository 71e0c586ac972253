"""The studio, the accounts, large seeds and exports on a distributed database, where there is a Citus cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from support import seeds
from support.citus import LEARNERS, distributed, emptied, mark  # noqa: F401 - a fixture
from support.databases import dsn
from support.raw import ask

import pharmdb
from pharmdb.database import transactions, upserts
from pharmdb.errors import NoPermissionError, PharmdbError, ProtectedError
from pharmdb.models import Base
from pharmdb.seeding import passwords
from pharmdb.studio_app import browsing, cascading, console, editing, exporting, reverting, save_log, sessions
from pharmdb.studio_app.cancelling import Cancel
from pharmdb.studio_app.catalogue import Catalogue, Table, catalogue
from pharmdb.studio_app.changes import Change
from pharmdb.studio_app.filters import Filter, View
from pharmdb.studio_app.statement_log import Session, StatementLog

LEARNER = "learner000001@cohort.invalid"
SHARDED = ("user_settings", "bookmarks", "attempts", "progress_by_tag", "spaced_repetition_items")


@pytest.fixture
def session(distributed: str) -> Iterator[tuple[Session, Catalogue]]:  # noqa: F811
    with sessions.reading(pharmdb.target(distributed), StatementLog()) as session:
        yield session, catalogue(session)


def walked(session: Session, table: Table, view: View) -> list[int]:
    """The ids on all pages, one page after the other."""
    found: list[int] = []
    while True:
        page = browsing.page(session, table, view)
        found += [int(str(row.cells[0])) for row in page.rows]
        if not page.has_next:
            return found
        view = View(view.filters, sort=view.sort, size=view.size, place=tuple(page.last or ()))


@pytest.mark.parametrize("sort", [(), (("score", True),), (("user_id", False), ("created_at", True))])
def test_pages_of_a_table_in_shards_show_each_row_once(
    distributed: str,  # noqa: F811
    session: tuple[Session, Catalogue],
    sort: tuple[tuple[str, bool], ...],
) -> None:
    open_, tables = session
    table = tables["attempts"]
    found = walked(open_, table, View(sort=sort, size=97))
    rows = ask(distributed, "SELECT id FROM attempts ORDER BY id")
    assert sorted(found) == [id_ for (id_,) in rows]
    assert sort or found == sorted(found)
    assert browsing.count(open_, table, View()).rows == len(rows)
    some = View(filters=(Filter("entity_type", "=", "case"),), search="a", size=50)
    assert len(walked(open_, table, some)) == browsing.count(open_, table, some).rows


def test_a_conflict_in_the_studio_is_refused_with_the_value_of_now(distributed: str, tmp_path: Path) -> None:  # noqa: F811
    target = pharmdb.target(distributed)
    with sessions.reading(target, StatementLog()) as open_:
        tables = catalogue(open_)
        (row,) = browsing.page(open_, tables["user_settings"], View(size=1)).rows
    language = list(tables["user_settings"].columns).index("language")
    before = {"language": row.cells[language]}
    key = tuple(row.key)

    def save(number: int, value: str) -> Any:
        change = Change(number, "update", "user_settings", key=key, values={"language": value}, before=before)
        return editing.save(target, tables, [change], StatementLog(), unlocked=False, log=tmp_path / "log")

    assert save(1, "fr").problems == []
    (problem,) = save(2, "de").problems
    assert (problem.kind, problem.theirs) == ("conflict", "fr")


def test_a_user_deleted_in_the_studio_takes_the_counted_rows_along_and_comes_back(
    distributed: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    target, before, log = pharmdb.target(distributed), mark(distributed), tmp_path / "log"
    ((user,),) = ask(distributed, "SELECT max(user_id) FROM attempts")
    with sessions.reading(target, StatementLog()) as open_:
        tables = catalogue(open_)
        users = tables["users"]
        view = View(filters=(Filter("id", "=", str(user)),), size=1)
        (row,) = browsing.page(open_, users, view).rows
        effects = cascading.cascades(open_, tables, users, [row.key])
    counted = {f"{effect.table}.{effect.column}": effect.rows for effect in effects}
    assert sum(counted.values()) > 0
    change = Change(1, "delete", "users", key=tuple(row.key), cascade=counted)
    saved = editing.save(target, tables, [change], StatementLog(), unlocked=False, log=log)
    assert saved.problems == []
    for name in SHARDED:
        assert ask(distributed, f"SELECT count(*) FROM {name} WHERE user_id = {user}") == [(0,)]
    number = save_log.saves(target, log=log)[0]["save"]
    done = reverting.revert(target, tables, number, StatementLog(), log=log)
    assert (done.saved.problems, done.rows) == ([], 1 + sum(counted.values()))
    assert mark(distributed) == before


def test_the_console_reads_writes_and_shows_no_secret(distributed: str, tmp_path: Path) -> None:  # noqa: F811
    target = pharmdb.target(distributed)

    def run(sql: str, *, unlocked: bool = False, plan: bool = False) -> Any:
        options: Any = {"unlocked": unlocked, "plan": plan, "log": tmp_path / "log"}
        return console.run(target, sql, StatementLog(), cancel=Cancel(), **options)

    rows = ask(distributed, "SELECT count(*) FROM attempts")
    assert run("SELECT count(*) FROM attempts").rows == [[str(rows[0][0])]]
    joined = "SELECT u.role, count(*) FROM users u JOIN progress_by_tag p ON p.user_id = u.id GROUP BY 1 ORDER BY 1"
    assert run(joined).rows != []
    assert "Citus" in run("SELECT * FROM attempts WHERE user_id = 3", plan=True).plan
    with pytest.raises(ProtectedError):
        run("SELECT password_hash FROM users")
    assert "$2b$" not in str(run("SELECT * FROM users").rows)
    with pytest.raises(PharmdbError):
        run("UPDATE bookmarks SET entity_id = 'x'")
    changed = run("UPDATE user_settings SET language = 'es' WHERE user_id = 1", unlocked=True)
    assert changed.changed == 1
    assert ask(distributed, "SELECT language FROM user_settings WHERE user_id = 1") == [("es",)]


def test_a_worker_that_does_not_let_the_console_in_is_named(distributed: str) -> None:  # noqa: F811
    def run() -> Any:
        sql = "SELECT count(*) FROM attempts"
        return console.run(pharmdb.target(distributed), sql, StatementLog(), cancel=Cancel())

    def on_workers(statement: str) -> None:
        """On the workers themselves: the coordinator would change the role everywhere."""
        for host, port in ask(distributed, "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid > 0"):
            place = make_url(distributed).set(host=host, port=port).render_as_string(hide_password=False)
            with psycopg.connect(dsn(place), autocommit=True) as worker:
                worker.execute("SET citus.enable_ddl_propagation TO off")
                worker.execute(statement.encode())

    run()
    ((role,),) = ask(
        distributed, "SELECT 'pharmdb_console_' || oid FROM pg_database WHERE datname = current_database()"
    )
    on_workers(f"ALTER ROLE {role} NOLOGIN")
    try:
        with pytest.raises(NoPermissionError, match="pg_hba"):
            run()
    finally:
        on_workers(f"ALTER ROLE {role} LOGIN")
    assert run().rows != []


@pytest.mark.parametrize("format", ["csv", "json", "markdown", "parquet"])
def test_a_view_is_exported_whole(distributed: str, session: tuple[Session, Catalogue], format: str) -> None:  # noqa: F811
    table = session[1]["attempts"]
    options: Any = (list(table.columns), format, StatementLog(), Cancel())
    found = b"".join(exporting.export(pharmdb.target(distributed), table, View(), *options))
    ((rows,),) = ask(distributed, "SELECT count(*) FROM attempts")
    if format == "csv":
        assert len(found.splitlines()) == rows + 1
    assert len(found) > rows


def test_an_account_is_promoted_demoted_and_deleted(distributed: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    name = pharmdb.target(distributed).name
    assert len(pharmdb.manage_account(distributed).accounts) >= LEARNERS

    def act(action: str, confirm: str = "") -> Any:
        return pharmdb.manage_account(distributed, user_email=LEARNER, action=action, confirm=confirm)

    for action, role in (("promote", "ADMIN"), ("demote", "USER")):
        act(action)
        assert ask(distributed, f"SELECT role FROM users WHERE email = '{LEARNER}'") == [(role,)]
    monkeypatch.setenv("PHARMDB_NEW_PASSWORD", "Correct horse 8")
    act("set-password")
    ((stored,),) = ask(distributed, f"SELECT password_hash FROM users WHERE email = '{LEARNER}'")
    assert passwords.verify_password("Correct horse 8", stored)
    before = mark(distributed)
    with pytest.raises(ProtectedError):
        act("delete")
    report = act("delete", name)
    assert report.backup is not None
    assert ask(distributed, f"SELECT count(*) FROM users WHERE email = '{LEARNER}'") == [(0,)]
    pharmdb.restore(distributed, backup=report.backup.id)
    assert mark(distributed) == before


def test_a_large_seed_reports_what_it_wrote(distributed: str, tmp_path: Path) -> None:  # noqa: F811
    """By way of a temporary table; of such an INSERT … SELECT Citus reports the rows that it has read."""
    lines = [seeds.PROGRESS_HEADER, *(f"own@example.org,questions,renal,tag{n},{n % 3},0" for n in range(1500))]
    folder = seeds.folder(tmp_path / "seed", progress_csv="\n".join(lines))

    def counted() -> tuple[int, int, int]:
        return seeds.counts(pharmdb.seed(distributed, seed_dir=folder))["progress_by_tag"]

    assert counted() == (1500, 0, 0)
    ask_deleted = (
        "DELETE FROM progress_by_tag WHERE tag LIKE 'tag%9' AND course_block = 'renal' "
        "AND user_id = (SELECT id FROM users WHERE email = 'own@example.org') RETURNING id"
    )
    gone = len(ask(distributed, ask_deleted))
    assert gone == 150
    created, updated, unchanged = counted()
    assert (created, updated + unchanged) == (150, 1350)
    assert ask(distributed, "SELECT count(*) FROM progress_by_tag WHERE tag LIKE 'tag%'") == [(1500,)]


@pytest.mark.parametrize("table", ["users", "progress_by_tag"])
def test_of_many_rows_those_are_counted_that_were_written(
    distributed: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    table: str,
) -> None:
    """Somebody else inserts a row after the rows were counted and before they are written."""
    ((user,),) = ask(distributed, "SELECT min(id) FROM users")
    columns: tuple[str, ...] = ("email", "password_hash")
    key = ["email"]
    rows: list[tuple[Any, ...]] = [(f"many{n}@example.test", "!") for n in range(1200)]
    if table == "progress_by_tag":
        columns, key = ("user_id", "module", "course_block", "tag"), ["user_id", "module", "course_block", "tag"]
        rows = [(user, "many", "b", f"t{n}") for n in range(1200)]
    made = upserts._on_conflict

    def meanwhile(*args: Any) -> Any:
        values = ", ".join(f"'{value}'" for value in rows[7])
        ask(distributed, f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values}) RETURNING id")
        return made(*args)

    monkeypatch.setattr(upserts, "_on_conflict", meanwhile)
    with transactions.writing(pharmdb.target(distributed)) as connection:
        done = upserts.upsert(connection, Base.metadata.tables[table], columns, rows, key=key)
    assert done.counts == (1199, 0, 1)


def test_an_export_has_the_sums_of_the_database_and_keeps_what_is_the_same(distributed: str, tmp_path: Path) -> None:  # noqa: F811
    def export() -> Any:
        tables = pharmdb.export(distributed, folder=tmp_path / "export", buckets=4).tables.set_index("table")
        with pharmdb.reading(pharmdb.target(distributed)) as connection:
            expected = pharmdb.daily_progress(connection)
        assert pharmdb.exported(tmp_path / "export").daily_progress().equals(expected)
        return tables

    first, again = export(), export()
    assert [(first["rows"]["attempts"],)] == ask(distributed, "SELECT count(*) FROM attempts")
    assert (first["kept"].sum(), again["written"].sum()) == (0, 0)
    changed = "SELECT id, user_id FROM attempts ORDER BY id LIMIT 1"
    ((id_, user),) = ask(distributed, changed)
    ask(distributed, f"UPDATE attempts SET score = 100 - score WHERE id = {id_} AND user_id = {user} RETURNING id")
    assert export()["written"].to_dict() == dict.fromkeys(first.index, 0) | {"attempts": first["rows"]["attempts"]}
