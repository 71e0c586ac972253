"""Staged changes that would leave no administrator."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pharmdb.accounts import administrators
from pharmdb.models import User
from pharmdb.studio_app import values
from pharmdb.studio_app.catalogue import Catalogue
from pharmdb.studio_app.changes import Change, Problem
from pharmdb.studio_app.statement_log import Session


def locked(session: Session, tables: Catalogue, changes: Sequence[Change]) -> list[str]:
    """The addresses of the administrators, who are locked if a change takes an account or a role away; otherwise []."""
    own = [change for change in changes if change.table == User.__tablename__]
    if not any(_takes(change) for change in own) or not administrators.are_kept(session.connection):
        return []
    keys = [change.key[0] for change in own if tables[change.table].key == ("id",) and len(change.key) == 1]
    # PostgreSQL's keys are texts. One that is no number reaches no row.
    ids = [str(values.from_wire(key)) for key in keys]
    return administrators.locked(session.connection, [int(text) for text in ids if re.fullmatch(r"-?\d+", text)])


def problems(
    session: Session,
    tables: Catalogue,
    changes: Sequence[Change],
    found: Mapping[int, Sequence[Any]],
    before: Sequence[str],
) -> list[Problem]:
    """What is wrong if the changes, which were applied, left none of the administrators that were there `before`.

    `found`: change -> the row as it was.
    """
    if not before or administrators.listed(session.connection):
        return []
    role = list(tables[User.__tablename__].columns).index("role")
    sentence = f"{administrators.sentence(before)}: {administrators.NEXT}"
    return [
        Problem(change.id, "role" if change.kind == "update" else "", "violation", sentence)
        for change in changes
        if change.table == User.__tablename__ and _takes(change) and found[change.id][role] == administrators.ROLE
    ]


def _takes(change: Change) -> bool:
    return change.kind == "delete" or (change.kind == "update" and "role" in change.values)
