"""The time zone of a PostgreSQL database: UTC for every session, if pharmdb has the right to set it.

The application's driver writes times without a time zone, so a session in another time zone would shift them.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

# The names in PostgreSQL's list of time zones that always mean UTC.
_UTC = {"utc", "etc/utc", "gmt", "etc/gmt", "uct", "etc/uct", "zulu", "etc/zulu", "universal", "etc/universal"}


class Setting(NamedTuple):
    """A time zone setting, and the statement that sets it to UTC. `role` is "" for the setting of the database."""

    role: str
    zone: str
    statement: str


def is_utc(zone: str) -> bool:
    return zone.lower() in _UTC


def settings(connection: Connection) -> list[Setting]:
    """First the setting of the database, with zone "" if it has none, then those of roles, by name."""
    (database,) = connection.exec_driver_sql("SELECT quote_ident(current_database())").one()
    rows = list(connection.exec_driver_sql(_SETTINGS))
    (own,) = [zone for role, _, zone in rows if not role] or [""]
    found = [Setting("", own, f"ALTER DATABASE {database} SET timezone TO 'UTC'")]
    for role, here, zone in rows:
        if role:
            place = f" IN DATABASE {database}" if here else ""
            found.append(Setting(role, zone, f"ALTER ROLE {role}{place} SET timezone TO 'UTC'"))
    return found


# A role's setting for this database follows its setting for all databases, and overrides it.
_SETTINGS = """
    SELECT coalesce(quote_ident(rolname), ''), setdatabase <> 0, split_part(setting, '=', 2)
      FROM pg_db_role_setting
     CROSS JOIN unnest(setconfig) AS setting
      LEFT JOIN pg_roles ON pg_roles.oid = setrole
     WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
       AND lower(split_part(setting, '=', 1)) = 'timezone' AND (setdatabase <> 0 OR setrole <> 0)
     ORDER BY 1, 2
"""


def use_utc(connection: Connection) -> None:
    """Sets the database's time zone to UTC for all later sessions, in the caller's transaction.

    Does nothing if it is UTC already, or if the role is not an owner of the database.
    """
    own = settings(connection)[0]
    if not is_utc(own.zone) and connection.exec_driver_sql(_MAY).scalar_one():
        connection.exec_driver_sql(own.statement.replace("%", "%%"))


_MAY = "SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()"
