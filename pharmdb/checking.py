"""The doctor: every check, what it found, and the command that mends it. It changes nothing."""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, Connection, func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError as _DBAPIError
from sqlalchemy.exc import SAWarning

from pharmdb import backups, database, drift, looking, passwords, queries, reports, revisions, seeding, upserts
from pharmdb.errors import CheckFailedError, LockedError, PharmdbError, RevisionError, SeedError, UnavailableError
from pharmdb.fingerprints import fingerprint
from pharmdb.holders import holders
from pharmdb.models import MODELS, DatasetOverride, User

if TYPE_CHECKING:
    import pandas as pd

OK, WARN, FAIL = "ok", "warn", "fail"
ROOM = 2**30
OLD_BACKUP = timedelta(days=7)
WHOLE_LOOK = "pharmdb doctor --thorough"
# Where a remedy names a command of ours.
_COMMAND = re.compile(r"(^|&& |: )pharmdb [a-z]+\b(?! --database-url)")


@dataclass(frozen=True)
class Finding:
    """One check: its name, ok, warn or fail, what was found, and the command that mends it.

    For ok that is "", or what looks at all of it where the check looked at a part.
    """

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
        remedies = [finding.remedy for finding in self.findings if finding.state == WARN and finding.remedy]
        row = (
            True,
            len(self.findings),
            self.count(WARN),
            remedies[0] if remedies else database.command(self.target, "pharmdb inspect"),
        )
        return reports.table([row], {"ok": "bool", "checks": "int64", "warnings": "int64", "next": "str"})


def check(database_url: str = "", *, thorough: bool = False) -> CheckReport:
    """Looks at everything that can be wrong with a database, and writes nothing.

    Of a database larger than looking.LARGE it looks at a part, and says at which, unless it is to be `thorough`.
    A check that can't be made because of an earlier one is left out. Raises ParameterError for an unusable URL.
    """
    target = database.target(database_url)
    findings: list[Finding] = []
    try:
        with database.reading(target) as connection:
            findings.append(Finding("answers", OK, "yes"))
            whole = thorough or looking.size(connection) <= looking.LARGE
            context = _Context(connection, target, database.environment(connection), whole)
            for look in _CHECKS:
                if look not in _AT_HEAD or not _failed(findings, "revision"):
                    findings.extend(_guarded(look, context, drifted=_failed(findings, "drift")))
    except PharmdbError as error:
        findings = [Finding("answers", FAIL, f"{type(error).__name__}: {error.found}", _mend(target, error))]
    findings += [_locks(target), _room(target), _newest_backup(target, thorough), _versions()]
    options = database.command(target, "")
    addressed = (
        replace(finding, remedy=_COMMAND.sub(lambda command: command.group() + options, finding.remedy))
        for finding in findings
    )
    return CheckReport(str(target), tuple(addressed))


def _failed(findings: list[Finding], check: str) -> bool:
    return any((finding.check, finding.state) == (check, FAIL) for finding in findings)


@dataclass(frozen=True)
class _Context:
    connection: Connection
    target: database.Target
    environment: str
    # Whether every row is looked at.
    whole: bool

    @property
    def is_sqlite(self) -> bool:
        return self.target.is_sqlite

    @property
    def rebuild(self) -> str:
        """What brings a wrong schema back: a reset where that is allowed, else the newest backup."""
        return "pharmdb restore" if self.environment == "production" else "pharmdb reset"

    @property
    def bring_back(self) -> str:
        """What brings wrong content back: the newest backup, if there is one."""
        return "pharmdb restore" if _has_backup(self.target) else self.rebuild


def _has_backup(target: database.Target) -> bool:
    try:
        return bool(backups.of(target))
    except PharmdbError:
        return False


def _mend(target: database.Target, error: PharmdbError) -> str:
    """What makes a database answer: a file comes back from a backup, if there is one; else the error knows."""
    if isinstance(error, LockedError):
        return _locks(target).remedy or error.next
    damaged = "malformed" in error.found or "not a database" in error.found
    if target.is_sqlite and (damaged or error.found.startswith("no file ")):
        return _make_anew(target, damaged)
    if error.next.startswith("createdb "):
        return f"createdb --maintenance-db={_libpq_url(target, 'postgres')} {shlex.quote(target.name)}"
    # What stands behind three spaces is for a person.
    return error.next.partition("   ")[0]


def _make_anew(target: database.Target, damaged: bool) -> str:
    production = database.configured_environment() == "production"
    if _has_backup(target):
        return "pharmdb restore"
    command = "pharmdb migrate" if production else "pharmdb reset"
    path = shlex.quote(str(target.path))
    return f"mv {path} {path}.damaged && {command}" if damaged else command


def _libpq_url(target: database.Target, name: str = "") -> str:
    """The URL for psql and its like, as a word of a shell, without the password: they ask for it."""
    old = target.url
    query = {key: value for key, value in old.query.items() if key != "password" and not (name and key == "dbname")}
    url = URL.create("postgresql", old.username, None, old.host, old.port, name or old.database, query)
    return shlex.quote(url.render_as_string().replace(" ", "%20"))


def _sql(target: database.Target, statement: str) -> str:
    """The command that runs an SQL statement."""
    if target.is_sqlite:
        code = f"import sqlite3; sqlite3.connect({str(target.path)!r}, isolation_level=None).execute({statement!r})"
        return f"python -c {shlex.quote(code)}"
    return f"psql {_libpq_url(target)} -c {shlex.quote(statement)}"


# PostgreSQL's codes for a table and a column that there isn't.
_MISSING = ("42P01", "42703")


def _guarded(look: Callable[[_Context], Iterator[Finding]], context: _Context, *, drifted: bool) -> Iterator[Finding]:
    """A damaged database can break any query: then this check fails, and the others are still made.

    Where the schema has drifted a check may lack what it asks for, and is left out.
    """
    savepoint = None if context.is_sqlite else context.connection.begin_nested()
    try:
        yield from look(context)
    except (sqlite3.DatabaseError, _DBAPIError) as error:
        if savepoint is not None:
            savepoint.rollback()
        known = database.explain(context.target, error)
        if isinstance(known, RevisionError):
            # A table that isn't there; its advice is to ask the doctor.
            known = None
        if drifted and (known is None or getattr(getattr(error, "orig", None), "sqlstate", "") in _MISSING):
            return
        found = known.found if known else str(getattr(error, "orig", error)).splitlines()[0]
        remedy = _mend(context.target, known) if known else context.bring_back
        yield Finding(look.__name__.strip("_").replace("_", " "), FAIL, found, remedy)


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
    looks: list[looking.Rows] = []
    skipped: list[str] = []
    if not context.is_sqlite:
        faults = list(_amcheck(context, skipped))
    elif context.whole:
        faults = [row[0] for row in context.connection.exec_driver_sql("PRAGMA integrity_check")]
    else:
        faults, looks, skipped = looking.faults(context.connection)
    # Rows that break a check are the matter of another check.
    faults = [line for line in faults if line != "ok" and not line.startswith("CHECK constraint failed")]
    if faults:
        remedy = _make_anew(context.target, damaged=True) if context.is_sqlite else context.bring_back
        yield Finding("integrity", FAIL, "; ".join(faults[: looking.EXAMPLES]), remedy)
    else:
        yield _well("integrity", "nothing wrong found", looks, skipped)


def _well(check: str, found: str, looks: Iterable[looking.Rows] = (), skipped: Iterable[str] = ()) -> Finding:
    """An ok that says what was not looked at, and how to have it looked at."""
    left = [
        part for part in (looking.said(looks), ", ".join(skipped) and f"not looked at: {', '.join(skipped)}") if part
    ]
    return Finding(check, OK, "; ".join((found, *left)), WHOLE_LOOK if left else "")


def _amcheck(context: _Context, skipped: list[str]) -> Iterator[str]:
    """Looks into our indexes where the extension is installed and may be used; without it there is nothing to ask.

    Of a large database the indexes of large tables are skipped: the extension knows no part of an index.
    """
    connection = context.connection
    usable = connection.scalar(
        text(
            "SELECT has_function_privilege(pg_proc.oid, 'EXECUTE') FROM pg_proc JOIN pg_depend ON objid = pg_proc.oid "
            "JOIN pg_extension ON refobjid = pg_extension.oid WHERE extname = 'amcheck' AND deptype = 'e' "
            "AND proname = 'bt_index_check' AND pronargs = 1"
        )
    )
    if not usable:
        return
    indexes = connection.execute(
        text(
            "SELECT pg_class.oid::regclass::text, indrelid::regclass::text FROM pg_class "
            "JOIN pg_am ON pg_am.oid = relam JOIN pg_index ON indexrelid = pg_class.oid WHERE relkind = 'i' "
            "AND amname = 'btree' AND relnamespace = quote_ident(current_schema())::regnamespace ORDER BY 1"
        )
    ).all()
    if not context.whole:
        skipped += sorted({table for _, table in indexes if looking.has_many(connection, table)})
    for name, table in indexes:
        if table in skipped:
            continue
        try:
            with connection.begin_nested():
                connection.execute(text("SELECT bt_index_check(CAST(:name AS regclass))"), {"name": name})
        except _DBAPIError as error:
            yield str(error.orig).splitlines()[0]


def _foreign_keys(context: _Context) -> Iterator[Finding]:
    if context.is_sqlite:
        enforced = context.connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()
        yield Finding("foreign keys", *((OK, "enforced") if enforced else (FAIL, "not enforced", context.rebuild)))
    else:
        off = list(context.connection.exec_driver_sql(_DISABLED).scalars())
        if off:
            statement = "; ".join(f"ALTER TABLE {table} ENABLE TRIGGER ALL" for table in off)
            yield Finding("foreign keys", FAIL, f"not enforced in {', '.join(off)}", _sql(context.target, statement))
        else:
            yield Finding("foreign keys", OK, "enforced")
    orphans = looking.orphans if context.whole else looking.orphans_by_index
    found = orphans(context.connection)
    if found.count:
        shown = ", ".join(f"{table} {id_}" for table, id_ in found.examples)
        yield Finding("orphans", FAIL, f"{found.count} rows without their user: {shown}", context.bring_back)
    else:
        yield _well("orphans", "none" if context.whole else "none, by the indexes on the keys", skipped=found.skipped)


# Tables whose foreign keys somebody has switched off.
_DISABLED = """
    SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
     WHERE tgisinternal AND tgenabled IN ('D', 'R') AND relnamespace = quote_ident(current_schema())::regnamespace
     ORDER BY 1
"""


def _revision(context: _Context) -> Iterator[Finding]:
    current = revisions.current_revision(context.connection)
    try:
        newest = revisions.head()
        revisions.require_known(context.connection, context.target)
    except RevisionError as error:
        remedy = error.next.replace("   then ", " && ")
        if "git pull" in remedy:
            remedy = "git pull" if context.environment == "production" else "pharmdb reset"
        yield Finding("revision", FAIL, error.found, remedy)
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
    with warnings.catch_warnings():
        # SQLAlchemy can't read a constraint that was never validated; the check of the constraints tells of it.
        warnings.simplefilter("ignore", SAWarning)
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
    broken: list[str] = []
    looks: list[looking.Rows] = []
    for model in MODELS:
        checks = _unproven(context, model)
        if not checks:
            continue
        name, connection = model.__tablename__, context.connection
        rows = looking.Rows(name) if context.whole else looking.all_or_some(connection, name)
        looks.append(rows)
        rules = {str(check.name): f"NOT ({check.sqltext})" for check in checks}
        if not looking.breaking(connection, rows, " OR ".join(rules.values()))[0]:
            continue
        for rule, condition in rules.items():
            count, ids = looking.breaking(connection, rows, condition)
            if count:
                broken.append(f"{rule}: {count} rows of {name}, as id {', '.join(map(str, ids))}")
    unproven = [] if context.is_sqlite else list(context.connection.exec_driver_sql(_UNPROVEN))
    if broken:
        parts = filter(None, (*broken, looking.said(looks)))
        yield Finding("constraints", FAIL, "; ".join(parts), context.bring_back)
    elif unproven:
        names = ", ".join(f"{table}.{name}" for table, name, _ in unproven)
        statement = "; ".join(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}" for table, name, _ in unproven)
        asked = all(is_asked for _, _, is_asked in unproven)
        remedy = _sql(context.target, statement) if asked else context.rebuild
        yield Finding("constraints", FAIL, f"{'not validated' if asked else 'not enforced'}: {names}", remedy)
    else:
        yield _well("constraints", "no row breaks one", looks)


# Constraints that PostgreSQL doesn't vouch for; since version 18 there are some that it doesn't even ask.
_UNPROVEN = """
    SELECT conrelid::regclass::text, quote_ident(conname),
           coalesce(to_jsonb(pg_constraint) ->> 'conenforced', 'true') = 'true'
      FROM pg_constraint
     WHERE NOT convalidated AND contype IN ('c', 'f') AND connamespace = quote_ident(current_schema())::regnamespace
     ORDER BY 1, 2
"""


def _unproven(context: _Context, model: Any) -> list[CheckConstraint]:
    checks = drift.active_checks(model.__table__, context.connection)
    if context.is_sqlite:
        return checks
    valid = {
        row[0]
        for row in context.connection.exec_driver_sql(
            "SELECT conname FROM pg_constraint WHERE contype = 'c' AND convalidated "
            "AND connamespace = quote_ident(current_schema())::regnamespace"
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
    if not context.is_sqlite:
        context.connection.exec_driver_sql("SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL enable_sort TO DEFAULT")
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
    except UnavailableError as error:
        yield Finding("seed", FAIL, error.found, error.next)
        return
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
    elif _rows(context.connection, most := len(seed.users) * 2 + len(seed.progress)) == most:
        same = fingerprint(context.connection, seed=True) == seeding.KNOWN_GOOD
        found = "present, at its fingerprint" if same else "present, changed since"
        yield Finding("seed", OK, found)
    else:
        yield Finding("seed", OK, "present, with other rows beside it")


def _rows(connection: Connection, most: int) -> int:
    """How many rows there are in all; of no table more than one above `most` are counted."""
    total = 0
    for model in MODELS:
        few = select(model.__table__.c.id).limit(most + 1).subquery()
        total += connection.scalar(select(func.count()).select_from(few)) or 0
    return total


def _default_passwords(context: _Context) -> Iterator[Finding]:
    seeded: list[str] = []
    # Where the files of the seed are faulty, the check of the seed has told.
    with suppress(SeedError, UnavailableError):
        known = {row["email"]: row["password"] for row in seeding.read().users}
        seeded = list(known)
        yield _known_passwords(context, known)
    weak = select(func.count()).where(User.password_hash.not_like("$argon2id$%"), User.password_hash != "!")
    count = context.connection.scalar(weak)
    if count:
        # Nobody but its user knows the password of another account.
        ours = any(context.connection.scalar(weak.where(User.email.in_(some))) for some in upserts.chunks(seeded))
        found = f"{count} not argon2id; each is renewed when its user logs in"
        yield Finding("password hashes", WARN, found, "pharmdb seed" if ours else "")
    else:
        yield Finding("password hashes", OK, "all argon2id")


def _known_passwords(context: _Context, known: dict[str, str]) -> Finding:
    stored: dict[str, str] = {}
    for some in upserts.chunks(known):
        query = select(User.email, User.password_hash).where(User.email.in_(some))
        stored |= {row.email: row.password_hash for row in context.connection.execute(query)}
    valid = [email for email in sorted(stored) if passwords.verify_password(known[email], stored[email])]
    if not valid:
        return Finding("default passwords", OK, "not in use")
    if context.environment != "production":
        return Finding("default passwords", OK, "valid, as documented")
    names = ", ".join(f"'{email}'" for email in valid)
    # Written so that no mask takes the ! for a password.
    remedy = _sql(context.target, f"UPDATE users SET (password_hash) = (SELECT '!') WHERE email IN ({names})")
    return Finding("default passwords", FAIL, f"valid in production: {', '.join(valid)}", remedy)


def _journal_mode(context: _Context) -> Iterator[Finding]:
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
    _default_passwords,
    _journal_mode,
)
# What makes no sense, or can't be asked, before the schema is what the code expects.
_AT_HEAD = (_drift, _constraints, _query_plans, _seed, _default_passwords)


# -- what is looked at beside the snapshot ------------------------------------------------------------


def _locks(target: database.Target) -> Finding:
    """Whether a writer would have to wait now, and for whom."""
    if not _is_locked(target):
        return Finding("locks", OK, "no writer would wait")
    who = holders(target)
    if not who:
        found = "somebody whose processes can't be seen from here"
        return Finding("locks", WARN, found, "run the doctor as the user who runs them")
    command = f"kill {who[0].pid}" if target.is_sqlite else _sql(target, f"SELECT pg_terminate_backend({who[0].pid})")
    return Finding("locks", WARN, "; ".join(map(str, who)), command)


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
        with database.watching(target) as connection:
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
    return Finding(
        "disk", WARN, f"{free / 2**20:.0f} MiB free at {folder}", f"du -xh {shlex.quote(str(folder))} | sort -h | tail"
    )


def _newest_backup(target: database.Target, thorough: bool) -> Finding:
    try:
        entries = backups.of(target)
    except PharmdbError as error:
        return Finding("newest backup", FAIL, error.found, error.next)
    if not entries:
        return Finding("newest backup", WARN, "none", "pharmdb backup")
    newest = entries[0]
    whole = thorough or newest.size <= looking.LARGE
    try:
        (backups.verify if whole else backups.glance)(newest)
    except PharmdbError as error:
        return Finding("newest backup", FAIL, f"{newest.name}: {error.found}", "pharmdb backup")
    age = datetime.now(UTC) - datetime.fromisoformat(newest.taken_at)
    if age > OLD_BACKUP:
        return Finding("newest backup", WARN, f"{age.days} days old", "pharmdb backup")
    young = f"less than {OLD_BACKUP.days} days old"
    if whole:
        return Finding("newest backup", OK, f"opens, {young}")
    return Finding(
        "newest backup", OK, f"begins as it should, of its full size, {young}; the rest not read", WHOLE_LOOK
    )


def _versions() -> Finding:
    if sqlite3.sqlite_version_info < (3, 37):
        found = f"SQLite {sqlite3.sqlite_version}: STRICT tables need 3.37"
        return Finding("versions", FAIL, found, "make PYTHON=… with a Python that brings a newer SQLite")
    return Finding("versions", OK, "supported")
