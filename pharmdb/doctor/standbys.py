"""A PostgreSQL standby: whether it receives and replays what its primary writes, and how far behind it is."""

from __future__ import annotations

from pharmdb.doctor import remedies, results
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding

# Seconds that a standby may be behind.
BEHIND = 60

# The primary's end of the log is visible to superusers and to members of pg_read_all_stats only.
_STATE = """
    SELECT pg_is_wal_replay_paused(), EXISTS (SELECT FROM pg_stat_wal_receiver),
           greatest(0, pg_wal_lsn_diff(greatest(pg_last_wal_receive_lsn(),
                                                (SELECT latest_end_lsn FROM pg_stat_wal_receiver)),
                                       pg_last_wal_replay_lsn())),
           extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
"""


def look(context: Context) -> Finding | None:
    """The finding of the check `replica`; None if the database is no standby."""
    ask = context.connection.exec_driver_sql
    if not ask("SELECT pg_is_in_recovery()").scalar_one():
        return None
    paused, receives, behind, age = ask(_STATE).one()
    # After a start nothing may have been replayed yet.
    since = "" if age is None else f", the last transaction that it replayed is {age:.0f} seconds old"
    found = f"a standby, {behind or 0:.0f} bytes behind what it has received{since}"
    if paused:
        resume = remedies.sql_command(context.target, "SELECT pg_wal_replay_resume()")
        return Finding("replica", results.WARN, f"{found}; its replay is paused", resume)
    if not receives:
        note = "start its primary, or correct primary_conninfo"
        return Finding("replica", results.WARN, f"{found}; it receives nothing from its primary", note=note)
    if behind and age is not None and age > BEHIND:
        note = "wait, or give it a faster disk; run commands that write on its primary"
        return Finding("replica", results.WARN, found, note=note)
    return Finding("replica", results.OK, f"{found}; run commands that write on its primary")
