"""Every command that pharmdb prints is typed in a situation that prints it, and does what it is there for."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import conninfo
from support import legacy, raw
from support.backups import backed_up
from support.commands import printed, unaddressed
from support.databases import Databases
from support.faults import HARM, truncated
from support.findings import found
from support.project import ROOT
from support.typing_in import Shell

import pharmdb
from pharmdb import settings
from pharmdb.database import driver_errors, servers, shell_commands, targets, transactions
from pharmdb.doctor import surroundings
from pharmdb.doctor.results import OK
from pharmdb.errors import NoPermissionError, PharmdbError, ReadOnlyError
from pharmdb.exporting import taking
from pharmdb.learning import charts, joined
from pharmdb.schema import branches
from pharmdb.studio_app import catalogue, console, editing, page_server, save_log, serving, sessions
from pharmdb.studio_app.cancelling import Cancel
from pharmdb.studio_app.statement_log import StatementLog

Again = Callable[[], object]
DEMO, ADMIN = "demo@pharmtrainer.test", "admin@pharmtrainer.test"


@dataclass
class Bench:
    """What a situation is made with."""

    databases: Databases
    patch: pytest.MonkeyPatch
    folder: Path
    shell: Shell

    def use(self, url: str) -> str:
        """Makes it the database of PHARMDB_URL."""
        self.patch.setenv("PHARMDB_URL", url)
        return url

    def seeded(self, dialect: str = "sqlite") -> str:
        return self.use(self.databases.seeded(dialect))

    def run(self, *scripts: str) -> None:
        raw.run(os.environ["PHARMDB_URL"], *scripts)


def error_of(act: Again) -> PharmdbError:
    with pytest.raises(PharmdbError) as error:
        act()
    return error.value


def command_of(act: Again) -> str:
    return error_of(act).command


def next_of(report: Any) -> str:
    return str(report.outcome["next"].iloc[0])


# What prints a command -> the situation, or the test elsewhere, in which it is typed, or why it can't be.
SITUATIONS: dict[str, Callable[[Bench], tuple[str, Again | None]]] = {}
PLACES: dict[str, str] = {}


def prints(*places: str) -> Callable[[Callable[[Bench], tuple[str, Again | None]]], None]:
    def register(situation: Callable[[Bench], tuple[str, Again | None]]) -> None:
        SITUATIONS[situation.__name__] = situation
        PLACES.update(dict.fromkeys(places, situation.__name__))

    return register


# -- parameters and variables -----------------------------------------------------------------------------


@prints("database.environments:configured_environment: export PHARMDB_ENV={}")
def an_environment_that_is_abbreviated(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    bench.patch.setenv("PHARMDB_ENV", "Prod")
    command = command_of(pharmdb.migrate)
    assert command == "export PHARMDB_ENV=production"
    return command, pharmdb.migrate


@prints("settings:lock_timeout: unset PHARMDB_LOCK_TIMEOUT")
def a_time_out_that_is_no_number(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    bench.patch.setenv("PHARMDB_LOCK_TIMEOUT", "soon")
    return command_of(pharmdb.inspect), pharmdb.inspect


@prints(
    "database.targets:named: read -rs {}",
    "database.targets:named: export {}",
    "command.parameters:_text: read -rs PHARMDB_URL",
    "command.parameters:_text: export PHARMDB_URL",
)
def a_password_in_a_parameter(bench: Bench) -> tuple[str, Again]:
    url = bench.databases.seeded("postgresql").replace("//postgres@", "//postgres:secret@")
    bench.shell.typed = f"{url}\n"
    return command_of(lambda: pharmdb.inspect(url)), pharmdb.inspect


@prints("learning.inspecting:inspect: pharmdb inspect --days 90")
def days_below_one(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    return command_of(lambda: pharmdb.inspect(url, days=0)), None


@prints("cohorts.building:_check: pharmdb cohort --learners 1000 --days 90 --random-seed 2026")
def a_cohort_of_nobody(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    command = command_of(lambda: pharmdb.cohort(url, learners=0))
    bench.shell.history.append(command)
    # A thousand learners would take half a minute: the same command with fewer.
    return command.replace("--learners 1000", "--learners 2"), None


# -- databases that are not there, or damaged ---------------------------------------------------------------


@prints("database.rebuilding:command: pharmdb reset")
def no_file(bench: Bench) -> tuple[str, Again]:
    bench.use(bench.databases.empty("sqlite"))
    return command_of(pharmdb.inspect), pharmdb.inspect


@prints("database.rebuilding:command: pharmdb migrate")
def no_file_in_production(bench: Bench) -> tuple[str, Again]:
    bench.use(bench.databases.empty("sqlite"))
    bench.patch.setenv("PHARMDB_ENV", "production")
    return command_of(pharmdb.inspect), pharmdb.inspect


@prints("database.rebuilding:command: pharmdb restore")
def a_truncated_file_with_a_backup(bench: Bench) -> tuple[str, Again]:
    path = raw.path(bench.seeded())
    pharmdb.backup()
    truncated(path)
    assert command_of(pharmdb.inspect) == command_of(pharmdb.reset)
    return command_of(pharmdb.reset), pharmdb.inspect


@prints("database.rebuilding:command: mv {} {}.damaged")
def a_truncated_file_without_a_backup(bench: Bench) -> tuple[str, Again]:
    truncated(raw.path(bench.seeded()))
    return command_of(pharmdb.reset), pharmdb.inspect


@prints("backups.restoring:_choose: pharmdb backup --list")
def no_backup_of_a_truncated_file(bench: Bench) -> tuple[str, Again]:
    """Neither sends to the other: there is no circle."""
    truncated(raw.path(bench.seeded()))
    assert bench.shell.type(command_of(pharmdb.restore)) == 0
    return command_of(pharmdb.reset), pharmdb.inspect


@prints("database.sqlite_errors:_explain_unopened: mkdir -p {}")
def no_folder(bench: Bench) -> tuple[str, Again]:
    bench.use(f"sqlite:///{bench.folder}/it's new/x.db")
    return command_of(pharmdb.inspect), pharmdb.inspect


@prints("database.sqlite_errors:_explain_statement: pharmdb doctor", "schema.ownership:reset_command: pharmdb reset{}")
def a_missing_column(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    bench.run("ALTER TABLE bookmarks RENAME COLUMN entity_id TO entity")

    def look() -> None:
        with pharmdb.reading(targets.target()) as connection:
            pharmdb.fingerprint(connection)

    return command_of(look), look


@prints("database.postgresql_errors:_explain_missing: pharmdb doctor")
def a_missing_table(bench: Bench) -> tuple[str, Again]:
    bench.seeded("postgresql")
    bench.run("DROP TABLE bookmarks")
    return command_of(pharmdb.inspect), pharmdb.inspect


@prints("learning.frames:_frame: pharmdb doctor")
def a_value_against_the_rules(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")

    def broken(*_: object) -> Iterator[Any]:
        raise ValueError("not a time")
        yield

    def frame() -> object:
        with pharmdb.reading(pharmdb.target(url)) as connection:
            return pharmdb.attempts_frame(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joined, "chunks", broken)
        return command_of(frame), None


@prints("database.driver_errors:temporary_room: export SQLITE_TMPDIR={}")
def a_folder_for_temporary_files_that_can_not_be_written(bench: Bench) -> tuple[str, None]:
    bench.patch.setenv("SQLITE_TMPDIR", "/nonexistent")
    failed = sqlite3.OperationalError("unable to open database file")
    failed.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN

    def write() -> None:
        with driver_errors.temporary_room():
            raise failed

    return command_of(write), None


@prints("database.transactions:_answered: pharmdb inspect")
def a_commit_without_an_answer(bench: Bench) -> tuple[str, None]:
    bench.seeded("postgresql")

    def commit() -> None:
        with transactions.writing(targets.target()) as connection:
            driver: Any = connection.connection.driver_connection
            driver.pgconn.finish()

    return command_of(commit), None


# -- PostgreSQL -----------------------------------------------------------------------------------------


@prints("database.postgresql_errors:_explain_state: pharmdb doctor")
def a_node_that_is_down(bench: Bench) -> tuple[str, None]:
    """What a coordinator reports has the code of a lost connection, and the session goes on."""
    bench.seeded("postgresql")
    raised = "DO $$ BEGIN RAISE EXCEPTION 'no answer of a node' USING ERRCODE = '08006'; END $$"

    def write() -> None:
        with transactions.writing(targets.target()) as connection:
            connection.exec_driver_sql(raised)

    return command_of(write), None


@prints("database.postgresql_errors:_explain_connection: ls createdb")
def no_such_database(bench: Bench) -> tuple[str, Again]:
    url = bench.databases.empty("postgresql")
    bench.use(url.replace("/test_", "/another one "))
    return command_of(pharmdb.inspect), pharmdb.migrate


@prints("database.postgresql_errors:_no_schema: ls psql", "doctor.remedies:sql_command: ls psql")
def no_schema(bench: Bench) -> tuple[str, Again]:
    bench.seeded("postgresql")
    bench.run("DROP SCHEMA public CASCADE")
    command = command_of(pharmdb.seed)
    assert command == command_of(pharmdb.migrate)
    return command, pharmdb.reset


@prints("database.postgresql_errors:_no_schema: ls psql")
def a_search_path_that_names_nothing(bench: Bench) -> tuple[str, Again]:
    url = bench.seeded("postgresql").replace("//postgres@", "//postgres:any@")
    database = targets.target().name
    bench.use(url)
    bench.run(f"ALTER DATABASE {database} SET search_path TO pubic")
    assert "any" not in command_of(pharmdb.inspect)
    return command_of(pharmdb.inspect), pharmdb.inspect


@prints("doctor.postgresql_side:PostgreSQLSide.hidden_rows: ls sql_command")
def rows_hidden_by_row_security(bench: Bench) -> tuple[str, Again]:
    url = bench.databases.empty("postgresql")
    raw.run(
        url,
        "DROP ROLE IF EXISTS ann",
        "CREATE ROLE ann LOGIN",
        f"ALTER DATABASE {targets.target(url).name} OWNER TO ann",
    )
    bench.use(url.replace("//postgres@", "//ann@"))
    pharmdb.reset()
    bench.run("ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    told = {finding.check: finding for finding in pharmdb.check().findings if finding.state != OK}
    assert "row security" in told
    # Nothing else is told, and no other command.
    assert told.keys() <= {"row security", "newest backup"}
    return told["row security"].remedy, pharmdb.reset


# -- revisions ---------------------------------------------------------------------------------------------


@prints("schema.revisions:require_head: pharmdb migrate")
def a_database_that_is_behind(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    pharmdb.migrate(revision="-1", backup=False)
    return command_of(pharmdb.seed), pharmdb.seed


@prints("migration.migrating:_explained: pharmdb migrate")
def a_revision_that_there_is_not(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    return command_of(lambda: pharmdb.migrate(url, revision="nowhere")), None


@prints("migration.migrating:MigrateReport.outcome: pharmdb seed")
def after_a_migration(bench: Bench) -> tuple[str, None]:
    return next_of(pharmdb.migrate(bench.use(bench.databases.migrated("sqlite")))), None


@prints("migration.migrating:MigrateReport.outcome: pharmdb migrate")
def after_a_step_back(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    return next_of(pharmdb.migrate(revision="-1", backup=False)), pharmdb.seed


def own_revisions(bench: Bench) -> None:
    """A copy of the revisions, to write into."""
    shutil.copy(ROOT / "pyproject.toml", bench.folder)
    shutil.copytree(ROOT / "migrations", bench.folder / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    bench.patch.setattr(settings, "SOURCE", bench.folder)
    bench.patch.setattr(settings, "notebooks", lambda: ROOT / "notebooks")


@prints('migration.migrating:migrate: pharmdb migrate --message "add x to attempts"')
def a_message_of_two_lines(bench: Bench) -> tuple[str, None]:
    own_revisions(bench)
    bench.seeded()
    return command_of(lambda: pharmdb.migrate(message="a\nb")), None


@prints('migration.migrating:migrate: pharmdb migrate --message "{}"')
def a_message_with_a_revision(bench: Bench) -> tuple[str, None]:
    own_revisions(bench)
    bench.seeded()
    return command_of(lambda: pharmdb.migrate(message="(a) b", revision="-1")), None


@prints('migration.migrating:_write_revision.check: pharmdb migrate --message "{} 2"')
def a_message_that_a_revision_of_today_has(bench: Bench) -> tuple[str, None]:
    own_revisions(bench)
    bench.seeded()
    message = "drop " + "x" * 75
    bench.run("DROP INDEX ix_bookmarks_user_id")
    pharmdb.migrate(message=message)
    bench.run("DROP INDEX ix_attempts_user_id_created_at")
    return command_of(lambda: pharmdb.migrate(message=message)), None


@prints("migration.migrating:MigrateReport.outcome: pharmdb doctor")
def differences_that_are_left_to_people(bench: Bench) -> tuple[str, Again]:
    own_revisions(bench)
    bench.seeded("postgresql")
    bench.run("ALTER TABLE attempts DROP CONSTRAINT ck_attempts_score, ADD CONSTRAINT ck_attempts_score CHECK (id > 0)")
    return next_of(pharmdb.migrate(message="no score")), pharmdb.check


# -- seed and reset ----------------------------------------------------------------------------------------


@prints("seeding.seeding:apply.upsert: pharmdb doctor")
def a_rule_that_is_not_ours(bench: Bench) -> tuple[str, Again]:
    bench.use(bench.databases.migrated("postgresql"))
    bench.run("ALTER TABLE progress_by_tag ADD CONSTRAINT own CHECK (tag <> 'asthma')")
    return command_of(pharmdb.seed), pharmdb.seed


@prints("seeding.seeding:SeedReport.outcome: pharmdb doctor")
def after_a_seed(bench: Bench) -> tuple[str, None]:
    return next_of(pharmdb.seed(bench.databases.seeded("sqlite"))), None


@prints("seeding.resetting:_guard: pharmdb reset --confirm {}")
def another_programs_database(bench: Bench) -> tuple[str, Again]:
    bench.use(bench.databases.empty("sqlite"))
    bench.run("CREATE TABLE theirs (id INTEGER)")
    for act in (pharmdb.seed, pharmdb.migrate):
        # Nothing that could be typed without thinking.
        assert error_of(act).command == ""
        assert error_of(act).note
    assert found()["revision"].remedy == ""
    return command_of(pharmdb.reset), pharmdb.inspect


@prints("seeding.resetting:ResetReport.outcome: pharmdb doctor")
def after_a_reset(bench: Bench) -> tuple[str, None]:
    return next_of(pharmdb.reset(bench.databases.empty("sqlite"))), None


@prints("backups.manifests:way_back: pharmdb restore --backup {}")
def back_from_a_reset(bench: Bench) -> tuple[str, Again]:
    url = bench.seeded("postgresql")
    bench.run("UPDATE user_settings SET language = 'de'")

    def german() -> None:
        assert set(raw.ask(url, "SELECT language FROM user_settings")) == {("de",)}

    return pharmdb.reset().way_back, german


# -- backups --------------------------------------------------------------------------------------------------


@prints("backups.taking:taken_of: pharmdb migrate")
def nothing_to_back_up(bench: Bench) -> tuple[str, Again]:
    url = bench.use(bench.databases.empty("sqlite"))
    raw.path(url).touch()
    bench.patch.setenv("PHARMDB_ENV", "production")
    return command_of(pharmdb.backup), pharmdb.backup


@prints("backups.taking:BackupReport.outcome: pharmdb backup")
def no_backup_in_the_list(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    return next_of(pharmdb.backup(list_only=True)), None


@prints("backups.taking:BackupReport.outcome: pharmdb restore")
def after_a_backup(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    return next_of(pharmdb.backup()), None


@prints("backups.restoring:_choose: pharmdb restore --backup {}")
def a_backup_that_there_is_not(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    pharmdb.backup()
    return command_of(lambda: pharmdb.restore(backup="20200101T000000.000000Z")), None


@prints("backups.guarding:Guard._check: pharmdb restore --backup {} --confirm {}")
def a_backup_of_another_database(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    other = backed_up()
    url = bench.use(bench.databases.migrated("sqlite"))
    return command_of(lambda: pharmdb.restore(backup=other.name)), lambda: pharmdb.inspect(url)


@prints(
    "backups.restoring:_unusable: pharmdb backup --list", "backups.restoring:_unusable: pharmdb restore --backup {}"
)
def a_backup_that_is_damaged(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    truncated(backed_up().path)
    assert bench.shell.type(command_of(pharmdb.restore)) == 0
    backed_up()
    truncated(backed_up().path)
    return command_of(pharmdb.restore), None


@prints("backups.keeping:_unreadable: pharmdb backup --list")
def a_backup_that_can_not_be_read(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    path, opened = backed_up().path, os.open

    def refuse(place: Any, *arguments: Any, **options: Any) -> int:
        if place == path:
            raise PermissionError(13, "Permission denied")
        return opened(place, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", refuse)
        return command_of(pharmdb.restore), None


@prints("backups.manifests:scan: ls -ld {}")
def a_folder_of_backups_that_can_not_be_read(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    place = bench.folder / "no folder"
    place.touch()
    bench.patch.setenv("PHARMDB_BACKUPS", str(place))
    return command_of(pharmdb.restore), None


@prints("backups.restoring:RestoreReport.outcome: pharmdb inspect")
def after_a_restore(bench: Bench) -> tuple[str, None]:
    bench.seeded("postgresql")
    pharmdb.backup()
    return next_of(pharmdb.restore()), None


@prints("backups.restoring:RestoreReport.outcome: pharmdb migrate")
def after_a_restore_of_an_old_backup(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    pharmdb.migrate(revision="-1", backup=False)
    pharmdb.backup()
    pharmdb.migrate()
    return next_of(pharmdb.restore()), pharmdb.seed


@prints("doctor.surroundings:newest_backup: pharmdb backup")
def a_backup_that_is_old(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    assert found()["newest backup"].remedy == "pharmdb backup"
    backup = backed_up()
    bench.patch.setattr(surroundings, "OLD_BACKUP", -surroundings.OLD_BACKUP)
    assert found()["newest backup"].remedy == "pharmdb backup"
    bench.patch.undo()
    bench.patch.setenv("PHARMDB_URL", bench.databases.seeded("sqlite"))
    backup = backed_up()
    truncated(backup.path)

    def well() -> None:
        assert found()["newest backup"].state == OK

    return found()["newest backup"].remedy, well


# -- accounts -----------------------------------------------------------------------------------------------


@prints("accounts.lookup:command: pharmdb account")
def a_mistyped_address(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    return command_of(lambda: pharmdb.manage_account(url, user_email="demo@pharmtrainr.test")), None


@prints("accounts.lookup:find: pharmdb account")
def an_unknown_address(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    return command_of(lambda: pharmdb.manage_account(url, user_email="nobody@example.org")), None


@prints("accounts.administrators:refusal: pharmdb account")
def the_last_administrator(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    return command_of(lambda: pharmdb.manage_account(url, user_email=ADMIN, action="demote")), None


@prints("accounts.managing:_require_known: pharmdb account")
def an_action_without_an_account(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    command = command_of(lambda: pharmdb.manage_account(url, user_email=DEMO, action="ban"))
    assert bench.shell.type(command) == 0
    return command_of(lambda: pharmdb.manage_account(url, action="demote")), None


@prints("accounts.managing:_shown: pharmdb seed")
def nobody_in_the_list(bench: Bench) -> tuple[str, None]:
    return next_of(pharmdb.manage_account(bench.use(bench.databases.migrated("sqlite")))), None


@prints("accounts.managing:_shown: pharmdb inspect --user-email {}")
def after_a_look_at_an_account(bench: Bench) -> tuple[str, None]:
    return next_of(pharmdb.manage_account(bench.seeded(), user_email=DEMO)), None


@prints("accounts.managing:_deleted: pharmdb account")
def back_from_a_deletion(bench: Bench) -> tuple[str, Again]:
    url = bench.seeded()
    report = pharmdb.manage_account(user_email=DEMO, action="delete", confirm=targets.target(url).name)
    assert bench.shell.type(next_of(report)) == 0
    return report.way_back, lambda: pharmdb.manage_account(user_email=DEMO)


@prints("accounts.new_passwords:_typed: read -rs {}", "accounts.new_passwords:_typed: export {}")
def nobody_to_ask_for_a_password(bench: Bench) -> tuple[str, None]:
    """In production, where it also takes the database's name."""
    name = targets.target(bench.seeded()).name
    bench.run("UPDATE pharmdb_environment SET name = 'production'")

    def nobody(prompt: str) -> str:
        raise EOFError

    bench.patch.setattr(getpass, "getpass", nobody)
    bench.shell.typed = "Another-password-1\n"
    return command_of(lambda: pharmdb.manage_account(user_email=DEMO, action="set-password", confirm=name)), None


@prints("accounts.new_passwords:new_password: unset {}")
def a_password_in_the_environment_that_is_short(bench: Bench) -> tuple[str, Again]:
    url = bench.seeded()
    bench.patch.setenv("PHARMDB_NEW_PASSWORD", "short")
    bench.patch.setattr(getpass, "getpass", lambda prompt: "Another-password-1")

    def act() -> object:
        return pharmdb.manage_account(url, user_email=DEMO, action="set-password")

    return command_of(act), act


# -- reading, the application -------------------------------------------------------------------------------


@prints("learning.inspecting:_advice: pharmdb cohort --learners 100")
def nobody_to_inspect(bench: Bench) -> tuple[str, None]:
    command = next_of(pharmdb.inspect(bench.seeded()))
    bench.shell.history.append(command)
    return command.replace("100", "1 --days 1"), None


@prints(
    "learning.inspecting:_advice: pharmdb inspect {}",
    "learning.inspecting:_advice: pharmdb doctor",
)
def somebody_else_to_inspect(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    values = f"SELECT id, 'case', 'c', '[]', 1 FROM users WHERE email = '{ADMIN}'"
    bench.run(f"INSERT INTO attempts (user_id, entity_type, entity_id, answers, score) {values}")
    assert bench.shell.type(command := next_of(pharmdb.inspect())) == 0, command
    return bench.shell.told["next"], None


@prints("learning.inspecting:_advice: pharmdb account")
def nobody_to_inspect_in_production(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    bench.run("UPDATE pharmdb_environment SET name = 'production'")
    return next_of(pharmdb.inspect()), None


@prints(
    "classes.reporting:class_report: pharmdb class",
    "classes.reporting:class_report: pharmdb class --output class.html",
    "classes.reporting:class_report: pharmdb cohort --learners 100",
    "classes.reporting:class_report: pharmdb doctor",
)
def from_an_empty_class_to_its_page(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    command = next_of(pharmdb.class_report())
    bench.shell.history.append(command)
    assert bench.shell.type(command.replace("100", "2 --days 9")) == 0
    assert bench.shell.type(next_of(pharmdb.class_report(until="2020-01-01"))) == 0
    assert bench.shell.type(bench.shell.told["next"]) == 0
    return bench.shell.told["next"], None


@prints(
    "classes.reporting:_check: pharmdb class",
    "classes.reporting:_check: pharmdb class --pseudonyms",
    "classes.material:_require: pharmdb class",
    "classes.population:_nobody: pharmdb class",
    "classes.population:_addresses: pharmdb class",
    "classes.streaming:undamaged: pharmdb doctor",
)
def a_class_asked_for_wrongly(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    pharmdb.cohort(learners=2, days=9)
    users = ({"users": "*@nowhere.example"}, {"users": "no such file"})
    for terms in ({"pseudonyms": True, "emails": True}, {"block": "heart"}, *users):
        assert bench.shell.type(command_of(lambda terms=terms: pharmdb.class_report(**terms))) == 0  # type: ignore[misc]

    def broken(*_: object) -> Iterator[Any]:
        raise ValueError("not a time")
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joined, "chunks", broken)
        assert bench.shell.type(command_of(pharmdb.class_report)) == 0
    return command_of(lambda: pharmdb.class_report(min_attempts=0)), None


@prints(
    "cohorts.building:CohortReport.outcome: pharmdb inspect --user-email {}",
    "cohorts.building:CohortReport.outcome: pharmdb doctor",
)
def after_a_cohort(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    assert bench.shell.type(next_of(pharmdb.cohort(url, learners=1, days=1, random_seed=1))) == 0
    return next_of(pharmdb.cohort(bench.databases.seeded("sqlite"), learners=9, days=30)), None


@prints("application.schema_file:prisma_schema: pharmdb prisma --prisma-version {}")
def an_unknown_version_of_prisma(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    return command_of(lambda: pharmdb.prisma_schema(url, prisma_version=5)), None


@prints("application.schema_file:prisma_schema: pharmdb prisma{} --output {}")
def a_schema_that_would_be_replaced(bench: Bench) -> tuple[str, Again]:
    url, place = bench.databases.seeded("sqlite"), bench.folder / "a schema.prisma"
    place.write_text("mine")

    def act() -> object:
        return pharmdb.prisma_schema(url, output=str(place))

    assert bench.shell.type(next_of(pharmdb.prisma_schema(url))) == 0
    return command_of(act), act


@prints("application.schema_file:_write: mkdir -p {}")
def no_folder_for_a_schema(bench: Bench) -> tuple[str, Again]:
    url = bench.databases.seeded("sqlite")

    def act() -> object:
        return pharmdb.prisma_schema(url, output=str(bench.folder / "it's new" / "x.prisma"))

    return command_of(act), act


# -- the doctor, beside HARM ----------------------------------------------------------------------------------


@prints("doctor.checking:_advised: pharmdb backup")
def a_fault_without_a_backup_in_production(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    bench.run("UPDATE pharmdb_environment SET name = 'production'", "DROP INDEX ix_attempts_user_id_created_at")
    told = found()["query plans"]
    assert told.remedy == ""
    return told.note.partition("after ")[2], None


@prints("doctor.results:CheckReport.outcome: pharmdb inspect")
def nothing_is_wrong(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    pharmdb.backup()
    return next_of(pharmdb.check()), None


@prints("doctor.results:full_check: pharmdb doctor --thorough")
def a_large_database(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    pharmdb.backup()
    bench.patch.setattr(servers, "LARGE", 0)
    return found()["newest backup"].remedy, None


@prints("doctor.surroundings:room: du -xh {}")
def little_room(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    bench.patch.setattr(surroundings, "ROOM", 2**60)
    return found()["disk"].remedy, None


@prints("doctor.content:_hashes: pharmdb account")
def hashes_of_no_use(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    bench.run("UPDATE users SET password_hash = '$argon2id$x'")
    bench.patch.setenv("PHARMDB_NEW_PASSWORD", "Another-password-1")
    assert "pharmdb account" in found()["password hashes"].note
    assert bench.shell.type("pharmdb account") == 0
    return found()["password hashes"].remedy, None


# -- upgrade ----------------------------------------------------------------------------------------------------


@prints(
    "legacy.upgrade_report:UpgradeReport.outcome: pharmdb inspect",
)
def an_upgrade_that_was_only_tried(bench: Bench) -> tuple[str, Again]:
    old, url = legacy.sample(bench.folder), bench.use(bench.databases.empty("sqlite"))
    command = next_of(pharmdb.upgrade(str(old), dry_run=True))
    assert bench.shell.type(command) == 0
    return bench.shell.told["next"], lambda: pharmdb.inspect(url)


@prints("legacy.sources:command: pharmdb upgrade")
def source_and_target_are_one(bench: Bench) -> tuple[str, None]:
    """Without the URL in the command: it may have a password."""
    old = legacy.sample(bench.folder)
    bench.use(f"sqlite:///{old}")
    bench.patch.setenv("PHARMDB_SOURCE", str(old))
    (bench.folder / "data").mkdir()
    command = command_of(pharmdb.upgrade)
    # What finds an old database in the place of a new one.
    assert bench.shell.type(command_of(pharmdb.seed)) == 0
    raw.path(f"{bench.folder}/data/upgraded.db").unlink()
    return command, None


@prints("legacy.sources:_advice: sqlite3 {} .dump", "legacy.sources:_advice: pharmdb upgrade --source recovered.db{}")
def a_source_that_is_damaged(bench: Bench) -> tuple[str, Again]:
    """The target is not the database of PHARMDB_URL."""
    if not shutil.which("sqlite3"):
        pytest.skip("no sqlite3 program")
    old = legacy.sample(bench.folder)
    pages = (
        "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master WHERE name LIKE 'Progress%key'"
    )
    ((page, size),) = raw.ask(f"sqlite:///{old}", pages)
    with old.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    bench.use(bench.databases.empty("sqlite"))
    url = bench.databases.empty("sqlite")

    def everything_is_there() -> None:
        users = [email for (email,) in raw.ask(url, "SELECT email FROM users")]
        assert len(users) > 2
        # As --seed adds it.
        assert ADMIN in users

    return command_of(lambda: pharmdb.upgrade(str(old), url, seed=True)), everything_is_there


@prints("legacy.upgrade_report:UpgradeReport.outcome: pharmdb doctor")
def an_upgrade_after_which_a_check_fails(bench: Bench) -> tuple[str, None]:
    bench.use(bench.databases.empty("sqlite"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "sqlite_version_info", (3, 36))
        return next_of(pharmdb.upgrade(str(legacy.sample(bench.folder)))), None


# -- the studio -------------------------------------------------------------------------------------------------


@prints("studio_app.catalogue:find: pharmdb studio")
def a_model_that_there_is_not(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    return command_of(lambda: pharmdb.studio(url, model="Nobody")), None


@prints("studio_app.catalogue:find: pharmdb migrate")
def a_studio_without_a_table(bench: Bench) -> tuple[str, Again]:
    url = bench.databases.empty("postgresql")
    return command_of(lambda: pharmdb.studio(url)), lambda: pharmdb.studio(url)


@prints("studio_app.serving:_refuse_taken: pharmdb studio --port {}")
def a_port_that_is_taken(bench: Bench) -> tuple[str, None]:
    url = bench.databases.seeded("sqlite")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        return command_of(lambda: serving.serve({"cells": []}, database_url=url, port=port)), None


@prints("studio_app.postgresql_console:_refused: pharmdb studio --model {}")
def a_password_in_a_statement(bench: Bench) -> tuple[str, None]:
    target = targets.target(bench.databases.seeded("postgresql"))
    statement = "INSERT INTO users SELECT * FROM users"

    def act() -> object:
        return console.run(target, statement, StatementLog(), cancel=Cancel(), unlocked=True)

    return command_of(act), None


PLACES |= {
    "database.environments:configured_environment: export PHARMDB_ENV with one of {}": "a note, which names all three",
    "backups.postgresql_rows:stored_rows: read {}": "no command: what a progress bar shows",
    "application.datamodel:: pharmdb prisma": "no command: the first line of a file",
    "command.listing:notebooks: pharmdb {}": "no command: the list of them",
    "command.program:_Version.__call__: pharmdb {}": "no command: the version",
    "command.program:_sentence: pharmdb {}": "no command: who speaks",
    "application.schema_file:prisma_schema: npx prisma generate": "tests/application/test_prisma_client.py",
    "doctor.context:Context.command: pharmdb {}": "each caller is a place of its own",
    "distribution.distributing:: pharmdb distribute": "no command: the beginning of one",
    "distribution.distributing:DistributeReport.outcome: pharmdb doctor": "needs a Citus cluster",
    "distribution.obstacles:_on_citus: ls psql": "tests/distribution/test_distributing.py",
    "distribution.obstacles:_on_citus: pharmdb reset": "needs a Citus cluster",
    "distribution.obstacles:obstacles: ls psql": "tests/distribution/test_distributing.py",
    "doctor.nodes:_answers: ls sql_command": "tests/cluster/test_moving.py",
    "doctor.nodes:_in_doubt: ls sql_command": "tests/cluster/test_nodes.py",
    "doctor.nodes:_wrong_settings: ls sql_command": "tests/cluster/test_nodes.py",
    "doctor.nodes:on_node: ls psql": "needs a node with another version, or one that is restarted",
    "doctor.shards:_balance.told: ls sql_command": "tests/cluster/test_moving.py",
    "doctor.shards:_copies: ls sql_command": "tests/cluster/test_moving.py",
    "doctor.shards:_placement: pharmdb distribute --no-dry-run": "needs a Citus cluster",
    "doctor.standbys:look: ls sql_command": "tests/database/test_standby.py",
}
HARMS = "test_a_remedy_ends_what_it_is_for"
PLACES |= dict.fromkeys(
    (
        "doctor.content:_hashes: pharmdb seed",
        "doctor.content:_known_passwords: ls sql_command",
        "doctor.content:check_seed: pharmdb seed",
        "doctor.postgresql_side:PostgreSQLSide.unenforced_keys: ls sql_command",
        "doctor.postgresql_side:PostgreSQLSide.unproven_constraints: ls sql_command",
        "doctor.structure:check_environment: export PHARMDB_ENV={}",
        "doctor.structure:check_environment: pharmdb migrate",
        "doctor.structure:check_journal_mode: pharmdb migrate",
    ),
    HARMS,
)
PLACES |= {
    "database.sqlite_errors:_permit: chmod u+{} {}": (
        "test_a_file_that_may_not_be_written_is_read_and_the_command_gives_the_permission"
    ),
    # In test_troubleshooting, in a clone of the project or with another process.
    "doctor.content:check_seed: git checkout -- data/seed": "test_a_faulty_seed_file_is_taken_back",
    "doctor.postgresql_side:PostgreSQLSide.end: ls sql_command": "test_a_locked_server_is_freed",
    "doctor.sqlite_side:SQLiteSide.end: kill {}": "test_a_locked_file_is_freed",
    "doctor.structure:check_revision: git checkout -- migrations/versions": (
        "test_an_edited_revision_is_taken_back_in_production"
    ),
    "doctor.structure:check_revision: pharmdb migrate": "test_a_database_behind_is_migrated",
    "schema.branches:command: git checkout -- migrations/versions": "test_a_deleted_revision_is_taken_back",
    "schema.branches:command: git switch {}": "test_a_revision_of_another_branch_is_found_there",
    "schema.branches:command: git pull": "test_a_revision_of_newer_code_is_pulled",
    'schema.revisions:: alembic merge heads -m "merge"': "test_two_heads_from_two_branches_are_merged",
    "schema.revisions:head: pharmdb migrate": "test_two_heads_from_two_branches_are_merged",
}


@prints("studio_app.widget:Studio.outcome: pharmdb inspect")
def after_the_studio(bench: Bench) -> tuple[str, None]:
    return next_of(pharmdb.studio(bench.databases.seeded("sqlite"))), None


@prints("studio_app.editing:_earlier: pharmdb studio --model {}")
def a_save_whose_end_is_unknown(bench: Bench) -> tuple[str, None]:
    target = targets.target(bench.databases.seeded("sqlite"))
    entry = {
        "staged": "s",
        "database": str(target),
        "save": "1",
        "state": "saving",
        "at": "",
        "changes": [{"table": "users"}],
    }
    bench.patch.setattr(save_log, "entries_of", lambda log: [entry])
    with sessions.reading(target, StatementLog()) as session:
        tables = catalogue.catalogue(session)
    log = bench.folder / "log"
    return command_of(lambda: editing.save(target, tables, [], StatementLog(), staged="s", log=log)), None


@prints("doctor.context:Context._restore: pharmdb restore")
def orphans_with_a_backup(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    pharmdb.backup()
    bench.run("PRAGMA foreign_keys = OFF; DELETE FROM users")
    return found()["orphans"].remedy, healed("orphans")


@prints("doctor.postgresql_side:PostgreSQLSide.other_zones: ls sql_command")
def another_time_zone(bench: Bench) -> tuple[str, Again]:
    url = bench.seeded("postgresql")
    bench.run(f"ALTER DATABASE {targets.target(url).name} SET timezone TO 'Europe/Prague'")
    return found()["time zone"].remedy, healed("time zone")


# -- exports -----------------------------------------------------------------------------------------------


@prints("exporting.analysing:exported: pharmdb export")
def no_export(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    return command_of(pharmdb.exported), lambda: pharmdb.exported().overview()


@prints("exporting.analysing:exported: pharmdb export --folder {}")
def no_export_in_a_folder(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    place = bench.folder / "an export"
    return command_of(lambda: pharmdb.exported(place)), lambda: pharmdb.exported(place).overview()


@prints("exporting.taking:export: pharmdb export --buckets {}")
def no_bucket(bench: Bench) -> tuple[str, Again]:
    url = bench.databases.seeded("sqlite")
    return command_of(lambda: pharmdb.export(url, buckets=0)), lambda: pharmdb.exported(
        taking.default_folder(targets.target(url))
    )


@prints("exporting.taking:export: pharmdb export")
def an_export_of_production_with_identities(bench: Bench) -> tuple[str, None]:
    bench.seeded()
    bench.patch.setenv("PHARMDB_ENV", "production")
    return command_of(lambda: pharmdb.export(identities=True)), None


@prints("exporting.pseudonyms:Names.__init__: pharmdb doctor --thorough")
def an_export_of_orphans(bench: Bench) -> tuple[str, Again]:
    bench.seeded()
    pharmdb.backup()
    bench.run("PRAGMA foreign_keys = OFF; DELETE FROM users WHERE role = 'USER'")
    url = os.environ["PHARMDB_URL"]
    bench.use(bench.databases.empty("sqlite"))
    return command_of(lambda: pharmdb.export(url)), lambda: pharmdb.export(url)


def healed(check: str) -> Again:
    def look() -> None:
        assert found()[check].state == OK

    return look


@pytest.fixture
def bench(
    databases: Databases, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Bench:
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    # What git knows of this checkout is no matter of these tests.
    monkeypatch.setattr(branches, "command", lambda revision: "")
    # What a command draws is no matter either, and takes longer than the rest.
    monkeypatch.setattr(charts.Picture, "_repr_png_", lambda picture: b"")
    # A page is announced, and not served.
    monkeypatch.setattr(page_server, "Server", lambda config: Unserved())
    monkeypatch.setattr(serving, "warm_kernels", lambda folder: nullcontext())
    programs = request.getfixturevalue("server").binaries
    return Bench(databases, monkeypatch, tmp_path, Shell(monkeypatch, tmp_path, programs))


class Unserved:
    def initialize(self, arguments: list[str]) -> None:
        pass

    def start(self) -> None:
        pass


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_printed_command_does_what_it_is_there_for(bench: Bench, name: str) -> None:
    command, again = SITUATIONS[name](bench)
    bench.shell.follow(command)
    for place in [place for place, situation in PLACES.items() if situation == name]:
        text = place.split(": ", 1)[1].replace("ls createdb", "createdb {}").replace("ls psql", "psql {}")
        pattern = "psql" if text == "ls sql_command" else ".*".join(map(re.escape, text.split("{}")))
        assert any(re.search(pattern, typed) for typed in bench.shell.history), (place, bench.shell.history)
    if again:
        again()


def harms() -> list[Any]:
    """Each once, on the databases in turn."""
    made = [(what, sqlite, postgresql, check) for what, sqlite, postgresql, check, *_, remedy in HARM if remedy]
    return [
        pytest.param("sqlite" if script == sqlite else "postgresql", script, check, id=what)
        for number, (what, sqlite, postgresql, check) in enumerate(made)
        for script in [(sqlite, postgresql)[number % 2] or sqlite or postgresql]
    ]


@pytest.mark.parametrize(("dialect", "script", "check"), harms())
def test_a_remedy_ends_what_it_is_for(bench: Bench, dialect: str, script: str, check: str) -> None:
    bench.seeded(dialect)
    bench.run(script)
    remedy = found()[check].remedy
    if remedy.startswith("git "):
        pytest.skip("in test_troubleshooting, in a clone")
    bench.shell.follow(remedy)
    assert found()[check].state == OK


ELSEWHERE = "test_troubleshooting"


def test_every_command_has_a_situation() -> None:
    """A new command needs one: register it with `prints`, or name the test that types it."""
    places = printed()
    assert places.keys() - PLACES.keys() == set()
    assert PLACES.keys() - places.keys() == set()
    tests = Path(__file__).with_name(f"{ELSEWHERE}.py").read_text(encoding="utf-8")
    for where in PLACES.values():
        assert (
            where in SITUATIONS
            or where in globals()
            or " " in where
            or (ROOT / where).is_file()
            or f"def {where}(" in tests
        )


# Where a command gets its --database-url from the caller, or has none.
ADDRESSED_LATER = {
    "accounts.lookup:command",
    "accounts.managing:_deleted",
    "accounts.managing:_shown",
    "backups.guarding:Guard._check",
    "backups.manifests:way_back",
    "backups.restoring:_unusable",
    "classes.reporting:class_report",
    "distribution.distributing:",
    "exporting.analysing:exported",
    "learning.inspecting:_advice",
    "legacy.sources:_advice",
    "legacy.sources:command",
    "legacy.upgrade_report:UpgradeReport.outcome",
}
NO_COMMAND = {place.partition(": ")[0] for place, why in PLACES.items() if why.startswith("no command")}


def test_every_command_names_its_database() -> None:
    """A new one goes through targets.command; or name its function here, and see that its caller does it."""
    assert unaddressed() - NO_COMMAND == ADDRESSED_LATER - NO_COMMAND


def test_no_text_is_a_command_to_be_completed() -> None:
    """An ellipsis can't be typed."""
    assert [place for place in printed() if "…" in place] == []


@pytest.mark.parametrize("place", ["db.example.org:5433", "[::1]"])
def test_createdb_and_psql_name_the_server(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    target = targets.target(f"postgresql://ann@{place}/a%20b?sslmode=require")
    created = shlex.split(shell_commands.createdb(target, "a b"))
    asked = shlex.split(shell_commands.psql(target, "SELECT 1"))
    wanted = {"user": "ann", "host": place.split(":54")[0].strip("[]"), "sslmode": "require"}
    for url, name in ((created[1].removeprefix("--maintenance-db="), "postgres"), (asked[1], "a b")):
        assert conninfo.conninfo_to_dict(url).items() >= (wanted | {"dbname": name}).items()
    assert created[2] == "a b"


def test_a_password_in_the_variable_reaches_psql_and_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_URL", "postgresql+psycopg://ann:secret@h/d")
    command = shell_commands.psql(targets.target(), "SELECT 1")
    shown = subprocess.run(
        ["bash", "-c", command.replace("psql", "printf %s", 1)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("postgresql://ann:secret@h/d")
    assert "secret" not in command


# -- permissions ------------------------------------------------------------------------------------------------


@pytest.fixture
def nobody(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A known-good database, of PHARMDB_URL, in a folder of somebody who is not root; who the test is meanwhile."""
    known_good = raw.path(databases.seeded("sqlite")).read_bytes()
    folder = Path(tempfile.mkdtemp(prefix="nobody-", dir="/tmp"))
    was_root = os.geteuid() == 0
    if was_root:
        os.chown(folder, 65534, 65534)
        os.setresuid(65534, 65534, 0)
    path = folder / "it's.db"
    path.write_bytes(known_good)
    monkeypatch.setenv("PHARMDB_URL", f"sqlite:///{path}")
    monkeypatch.setenv("PHARMDB_BACKUPS", str(folder / "none"))
    try:
        yield path
    finally:
        if was_root:
            os.setresuid(0, 0, 0)
        for place in (folder, *folder.iterdir()):
            place.chmod(0o700)
        shutil.rmtree(folder)


MODES = {"a file": (0o700, 0o400), "a folder": (0o500, 0o600), "both": (0o500, 0o400)}


@pytest.mark.parametrize("what", MODES)
def test_a_file_that_may_not_be_written_is_read_and_the_command_gives_the_permission(
    nobody: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    of_folder, of_file = MODES[what]
    nobody.chmod(of_file)
    nobody.parent.chmod(of_folder)
    assert pharmdb.inspect().user["email"].tolist() == [DEMO]
    error = error_of(pharmdb.seed)
    assert isinstance(error, ReadOnlyError)
    assert Shell(monkeypatch, Path("/")).type(error.command) == 0
    pharmdb.seed()


def test_what_is_in_the_wal_is_read_from_a_copy(nobody: Path) -> None:
    before = nobody.read_bytes()
    with closing(sqlite3.connect(nobody)) as connection:
        connection.execute("UPDATE users SET role = 'ADMIN'").connection.commit()
        left = Path(f"{nobody}-wal").read_bytes()
    # As a killed process leaves it.
    nobody.write_bytes(before)
    Path(f"{nobody}-wal").write_bytes(left)
    nobody.parent.chmod(0o500)
    with pharmdb.reading(targets.of_file(nobody)) as connection:
        assert set(connection.exec_driver_sql("SELECT role FROM users").scalars()) == {"ADMIN"}
    assert sorted(path.name for path in nobody.parent.iterdir()) == [nobody.name, f"{nobody.name}-wal"]


def test_a_file_that_may_not_be_read_has_a_command(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, mode in ((nobody, 0), (nobody.parent, 0o600)):
        place.chmod(mode)
        error = error_of(pharmdb.inspect)
        assert isinstance(error, NoPermissionError), error
        assert error.command, (error, place)
        assert Shell(monkeypatch, Path("/")).type(error.command) == 0
        pharmdb.inspect()


def test_somebody_elses_file_has_no_command_that_would_fail(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody.chmod(0o400)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    error = error_of(pharmdb.seed)
    assert (type(error), error.command) == (ReadOnlyError, "")
    assert error.note
