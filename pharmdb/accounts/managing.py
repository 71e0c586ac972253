"""The account command: shows an account, changes its role or password, or deletes it with everything it owns."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, update

from pharmdb import reports
from pharmdb.accounts import administrators, lookup, new_passwords
from pharmdb.accounts.lookup import Account
from pharmdb.arguments import checked
from pharmdb.backups import manifests, taking
from pharmdb.database import environments, locks, servers, targets, transactions
from pharmdb.errors import ParameterError, PharmdbError, ProtectedError
from pharmdb.learning.attempts import delete_user
from pharmdb.models import MODELS, User
from pharmdb.schema import cascades, revisions
from pharmdb.seeding import passwords

if TYPE_CHECKING:
    import pandas as pd

ROLES = {"promote": administrators.ROLE, "demote": "USER"}
ACTIONS = ("show", *ROLES, "set-password", "delete")


@dataclass(frozen=True)
class AccountReport:
    """What was shown or changed.

    `accounts`: the account as it is now, or was before it was deleted; without an address all accounts (the first
    1,000), administrators first. id (int64), email, role, language (missing without settings), created_at
    (datetime64[us, UTC], whole seconds), password (bcrypt, argon2, barred or unknown: the application verifies bcrypt).
    `owned`: table, column (str), rows (int64), on_delete: the account's rows, which a deletion takes along or took.
    `backup`: the backup taken before a deletion, or None.
    """

    target: str
    action: str
    found: tuple[Account, ...] = field(repr=False)
    effects: tuple[cascades.Cascade, ...] = field(repr=False)
    changed: str
    backup: manifests.Backup | None = None
    next: str = ""

    @property
    def accounts(self) -> pd.DataFrame:
        return lookup.frame(self.found)

    @property
    def owned(self) -> pd.DataFrame:
        rows = [(effect.table, effect.column, effect.rows, effect.on_delete) for effect in self.effects]
        return reports.table(rows, {"table": "str", "column": "str", "rows": "int64", "on_delete": "str"})

    @property
    def way_back(self) -> str:
        """The command that restores the database as it was before a deletion; "" without a backup."""
        return manifests.way_back(self.target, self.backup)

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok (bool), changed, next (str)."""
        row = (True, self.changed, targets.command(self.target, self.next))
        return reports.table([row], {"ok": "bool", "changed": "str", "next": "str"})


@checked
def manage_account(
    database_url: str = "", *, user_email: str = "", action: str = "show", confirm: str = "", backup: bool = True
) -> AccountReport:
    """Shows, promotes, demotes or deletes an account, or sets its password; without an address it lists the accounts.

    `action` is show, promote, demote, set-password or delete. A new password comes from PHARMDB_NEW_PASSWORD or a
    prompt. `confirm` is the database's name; it is required to delete, and to change anything in production. The
    database is backed up before a deletion, unless `backup` is False; nobody else can write between the two. An account
    that already has the role is left alone. The address is trimmed and put in lower case, as the application stores it.

    Raises ParameterError for an unknown account or action and for an unfit password, ProtectedError if the last
    administrator would go or a required `confirm` is missing, BackupError, RevisionError, LockedError,
    UnavailableError; the database is then unchanged.
    """
    target = targets.target(database_url)
    email = str(user_email).strip().lower()
    _require_known(target, email, action)
    if action == "show":
        with transactions.reading(target) as connection:
            revisions.require_head(connection, target)
            return _shown(connection, target, email)
    hashed = ""
    if action == "set-password":
        with transactions.reading(target) as connection:
            revisions.require_head(connection, target)
            # Nobody should type a password for an account that is not there.
            _admitted(connection, target, email, action, confirm)
        command = targets.command(target, lookup.command(email, action, confirm))
        # Before the lock is taken: people and hashing are slow.
        hashed = passwords.hash_password(new_passwords.new_password(email, command))
    with transactions.writing(target) as connection:
        # Seeds, resets and other calls of this wait until the commit.
        locks.take_advisory_lock(connection)
        revisions.require_head(connection, target)
        if action == "delete" and backup:
            locks.lock_tables(connection)
        remaining = administrators.locked(connection, email=email)
        account = _admitted(connection, target, email, action, confirm)
        if remaining == [account.email] and action in ("demote", "delete"):
            raise administrators.refusal(target, remaining)
        if action == "delete":
            return _deleted(connection, target, account, backup)
        return _changed(connection, target, account, action, hashed)


def _require_known(target: targets.Target, email: str, action: str) -> None:
    if action not in ACTIONS:
        raise ParameterError(
            expected=f"action to be one of {', '.join(ACTIONS)}",
            found=f"action={action!r}",
            command=targets.command(target, lookup.command(email) if email else "pharmdb account"),
        )
    if action != "show" and not email:
        raise ParameterError(
            expected=f"user_email, the account to {action.replace('-', ' ')}",
            found="no user_email",
            command=targets.command(target, "pharmdb account"),
            note="it lists the accounts",
        )


def _admitted(connection: Connection, target: targets.Target, email: str, action: str, confirm: str) -> Account:
    """The account. Raises ParameterError if there is none, ProtectedError if a required `confirm` is missing."""
    account = lookup.find(connection, target, email)
    name = servers.server_name(connection, target)
    reason = "a production database" if environments.environment(connection) == "production" else ""
    if action == "delete":
        owned = ", ".join(f"{effect.rows} of {effect.table}" for effect in _effects(connection, account))
        reason = f"{reason and reason + ', and '}an account with rows of other tables: {owned or 'none'}"
    # A wrong name is never ignored: the caller meant another database.
    if (reason or confirm) and str(confirm) != name:
        raise ProtectedError(
            expected=f"confirm={name}, to {action.replace('-', ' ')} {email}",
            found=f"{reason or 'a database that needs no confirm'}; confirm={confirm!r}",
            command=targets.command(target, lookup.command(email, action, name)),
        )
    return account


def _effects(connection: Connection, account: Account) -> list[cascades.Cascade]:
    def count(statement: cascades.Count) -> int:
        return connection.scalar(statement) or 0

    children = cascades.children(connection)
    found = cascades.effects(count, children, User.__tablename__, column("id") == account.id)
    order = [model.__tablename__ for model in MODELS]
    # Tables of other programs come last.
    return sorted(found, key=lambda effect: order.index(effect.table) if effect.table in order else len(order))


def _shown(connection: Connection, target: targets.Target, email: str) -> AccountReport:
    nothing = "nothing, read-only"
    if not email:
        found = lookup.listed(connection)
        next_ = lookup.command(found[0].email) if found else "pharmdb seed"
        return AccountReport(str(target), "show", tuple(found), (), nothing, next=next_)
    account = lookup.find(connection, target, email)
    next_ = f"pharmdb inspect --user-email {shlex.quote(email)}"
    if account.password != "bcrypt":
        next_ = lookup.command(email, "set-password")
    effects = tuple(_effects(connection, account))
    return AccountReport(str(target), "show", (account,), effects, nothing, next=next_)


def _changed(
    connection: Connection, target: targets.Target, account: Account, action: str, hashed: str
) -> AccountReport:
    role = ROLES.get(action)
    if role == account.role:
        changed = f"nothing: {account.email} is {role} already"
    else:
        new = {User.role: role} if role else {User.password_hash: hashed}
        _require_one(connection.execute(update(User).where(User.id == account.id).values(new)).rowcount, account)
        changed = f"{account.email} is {role} now" if role else f"the password of {account.email} was set"
    now = lookup.find(connection, target, account.email)
    effects = tuple(_effects(connection, now))
    return AccountReport(str(target), action, (now,), effects, changed, next=lookup.command(account.email))


def _deleted(connection: Connection, target: targets.Target, account: Account, backup: bool) -> AccountReport:
    effects = tuple(_effects(connection, account))
    if kept := [effect for effect in effects if effect.on_delete in ("NO ACTION", "RESTRICT")]:
        raise ProtectedError(
            expected=f"only rows that are deleted together with {account.email}",
            found=", ".join(f"{each.rows} of {each.table}, ON DELETE {each.on_delete}" for each in kept),
            note="delete these rows first",
        )
    taken = taking.take(connection, target) if backup else None
    _require_one(delete_user(connection, account.id), account)
    went = sum(effect.rows for effect in effects if effect.on_delete == "CASCADE")
    changed = f"{account.email} was deleted, with {went} rows of other tables"
    return AccountReport(str(target), "delete", (account,), effects, changed, taken, "pharmdb account")


def _require_one(rows: int, account: Account) -> None:
    """A trigger or a rule of somebody else's may prevent a change without an error."""
    if rows != 1:
        raise PharmdbError(
            expected=f"one change, of {account.email}",
            found=f"{int(rows)} rows changed",
            unchanged="everything was rolled back",
            note="look for a trigger or a rule on users that prevents it",
        )
