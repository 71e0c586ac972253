"""The doctor: every check, what it found, and the command that mends it. It changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, Connection, func, select, text
from sqlalchemy.exc import DBAPIError as _DBAPIError

from pharmdb import backups, database, drift, passwords, queries, reports, revisions, seeding
from pharmdb.errors import CheckFailedError, PharmdbError, RevisionError, SeedError
from pharmdb.fingerprints import fingerprint
from pharmdb.holders import holders
from pharmdb.models import MODELS, DatasetOverride, User

if TYPE_CHECKING:
    import pandas as pd

OK, WARN, FAIL = "ok", "warn", "fail"
ROOM = 2**30
OLD_BACKUP = timedelta(days=7)
EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """One check: its name, ok, warn or fail, what was found, and the command that mends it ("" for ok)."""

    check: str
    state: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class CheckReport:
    """`checks`: check, state, found, remedy (str), one row for each check."""

    target: str
    findings: tuple[Finding, ...]

    @property
    def checks(self) -> pd.DataFrame:
        rows = [(f.check, f.state, f.found, f.remedy) for f in self.findings]
        return reports.table(rows, dict.fromkeys(("check", "state", "found", "remedy"), "str"))

    def count(self, state: str) -> int:
        """How many checks ended in this state."""
        return sum(finding.state == state for finding in self.findings)

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, checks, warnings (int64), next. Raises CheckFailedError where a check failed."""
        failed = [finding for finding in self.findings if finding.state == FAIL]
        if failed:
            raise CheckFailedError(
                expected="no check to fail",
                found="; ".join(f"{f.check}: {f.found}" for f in failed),
                unchanged="nothing was written; the doctor only looks",
                next=failed[0].remedy,
            )
        remedies = [finding.remedy for finding in self.findings if finding.state == WARN]
        row = (True, len(self.findings), self.count(WARN), remedies[0] if remedies else "pharmdb inspect")
        return reports.table([row], {"ok": "bool", "checks": "int64", "warnings": "int64", "next": "str"})


def check(database_url: str = "") -> CheckReport:
    """Looks at everything that can be wrong with a database, and writes nothing.

    A check that can't be made because of an earlier one is left out. Raises ParameterError for an unusable URL.
    """
    target = database.target(database_url)
    findings: list[Finding] = []
    try:
        with database.reading(target) as connection:
            findings.append(Finding("answers", OK, "yes"))
            context = _Context(connection, target, database.environment(connection))
            for look in _CHECKS:
                findings.extend(_guarded(look, context))
    except PharmdbError as error:
        findings = [Finding("answers", FAIL, f"{type(error).__name__}: {error.found}", _mend(target, error))]
    findings += [_locks(target), _room(target), _newest_backup(target), _versions()]
    return CheckReport(str(target), tuple(findings))


@dataclass(frozen=True)
class _Context:
    connection: Connection
    target: database.Target
    environment: str

    @property
    def is_sqlite(self) -> bool:
        return self.target.is_sqlite

    @property
    def rebuild(self) -> str:
        """What brings a wrong schema back: a reset where that is allowed, else the newest backup."""
        return "pharmdb restore" if self.environment == "production" else "pharmdb reset"


def _mend(target: database.Target, error: PharmdbError) -> str:
    """A damaged file comes back from a backup, if there is one; else the error knows the next command."""
    damaged = "malformed" in error.found or "not a database" in error.found
    return "pharmdb restore" if damaged and backups.of(target) else error.next


def _guarded(look: Callable[[_Context], Iterator[Finding]], context: _Context) -> Iterator[Finding]:
    """A damaged database can break any query: then this check fails, and the others are still made."""
    savepoint = None if context.is_sqlite else context.connection.begin_nested()
    try:
        yield from look(context)
    except (sqlite3.DatabaseError, _DBAPIError) as error:
        if savepoint is not None:
            savepoint.rollback()
        known = database.explain(context.target, error)
        found = known.found if known else str(getattr(error, "orig", error)).splitlines()[0]
        yield Finding(look.__name__.strip("_").replace("_", " "), FAIL, found, "pharmdb restore")


# -- the checks, in the order in which they are shown ------------------------------------------------


def _environment(context: _Context) -> Iterator[Finding]:
    remembered = database.remembered_environment(context.connection)
    configured = database.configured_environment()
    if remembered is None:
        yield Finding("environment", WARN, "the database remembers none", "pharmdb migrate")
    elif "production" in (remembered, configured) and remembered != configured:
        found = f"the database says {remembered}, PHARMDB_ENV says {configured}; production counts"
        yield Finding("environment", WARN, found, f"export PHARMDB_ENV={remembered}")
    else:
        yield Finding("environment", OK, remembered)


def _integrity(context: _Context) -> Iterator[Finding]:
    if context.is_sqlite:
        lines = [row[0] for row in context.connection.exec_driver_sql(f"PRAGMA integrity_check({EXAMPLES})")]
        faults = [] if lines == ["ok"] else lines
    else:
        faults = list(_amcheck(context.connection))
    if faults:
        yield Finding("integrity", FAIL, "; ".join(faults), "pharmdb restore")
    else:
        yield Finding("integrity", OK, "nothing wrong found")


def _amcheck(connection: Connection) -> Iterator[str]:
    """Looks into our indexes where the extension is installed and may be used; without it there is nothing to ask."""
    usable = connection.scalar(
        text(
            "SELECT has_function_privilege(pg_proc.oid, 'EXECUTE') FROM pg_proc JOIN pg_depend ON objid = pg_proc.oid "
            "JOIN pg_extension ON refobjid = pg_extension.oid WHERE extname = 'amcheck' AND deptype = 'e' "
            "AND proname = 'bt_index_check' AND pronargs = 1"
        )
    )
    if not usable:
        return
    names = [
        row[0]
        for row in connection.execute(
            text(
                "SELECT pg_class.oid::regclass::text FROM pg_class JOIN pg_am ON pg_am.oid = relam WHERE relkind = 'i' "
                "AND amname = 'btree' AND relnamespace = current_schema()::regnamespace ORDER BY 1"
            )
        )
    ]
    for name in names:
        try:
            with connection.begin_nested():
                connection.execute(text("SELECT bt_index_check(CAST(:name AS regclass))"), {"name": name})
        except _DBAPIError as error:
            yield str(error.orig).splitlines()[0]


def _foreign_keys(context: _Context) -> Iterator[Finding]:
    if context.is_sqlite:
        enforced = context.connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()
        orphans = [(row[0], row[1]) for row in context.connection.exec_driver_sql("PRAGMA foreign_key_check")]
    else:
        enforced, orphans = True, list(_unchecked_orphans(context.connection))
    yield Finding("foreign keys", *((OK, "enforced") if enforced else (FAIL, "not enforced", context.rebuild)))
    if orphans:
        shown = ", ".join(f"{table} {id_}" for table, id_ in orphans[:EXAMPLES])
        yield Finding("orphans", FAIL, f"{len(orphans)} rows without their user: {shown}", "pharmdb restore")
    else:
        yield Finding("orphans", OK, "none")


def _unchecked_orphans(connection: Connection) -> Iterator[tuple[str, int]]:
    """PostgreSQL vouches for a validated key; only where there is no such key are the rows looked at."""
    valid = {
        row[0]
        for row in connection.exec_driver_sql(
            "SELECT conrelid::regclass::text || '.' || conname FROM pg_constraint WHERE contype = 'f' AND convalidated"
        )
    }
    for model in MODELS:
        for key in model.__table__.foreign_keys:
            table: Any = model.__table__
            if f"{table.name}.{key.constraint.name if key.constraint else ''}" in valid:
                continue
            users = User.__table__
            rows = select(table.c.id).where(~select(users.c.id).where(users.c.id == key.parent).exists())
            yield from ((table.name, id_) for (id_,) in connection.execute(rows))


def _revision(context: _Context) -> Iterator[Finding]:
    current = revisions.current_revision(context.connection)
    try:
        newest = revisions.head()
        revisions.require_known(context.connection, context.target)
    except RevisionError as error:
        ours = "git pull" in error.next and context.environment != "production"
        yield Finding("revision", FAIL, error.found, "pharmdb reset" if ours else error.next.partition("   ")[0])
        return
    if current != newest:
        yield Finding("revision", FAIL, f"{current or 'none'}, behind {newest}", "pharmdb migrate")
    else:
        yield Finding("revision", OK, f"{current}, the newest")
    edited = revisions.edited_revisions(context.connection)
    if edited:
        found = f"applied, and edited since: {', '.join(edited)}"
        remedy = "git checkout -- migrations/versions" if context.environment == "production" else "pharmdb reset"
        yield Finding("revision files", FAIL, found, remedy)
    else:
        yield Finding("revision files", OK, "as they were applied")


def _drift(context: _Context) -> Iterator[Finding]:
    if revisions.current_revision(context.connection) is None:
        return
    found = [
        f"{kind} {table}.{name}: expected {expected}, found {actual}"
        for kind, table, name, expected, actual in drift.differences(context.connection)
    ]
    if found:
        yield Finding("drift", FAIL, "; ".join(found), context.rebuild)
    else:
        yield Finding("drift", OK, "none")


def _constraints(context: _Context) -> Iterator[Finding]:
    """Rows that break a check. PostgreSQL vouches for a validated one; SQLite's are looked at, all in one pass."""
    broken = []
    for model in MODELS:
        table: Any = model.__table__
        checks = _unproven(context, model)
        if not checks:
            continue
        rules = {str(check.name): f"NOT ({check.sqltext})" for check in checks}
        if not _keys(context.connection, table.name, " OR ".join(rules.values())):
            continue
        for name, rule in rules.items():
            keys = _keys(context.connection, table.name, rule)
            if keys:
                examples = ", ".join(map(str, keys[:EXAMPLES]))
                broken.append(f"{name}: {len(keys)} rows of {table.name}, as id {examples}")
    if broken:
        yield Finding("constraints", FAIL, "; ".join(broken), "pharmdb restore")
    else:
        yield Finding("constraints", OK, "no row breaks one")


def _keys(connection: Connection, table: str, condition: str) -> list[int]:
    return list(connection.exec_driver_sql(f"SELECT id FROM {table} WHERE {condition} ORDER BY id").scalars())


def _unproven(context: _Context, model: Any) -> list[CheckConstraint]:
    checks = drift.active_checks(model.__table__, context.connection)
    if context.is_sqlite:
        return checks
    valid = {
        row[0]
        for row in context.connection.exec_driver_sql(
            "SELECT conname FROM pg_constraint WHERE contype = 'c' AND convalidated "
            "AND connamespace = current_schema()::regnamespace"
        )
    }
    return [check for check in checks if check.name not in valid]


def _query_plans(context: _Context) -> Iterator[Finding]:
    """Whether each documented query can use its index; a small table may be read whole all the same."""
    at = datetime.now(UTC)
    documented: dict[str, Any] = {
        "uq_users_email": queries.user_by_email("demo@pharmtrainer.test"),
        "ix_attempts_user_id_created_at": queries.attempt_history(1),
        "uq_progress_by_tag_user_id_module_course_block_tag": queries.progress_by_key(1, "m", "b", "t"),
        "ix_spaced_repetition_items_user_id_next_review_at": queries.due_reviews(1, at),
        "ix_dataset_overrides_is_active": select(DatasetOverride.id).where(DatasetOverride.is_active),
        "ix_dataset_overrides_created_by_id": select(DatasetOverride.id).where(DatasetOverride.created_by_id == 1),
    }
    missed = []
    for index, statement in documented.items():
        # SQLite names the index of a unique constraint itself.
        table = statement.get_final_froms()[0].name
        name = f"sqlite_autoindex_{table}_" if context.is_sqlite and index.startswith("uq_") else index
        if name not in _plan(context, statement):
            missed.append(index)
    if missed:
        yield Finding("query plans", FAIL, f"a documented query can't use {', '.join(missed)}", context.rebuild)
    else:
        yield Finding("query plans", OK, f"{len(documented)} of {len(documented)} documented queries have their index")


def _plan(context: _Context, statement: Any) -> str:
    if not context.is_sqlite:
        # An empty table costs nothing in any way; so the ways round the index are closed.
        context.connection.exec_driver_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    compiled = statement.compile(dialect=context.connection.dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN " if context.is_sqlite else "EXPLAIN "
    return "\n".join(str(row[-1]) for row in context.connection.exec_driver_sql(explain + str(compiled)))


def _seed(context: _Context) -> Iterator[Finding]:
    try:
        seed = seeding.read()
    except SeedError as error:
        found = f"faulty seed files: {error.found}"
        yield Finding("seed", FAIL, " ".join(found.split()), "git checkout -- data/seed")
        return
    if context.environment == "production":
        yield Finding("seed", OK, "not for production")
        return
    missing = seeding.missing(context.connection, seed)
    if missing:
        yield Finding("seed", WARN, f"missing: {', '.join(missing)}", "pharmdb seed")
    elif _rows(context.connection) == len(seed.users) * 2 + len(seed.progress):
        same = fingerprint(context.connection, seed=True) == seeding.KNOWN_GOOD
        found = "present, at its fingerprint" if same else "present, changed since"
        yield Finding("seed", OK, found)
    else:
        yield Finding("seed", OK, "present, with other rows beside it")


def _rows(connection: Connection) -> int:
    """How many rows there are in all, as far as it matters here: no table is counted to its end."""
    total = 0
    for model in MODELS:
        few = select(model.__table__.c.id).limit(1000).subquery()
        total += connection.scalar(select(func.count()).select_from(few)) or 0
    return total


def _passwords(context: _Context) -> Iterator[Finding]:
    known = {row["email"]: row["password"] for row in seeding.read().users}
    rows = context.connection.execute(select(User.email, User.password_hash).where(User.email.in_(known)))
    open_ = [email for email, stored in rows if passwords.verify_password(known[email], stored)]
    if context.environment != "production":
        yield Finding("default passwords", OK, "valid, as documented" if open_ else "not in use")
    elif open_:
        names = ", ".join(f"'{email}'" for email in open_)
        remedy = f"UPDATE users SET password_hash = '!' WHERE email IN ({names})"
        yield Finding("default passwords", FAIL, f"valid in production: {', '.join(open_)}", remedy)
    else:
        yield Finding("default passwords", OK, "not in use")
    weak = select(func.count()).where(User.password_hash.not_like("$argon2id$%"), User.password_hash != "!")
    count = context.connection.scalar(weak)
    if count:
        found = f"{count} not argon2id; each is renewed when its user logs in"
        yield Finding("password hashes", WARN, found, "pharmdb seed")
    else:
        yield Finding("password hashes", OK, "all argon2id")


def _journal(context: _Context) -> Iterator[Finding]:
    mode = context.connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() if context.is_sqlite else "wal"
    if mode == "wal":
        yield Finding("journal mode", OK, "readers and writers don't wait for each other")
    else:
        yield Finding("journal mode", WARN, f"{mode}: readers and writers wait for each other", "pharmdb migrate")


_CHECKS: tuple[Callable[[_Context], Iterator[Finding]], ...] = (
    _environment,
    _integrity,
    _foreign_keys,
    _revision,
    _drift,
    _constraints,
    _query_plans,
    _seed,
    _passwords,
    _journal,
)


# -- what is looked at beside the snapshot ------------------------------------------------------------


def _locks(target: database.Target) -> Finding:
    """Whether a writer would have to wait now, and for whom."""
    if not _is_locked(target):
        return Finding("locks", OK, "no writer would wait")
    who = holders(target)
    command = f"kill {who[0].pid}" if target.is_sqlite else f'psql -c "SELECT pg_terminate_backend({who[0].pid})"'
    found = "; ".join(map(str, who)) or "somebody whose processes can't be seen from here"
    return Finding("locks", WARN, found, command if who else "run the doctor as the user who runs them")


def _is_locked(target: database.Target) -> bool:
    if target.is_sqlite:
        if not target.path.is_file():
            return False
        try:
            with closing(sqlite3.connect(f"{target.path.as_uri()}?mode=rw", uri=True, timeout=0)) as connection:
                # Takes the lock and gives it back; writes nothing.
                connection.execute("BEGIN IMMEDIATE").execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            return "locked" in str(error)
        except sqlite3.DatabaseError:
            return False
        return False
    try:
        with database.reading(target) as connection:
            return bool(connection.exec_driver_sql(_BLOCKERS).scalar_one())
    except PharmdbError:
        return False


# Locks that a writer or a schema change waits for: held by a transaction that sits idle, or waited for by somebody.
_BLOCKERS = """
    SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                    WHERE datname = current_database() AND pid <> pg_backend_pid()
                      AND (NOT granted OR (state LIKE 'idle in transaction%%'
                           AND locktype IN ('relation', 'advisory')
                           AND mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock',
                                        'RowExclusiveLock'))))
"""


def _room(target: database.Target) -> Finding:
    folder = target.path.parent if target.is_sqlite else backups.folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free >= ROOM:
        return Finding("disk", OK, "more than 1 GiB free")
    return Finding("disk", WARN, f"{free / 2**20:.0f} MiB free at {folder}", f"du -xh {folder} | sort -h | tail")


def _newest_backup(target: database.Target) -> Finding:
    entries = backups.of(target)
    if not entries:
        return Finding("newest backup", WARN, "none", "pharmdb backup")
    newest = entries[0]
    try:
        backups.verify(newest)
    except PharmdbError as error:
        return Finding("newest backup", FAIL, f"{newest.name}: {error.found}", "pharmdb backup")
    age = datetime.now(UTC) - datetime.fromisoformat(newest.taken_at)
    if age > OLD_BACKUP:
        return Finding("newest backup", WARN, f"{age.days} days old", "pharmdb backup")
    return Finding("newest backup", OK, f"opens, less than {OLD_BACKUP.days} days old")


def _versions() -> Finding:
    if sqlite3.sqlite_version_info < (3, 37):
        found = f"SQLite {sqlite3.sqlite_version}: STRICT tables need 3.37"
        return Finding("versions", FAIL, found, "make PYTHON=… with a Python that brings a newer SQLite")
    return Finding("versions", OK, "supported")
