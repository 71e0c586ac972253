"""The rule that an administrator remains, for all who demote or delete accounts: the command, and the studio."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Text, cast, inspect, or_, select

from pharmdb.database import targets
from pharmdb.errors import ProtectedError
from pharmdb.models import User

ROLE = "ADMIN"
NEXT = "promote another one first"
# The most administrators that a sentence names.
_NAMED = 3
# Another program may have an enum here.
_IS_ADMINISTRATOR = cast(User.role, Text) == ROLE


def are_kept(connection: Connection) -> bool:
    """Whether the database has accounts with roles: without them, there is nothing to keep."""
    view = inspect(connection)
    table, wanted = User.__tablename__, {"id", "email", "role"}
    return view.has_table(table) and wanted <= {each["name"] for each in view.get_columns(table)}


def listed(connection: Connection) -> list[str]:
    """The addresses of the administrators, in the order of their ids."""
    return list(connection.scalars(select(User.email).where(_IS_ADMINISTRATOR).order_by(User.id)))


def locked(connection: Connection, ids: Sequence[int] = (), *, email: str = "") -> list[str]:
    """Locks the administrators, and the accounts with these ids or this address, against everybody else who changes
    accounts. Returns the addresses of the administrators, in the order of their ids.

    In the order of their ids, so that two transactions never deadlock. On SQLite nobody else writes.
    """
    chosen = [_IS_ADMINISTRATOR, *([User.id.in_(ids)] if ids else ()), *([User.email == email] if email else ())]
    statement = select(User.email, _IS_ADMINISTRATOR).where(or_(*chosen)).order_by(User.id).with_for_update()
    return [found for found, is_administrator in connection.execute(statement) if is_administrator]


def sentence(emails: Sequence[str]) -> str:
    """Which administrators there are, and no other."""
    if len(emails) == 1:
        return f"{emails[0]} is the only administrator"
    named = ", ".join(emails[:_NAMED])
    others = f" and {len(emails) - _NAMED:,} more" if len(emails) > _NAMED else ""
    return f"{named}{others} are the only administrators"


def refusal(target: targets.Target, emails: Sequence[str]) -> ProtectedError:
    """The error for whoever would leave no administrator; `emails` are all that there are."""
    return ProtectedError(
        expected="another administrator to remain",
        found=sentence(emails),
        command=targets.command(target, "pharmdb account"),
        note=f"it lists the accounts: {NEXT}",
    )
