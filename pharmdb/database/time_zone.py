"""The time zone of a PostgreSQL database: UTC for everybody, where pharmdb may say so.

The application's driver writes times without their zone: in a session of another zone they would be other times.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

# As PostgreSQL's own list of zones spells those that are always UTC.
_UTC = {"utc", "etc/utc", "gmt", "etc/gmt", "uct", "etc/uct", "zulu", "etc/zulu", "universal", "etc/universal"}


class Setting(NamedTuple):
    """What was set, for whom, and the statement that sets it to UTC. `role` is "" for everybody in the database."""

    role: str
    zone: str
    statement: str


def is_utc(zone: str) -> bool:
    return zone.lower() in _UTC


def settings(connection: Connection) -> list[Setting]:
    """The database's own setting, first, with zone "" where it has none; then those of roles, by name."""
    (database,) = connection.exec_driver_sql("SELECT quote_ident(current_database())").one()
    rows = list(connection.exec_driver_sql(_SETTINGS))
    (own,) = [zone for role, _, zone in rows if not role] or [""]
    found = [Setting("", own, f"ALTER DATABASE {database} SET timezone TO 'UTC'")]
    for role, here, zone in rows:
        if role:
            place = f" IN DATABASE {database}" if here else ""
            found.append(Setting(role, zone, f"ALTER ROLE {role}{place} SET timezone TO 'UTC'"))
    return found


# A role's setting for this database comes after the one that it has everywhere, and is the stronger one.
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
    """Sets the database's time zone for every later session, inside the caller's transaction.

    Nothing happens where it is set already, or where the role is no owner of the database.
    """
    own = settings(connection)[0]
    if not is_utc(own.zone) and connection.exec_driver_sql(_MAY).scalar_one():
        connection.exec_driver_sql(own.statement.replace("%", "%%"))


_MAY = "SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()"
