"""One account: what is shown of it, its role, its password, its end; and the last administrator, who stays."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path

import bcrypt
import pytest
from support import raw
from support.contents import everything
from support.databases import name_of
from support.processes import pool

import pharmdb
from pharmdb.accounts import administrators
from pharmdb.accounts.managing import ACTIONS, manage_account
from pharmdb.command import program
from pharmdb.errors import LockedError, ParameterError, PharmdbError, ProtectedError, RevisionError

ADMIN, DEMO, ANN = "admin@pharmtrainer.test", "demo@pharmtrainer.test", "ann@example.test"
PASSWORD = "Correct horse 8"
ARGON2 = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo"


def name(url: str) -> str:
    """The database's name, as `confirm` takes it."""
    return raw.path(url).name if url.startswith("sqlite") else name_of(url)


def by_email(url: str, column: str) -> dict[str, str]:
    """A column of users."""
    return dict(raw.ask(url, f"SELECT email, {column} FROM users"))


def roles(url: str) -> dict[str, str]:
    return by_email(url, "role")


@pytest.fixture
def filled(seeded: str) -> str:
    """The seed, with Ann, an administrator who owns rows in every table, and Ben, who owns nothing."""
    with raw.session(seeded) as session:
        raw.fill(session)
    return seeded


# -- looking ------------------------------------------------------------------------------------------


def test_an_account_is_shown_with_what_it_owns(filled: str) -> None:
    before = everything(filled)
    report = manage_account(filled, user_email=" Ann@Example.TEST ")
    assert report.accounts.dtypes.astype(str).to_dict() == {
        "id": "int64",
        **dict.fromkeys(("email", "role", "language"), "str"),
        "created_at": "datetime64[us, UTC]",
        "password": "str",
    }
    assert report.accounts[["email", "role", "language", "password"]].to_numpy().tolist() == [
        [ANN, "ADMIN", "en", "unknown"]
    ]
    owned = {
        table: raw.ask(filled, f"SELECT count(*) FROM {table} WHERE {owner} = {raw.ANN}")[0][0]
        for table, owner in raw.OWNERS.items()
    }
    assert report.owned[["table", "rows"]].to_numpy().tolist() == [list(item) for item in owned.items()]
    assert set(report.owned["on_delete"]) == {"CASCADE"}
    assert report.outcome["changed"].tolist() == ["nothing, read-only"]
    assert report.outcome["next"][0].partition(" --database-url")[0] == (
        f"pharmdb account --user-email {ANN} --action set-password"
    )
    assert everything(filled) == before


def test_without_an_address_the_accounts_are_listed_administrators_first(filled: str) -> None:
    raw.run(filled, f"UPDATE users SET password_hash = '{ARGON2}' WHERE email = '{DEMO}'")
    raw.run(filled, f"UPDATE users SET password_hash = '!' WHERE email = '{ADMIN}'")
    raw.run(filled, "DELETE FROM user_settings")
    found = manage_account(filled).accounts
    assert found["email"].tolist() == [ADMIN, ANN, "ben@example.test", DEMO]
    assert found["password"].tolist() == ["barred", "unknown", "unknown", "argon2"]
    assert found["language"].isna().all()


def test_no_hash_is_in_a_report(filled: str) -> None:
    report = manage_account(filled, user_email=DEMO)
    (hashed,) = raw.ask(filled, f"SELECT password_hash FROM users WHERE email = '{DEMO}'")[0]
    assert hashed[:29] not in repr(report) + report.accounts.to_string() + report.outcome.to_string()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("typed", "advised"),
    [("demo@pharmtrainer.tset", f"pharmdb account --user-email {DEMO}"), ("nobody@example.test", "pharmdb account")],
)
def test_an_unknown_account_is_an_error_with_the_address_that_may_have_been_meant(
    seeded: str, monkeypatch: pytest.MonkeyPatch, action: str, typed: str, advised: str
) -> None:
    # Nobody is asked for the password of an account that is not there.
    monkeypatch.setattr("getpass.getpass", lambda _: pytest.fail("asked"))
    with pytest.raises(ParameterError) as error:
        manage_account(seeded, user_email=typed, action=action)
    assert error.value.command.partition(" --database-url")[0] == advised
    with pytest.raises(ParameterError):
        manage_account(seeded, user_email="", action="promote" if action == "show" else action)
    with pytest.raises(ParameterError):
        manage_account(seeded, user_email=DEMO, action=f"{action} it")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_database_that_is_not_at_head_is_left_to_migrate(empty: str, action: str) -> None:
    raw.run(empty, "CREATE TABLE notes (id int)")
    with pytest.raises(RevisionError):
        manage_account(empty, user_email=DEMO, action=action, confirm=name(empty))


# -- the role -----------------------------------------------------------------------------------------


def test_a_role_is_changed_and_changed_back_and_nothing_else_is(filled: str) -> None:
    before = everything(filled)
    report = manage_account(filled, user_email=DEMO.upper(), action="promote")
    assert report.accounts["role"].tolist() == ["ADMIN"]
    assert roles(filled) == {ADMIN: "ADMIN", ANN: "ADMIN", "ben@example.test": "USER", DEMO: "ADMIN"}
    promoted = everything(filled)
    again = manage_account(filled, user_email=DEMO, action="promote")
    assert again.changed.startswith("nothing")
    assert everything(filled) == promoted
    assert manage_account(filled, user_email=DEMO, action="demote").accounts["role"].tolist() == ["USER"]
    assert everything(filled) == before


@pytest.mark.parametrize("action", ["demote", "delete"])
def test_the_last_administrator_stays(seeded: str, action: str) -> None:
    before = everything(seeded)
    with pytest.raises(ProtectedError, match=f"{ADMIN} is the only administrator"):
        manage_account(seeded, user_email=ADMIN, action=action, confirm=name(seeded))
    assert everything(seeded) == before
    # An ordinary user may go.
    manage_account(seeded, user_email=DEMO, action=action, confirm=name(seeded), backup=False)
    assert roles(seeded)[ADMIN] == "ADMIN"


def test_a_sentence_names_some_administrators_and_counts_all() -> None:
    emails = [f"a{n}@example.test" for n in range(1003)]
    assert administrators.sentence(emails[:1]) == "a0@example.test is the only administrator"
    assert administrators.sentence(emails[:2]) == "a0@example.test, a1@example.test are the only administrators"
    many = "a0@example.test, a1@example.test, a2@example.test and 1,000 more are the only administrators"
    assert administrators.sentence(emails) == many


@pytest.mark.parametrize("action", ["demote", "delete"])
def test_an_administrator_whom_another_program_is_demoting_is_waited_for(
    filled: str, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    def do() -> None:
        manage_account(filled, user_email=ADMIN, action=action, confirm=name(filled), backup=False)

    with raw.session(filled) as application:
        with raw.transaction(application):
            application.execute(f"UPDATE users SET role = 'USER' WHERE email = '{ANN}'")
            monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
            with pytest.raises(LockedError):
                do()
        with pytest.raises(ProtectedError):
            do()
    assert roles(filled)[ADMIN] == "ADMIN"


def _demote(url: str, email: str) -> bool:
    with suppress(ProtectedError):
        manage_account(url, user_email=email, action="demote")
        return True
    return False


def test_of_two_who_demote_each_other_at_once_one_stays(filled: str) -> None:
    with pool(2) as processes:
        for _ in range(5):
            raw.run(filled, f"UPDATE users SET role = 'ADMIN' WHERE email IN ('{ADMIN}', '{ANN}')")
            done = [processes.submit(_demote, filled, email) for email in (ADMIN, ANN)]
            assert sorted(each.result(60) for each in done) == [False, True]
            assert list(roles(filled).values()).count("ADMIN") == 1


# -- the password -------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [PASSWORD, "ž" * 36, " spaces 'and $quotes\" "])
def test_a_password_from_the_environment_is_hashed_as_the_application_does(
    filled: str, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("PHARMDB_NEW_PASSWORD", password)
    before = by_email(filled, "password_hash")
    report = manage_account(filled, user_email=ANN, action="set-password")
    after = by_email(filled, "password_hash")
    assert re.match(r"\$2b\$10\$", after[ANN])
    assert bcrypt.checkpw(password.encode(), after[ANN].encode())
    assert before | {ANN: after[ANN]} == after
    assert report.accounts["password"].tolist() == ["bcrypt"]
    assert password not in repr(report) + report.outcome.to_string()


# -- the end ------------------------------------------------------------------------------------------


def test_a_deletion_takes_along_what_was_counted_and_the_backup_brings_it_back(filled: str) -> None:
    before = everything(filled)
    counts = {table: raw.ask(filled, f"SELECT count(*) FROM {table}")[0][0] for table in raw.TABLES}
    report = manage_account(filled, user_email=ANN, action="delete", confirm=name(filled))
    gone = dict(zip(report.owned["table"], report.owned["rows"], strict=True))
    assert set(gone) == set(raw.OWNERS)
    left = {table: raw.ask(filled, f"SELECT count(*) FROM {table}")[0][0] for table in raw.TABLES}
    assert left == {table: n - gone.get(table, 1) for table, n in counts.items()}
    assert sorted(roles(filled)) == [ADMIN, "ben@example.test", DEMO]
    assert report.accounts["email"].tolist() == [ANN]
    assert report.backup is not None
    assert report.way_back.partition(" --database-url")[0] == f"pharmdb restore --backup {report.backup.id}"
    pharmdb.restore(filled, backup=report.backup.id)
    assert everything(filled) == before


def test_without_a_backup_there_is_no_way_back(filled: str) -> None:
    report = manage_account(filled, user_email=ANN, action="delete", confirm=name(filled), backup=False)
    assert (report.backup, report.way_back) == (None, "")
    assert len(pharmdb.list_backups(filled)) == 0


def test_rows_of_another_program_go_along_or_keep_the_account(filled: str) -> None:
    tables = (
        "CREATE TABLE invoices (id int PRIMARY KEY, account bigint REFERENCES users ON DELETE {})",
        "CREATE TABLE items (invoice int REFERENCES invoices ON DELETE CASCADE)",
        f"INSERT INTO invoices VALUES (1, {raw.ANN})",
        "INSERT INTO items VALUES (1), (1)",
    )
    raw.run(filled, "; ".join(tables).format("NO ACTION"))
    before = everything(filled)
    with pytest.raises(ProtectedError) as error:
        manage_account(filled, user_email=ANN, action="delete", confirm=name(filled))
    assert "1 of invoices" in error.value.found
    assert everything(filled) == before
    raw.run(filled, "DROP TABLE items; DROP TABLE invoices", "; ".join(tables).format("CASCADE"))
    report = manage_account(filled, user_email=ANN, action="delete", confirm=name(filled))
    assert report.owned[["table", "rows"]].to_numpy().tolist()[-2:] == [["invoices", 1], ["items", 2]]
    assert raw.ask(filled, "SELECT * FROM items") == []


TRIGGERS = {
    "sqlite": "CREATE TRIGGER t BEFORE DELETE ON users BEGIN SELECT raise(IGNORE); END",
    "postgresql": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
    "CREATE TRIGGER t BEFORE DELETE ON users FOR EACH ROW EXECUTE FUNCTION f()",
}


def test_a_deletion_that_a_trigger_prevents_is_no_success(filled: str, dialect: str) -> None:
    raw.run(filled, TRIGGERS[dialect])
    before = everything(filled)
    with pytest.raises(PharmdbError):
        manage_account(filled, user_email=ANN, action="delete", confirm=name(filled), backup=False)
    assert everything(filled) == before


# -- confirmation -------------------------------------------------------------------------------------

CHANGES = [action for action in ACTIONS if action != "show"]


@pytest.mark.parametrize(
    ("production", "actions"), [(False, {"delete"}), (True, set(CHANGES))], ids=["development", "production"]
)
def test_what_destroys_and_every_change_in_production_is_confirmed_by_name(
    filled: str, monkeypatch: pytest.MonkeyPatch, production: bool, actions: set[str]
) -> None:
    monkeypatch.setenv("PHARMDB_NEW_PASSWORD", PASSWORD)
    if production:
        raw.run(filled, "UPDATE pharmdb_environment SET name = 'production'")
    assert len(manage_account(filled, user_email=ANN).accounts) == 1
    # "demote" after "promote", so that each of them changes something; "delete" comes last.
    for action in CHANGES:
        before = everything(filled)
        for confirm in ("", "other.db") if action in actions else ("other.db",):
            with pytest.raises(ProtectedError) as error:
                manage_account(filled, user_email=DEMO, action=action, confirm=confirm)
            assert error.value.command.partition(" --database-url")[0] == (
                f"pharmdb account --user-email {DEMO} --action {action} --confirm {name(filled)}"
            )
        assert everything(filled) == before
        confirm = name(filled) if action in actions else ""
        manage_account(filled, user_email=DEMO, action=action, confirm=confirm, backup=False)
        assert everything(filled) != before


def test_the_advised_commands_work_as_they_are_typed(
    filled: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHARMDB_URL", filled)
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    command = shlex.split(f"pharmdb account --user-email {ANN} --action delete")
    for _ in range(2):
        assert program.main(command[1:]) in (0, 1)
        advised = re.search(r"pharmdb account .*--confirm.*", capsys.readouterr().err)
        command = shlex.split(advised[0]) if advised else command
    assert ANN not in roles(filled)
