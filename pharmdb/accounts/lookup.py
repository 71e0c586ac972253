"""Accounts by their e-mail address, and the list of them."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, select

from pharmdb import reports
from pharmdb.database import targets
from pharmdb.errors import ParameterError
from pharmdb.models import User, UserSettings
from pharmdb.seeding import passwords

if TYPE_CHECKING:
    import pandas as pd

# The most accounts that are listed, and the most that are compared with a mistyped address.
LISTED = 1_000
_COMPARED = 5_000


class Account(NamedTuple):
    """An account, with the kind of its password hash (`passwords.kind`) in place of the hash."""

    id: int
    email: str
    role: str
    # None without a row of settings.
    language: str | None
    created_at: datetime
    password: str


def command(email: str, action: str = "", confirm: str = "") -> str:
    """The `pharmdb account` command for an account, without the database."""
    options = (("--user-email", email), ("--action", action), ("--confirm", confirm))
    return " ".join(("pharmdb account", *(f"{name} {shlex.quote(value)}" for name, value in options if value)))


_ACCOUNTS = select(User.id, User.email, User.role, UserSettings.language, User.created_at, User.password_hash).join(
    UserSettings, UserSettings.user_id == User.id, isouter=True
)


def find(connection: Connection, target: targets.Target, email: str) -> Account:
    """The account with this address. Raises ParameterError, with similar addresses, if there is none."""
    row = connection.execute(_ACCOUNTS.where(User.email == email)).first()
    if row is not None:
        return _account(*row)
    near = _similar(connection, email)
    raise ParameterError(
        expected=f"the e-mail address of an account in {target}",
        found=f"no account {email!r}" + (f"; similar: {', '.join(near)}" if near else ""),
        command=targets.command(target, command(near[0]) if near else "pharmdb account"),
        note="" if near else "it lists the accounts, administrators first",
    )


def listed(connection: Connection) -> list[Account]:
    """The first accounts by role, administrators first, and address."""
    statement = _ACCOUNTS.order_by(User.role, User.email).limit(LISTED)
    return [_account(*row) for row in connection.execute(statement)]


def frame(accounts: Sequence[Account]) -> pd.DataFrame:
    """id (int64), email, role, language (str), created_at (datetime64[us, UTC], whole seconds), password (str)."""
    columns = dict.fromkeys(Account._fields, "str") | {"id": "int64", "created_at": "datetime64[us, UTC]"}
    data = reports.table([tuple(account) for account in accounts], columns)
    return data.assign(created_at=data["created_at"].dt.floor("s"))


def _account(id: int, email: str, role: str, language: str | None, created_at: datetime, hashed: str) -> Account:
    return Account(id, email, role, language, created_at, passwords.kind(hashed))


def _similar(connection: Connection, email: str) -> list[str]:
    """Addresses that look like a mistyped one: those with the same beginning, so that an index finds them."""
    statement = select(User.email).where(User.email.startswith(email[:2], autoescape=True)).limit(_COMPARED)
    return difflib.get_close_matches(email, connection.scalars(statement).all(), cutoff=0.75)
