"""Lock holders: the processes that have the SQLite file open, the sessions that hold locks in PostgreSQL."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from pharmdb import settings
from pharmdb.database import engines, placements, targets
from pharmdb.errors import LockedError, is_secret_name, mask

_SESSIONS = """
    SELECT activity.pid, usename, application_name, state, left(query, 120) AS query,
           coalesce(xact_start, backend_start) AS since
      FROM pg_stat_activity AS activity
      JOIN pg_locks ON pg_locks.pid = activity.pid AND granted
      LEFT JOIN pg_class ON pg_class.oid = relation
     WHERE datname = current_database() AND activity.pid <> pg_backend_pid()
       AND (locktype = 'advisory' OR relnamespace = quote_ident(current_schema())::regnamespace)
     GROUP BY activity.pid, usename, application_name, state, query, since
     ORDER BY bool_and(mode IN ('AccessShareLock', 'RowShareLock')), since
"""

# Of sessions that are connected to another node of a Citus cluster itself. The coordinator has locks of its own for all
# that goes through it, and its pg_terminate_backend takes global process ids.
_ON_NODES = """
    SELECT global_pid AS pid, usename || ' on ' || nodename || ':' || nodeport AS usename, application_name, state,
           left(query, 120) AS query, coalesce(xact_start, backend_start) AS since
      FROM citus_stat_activity JOIN pg_dist_node USING (nodeid)
     WHERE datname = current_database() AND NOT is_worker_query AND backend_type = 'client backend'
       AND groupid <> (SELECT groupid FROM pg_dist_local_group)
       AND global_pid IN (SELECT global_pid FROM citus_locks
                           WHERE granted AND mode NOT IN ('AccessShareLock', 'RowShareLock') AND locktype = 'relation')
     ORDER BY since
"""

_PREPARED = "SELECT gid, owner, prepared FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared"


@dataclass(frozen=True)
class Holder:
    """A process or session: its process ID, who runs it, what it does, and since when (UTC).

    A prepared transaction has its identifier instead of a process.
    """

    pid: int
    who: str
    what: str
    since: datetime
    prepared: str = ""

    def __str__(self) -> str:
        name = f"prepared transaction {self.prepared}" if self.prepared else f"pid {self.pid}"
        return mask(f"{name} ({self.who}: {self.what}) since {self.since:%Y-%m-%d %H:%M:%S} UTC")


def holders(target: targets.Target) -> list[Holder]:
    """The other possible lock holders: writers first, then the oldest; empty if they can't be determined."""
    found = {"sqlite": _processes, "postgresql": _sessions}
    return found[target.dialect.name](target)


def _sessions(target: targets.Target) -> list[Holder]:
    try:
        with engines.engine_of(target, write=False).connect() as connection:
            prepared = [
                Holder(0, row.owner, "waits for COMMIT PREPARED", row.prepared.astimezone(UTC), row.gid)
                for row in connection.exec_driver_sql(_PREPARED)
            ]
            sessions = list(connection.exec_driver_sql(_SESSIONS))
            if placements.has_citus(connection):
                sessions += connection.exec_driver_sql(_ON_NODES)
            return prepared + [
                Holder(row.pid, f"{row.usename}, {row.application_name or 'no name'}", f"{row.state}: {query}", since)
                for row in sessions
                for query, since in [(_without_values(row.query or ""), row.since.astimezone(UTC))]
            ]
    except DBAPIError:
        return []


def locked_error(target: targets.Target, what: str) -> LockedError:
    """The error for a lock (`what`) that was not acquired in time; it names the lock holders."""
    who = holders(target)
    end = "COMMIT PREPARED or ROLLBACK PREPARED ends it: " if who and who[0].prepared else ""
    return LockedError(
        expected=f"{what} within {settings.lock_timeout():g} s",
        found="held by " + ("; ".join(map(str, who)) or "a process that is not visible here or has just ended"),
        note=f"{end}wait for it or stop it, then run the same command again",
    )


def _without_values(query: str) -> str:
    """The query up to its first literal or comment, which may contain a password: only the server knows where it ends.

    The value of a setting needs no quotes.
    """
    query = " ".join(query.split())
    shown = re.match(r"set (?:session |local )?[^\s='$-]+|(?:(?!'|\$(?!\d)|--|/\*).)*", query, re.IGNORECASE)
    assert shown is not None
    return query if shown[0] == query else f"{shown[0].rstrip()} …"


def _without_secrets(arguments: list[str]) -> str:
    """The command line without code (`-c`), secret options and passwords in URLs, argument by argument."""
    shown: list[str] = []
    for before, argument in pairwise(["", *arguments]):
        hidden = before == "-c" or bool(re.match(r"--?(?!no-)[^=]*$", before) and is_secret_name(before))
        shown.append("…" if hidden else mask(argument))
    return " ".join(shown)


def _processes(target: targets.Target) -> list[Holder]:
    import psutil

    names = {str(target.path.resolve()) + end for end in ("", "-wal", "-shm", "-journal")}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or not names & {file.path for file in process.open_files()}:
                continue
            since = datetime.fromtimestamp(process.create_time(), UTC)
            found.append(Holder(process.pid, process.username(), _without_secrets(process.cmdline())[:120], since))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            # It has ended, or belongs to another user, whose open files are not visible.
            continue
    writers = _writers(names)
    return sorted(found, key=lambda holder: (holder.pid not in writers, holder.since))


def _writers(names: set[str]) -> set[int]:
    """The process IDs that have a write lock on one of these files, from Linux's /proc; empty on other systems."""
    try:
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return set()
    inodes = {str(os.stat(name).st_ino) for name in names if os.path.exists(name)}
    return {int(lock[4]) for lock in locks if lock[3] == "WRITE" and lock[5].rpartition(":")[2] in inodes}
