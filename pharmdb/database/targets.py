"""Targets: the database that a command works on, made from a URL; their text never contains a password."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import (
    exc,
    make_url,
)
from sqlalchemy.engine import URL

from pharmdb import settings
from pharmdb.database import dialect, prisma_urls
from pharmdb.errors import ParameterError, is_secret_name, mask

DEFAULT_URL = "sqlite:///data/pharm.db"


# The variables for a URL with a password, instead of a parameter.
SECRET_VARIABLES = {"database_url": "PHARMDB_URL", "source": "PHARMDB_SOURCE"}


@dataclass(frozen=True)
class Target:
    """The database that a command works on. Its text never contains a password."""

    url: URL

    @cached_property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @cached_property
    def dialect(self) -> dialect.Dialect:
        """The dialect of this database."""
        return dialect.named(self.url.get_backend_name())

    @cached_property
    def path(self) -> Path:
        """The SQLite file. A relative path is relative to settings.home(), not to the working directory."""
        return settings.home() / str(self.url.database)

    @property
    def in_own_folder(self) -> bool:
        """Whether the SQLite file is in pharmdb's own data folder, which is created on demand."""
        return self.is_sqlite and self.path.parent == settings.home() / "data"

    @property
    def name(self) -> str:
        """The database's name, as `confirm` expects it: the file name on SQLite."""
        return self.path.name if self.is_sqlite else str(self.url.database or self.url.query.get("dbname", "?"))

    @property
    def identity(self) -> str:
        """Identifies the database, independent of the user who connects to it."""
        if self.is_sqlite:
            return str(self)
        host = self.url.host or self.url.query.get("host") or self.url.query.get("service") or ""
        return f"postgresql://{host}:{self.url.port or 5432}/{self.name}"

    def __str__(self) -> str:
        if self.is_sqlite:
            path = self.path.relative_to(home) if self.path.is_relative_to(home := settings.home()) else self.path
            # A path that contains %20 is escaped, so that the URL can be used as it is printed.
            return "sqlite:///" + re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", str(path))
        query = {key: value for key, value in self.url.query.items() if not _is_secret((key, value))}
        shown = URL.create(
            "postgresql", self.url.username, None, self.url.host, self.url.port, self.url.database, query
        )
        return shown.render_as_string()

    __repr__ = __str__


def of_file(path: Path | str) -> Target:
    """The SQLite database in a file. A relative path is relative to settings.home()."""
    return Target(URL.create("sqlite", database=str(path)))


def command(addressed: Target | str, text: str) -> str:
    """A pharmdb command that can be run as it is: with --database-url, unless PHARMDB_URL is the target."""
    try:
        own = str(target()) == str(addressed)
    except ParameterError:
        own = False
    return text if own else f"{text} --database-url {shlex.quote(str(addressed))}"


def libpq_url(target: Target, name: str = "") -> str:
    """The URL for psql and similar programs, quoted for a shell, without the password: they prompt for it."""
    old = target.url
    query = {
        key: value
        for key, value in old.query.items()
        if not _is_secret((key, value)) and not (name and key == "dbname")
    }
    url = URL.create("postgresql", old.username, None, old.host, old.port, name or old.database, query)
    return shlex.quote(url.render_as_string().replace(" ", "%20"))


def target(database_url: str = "") -> Target:
    """The database to work on: the parameter, else PHARMDB_URL, else the default file.

    Raises ParameterError for a URL that can't be used, and for a parameter that holds a password: parameters are
    written into run files.
    """
    name = "database_url" if database_url else "PHARMDB_URL"
    return named(name, database_url or os.environ.get("PHARMDB_URL") or DEFAULT_URL, secret=not database_url)


def named(source: str, text: str, *, secret: bool) -> Target:
    """The database of a URL, also of Prisma's.

    `source` names the parameter or variable, `secret` says whether it may hold a password. Raises ParameterError for an
    invalid URL.
    """
    expected = "a URL like sqlite:///data/pharm.db or postgresql://user@host/database"
    if not isinstance(text, str):
        raise ParameterError(expected=expected, found=f"{source} of type {type(text).__name__}", note="pass a string")
    text = prisma_urls.scheme(text)
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (exc.ArgumentError, ValueError):
        # The text is not shown: it may contain a password where the mask does not find it.
        raise ParameterError(
            expected=expected, found=f"{source} is not a URL ({len(text)} characters)", note=f"correct {source}"
        ) from None
    if backend == "sqlite":
        _check_sqlite_url(url, text, source)
        return Target(url.set(drivername="sqlite"))
    if backend != "postgresql" or url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ParameterError(
            expected=expected, found=f"{source} with the scheme {url.drivername!r}", note=f"correct {source}"
        )
    # Otherwise a part of the password would be shown, or looked up as a host.
    before, at, _ = text.partition("://")[2].rpartition("@")
    if re.search("[@?]", before) or (at and url.username is None):
        raise ParameterError(
            expected=expected,
            found=f"{source} with an @, / or ? that is not escaped",
            note=f"write @ as %40, / as %2F and ? as %3F in {source}",
        )
    if not secret and (url.password is not None or any(map(_is_secret, url.query.items()))):
        variable = SECRET_VARIABLES[source]
        raise ParameterError(
            expected=f"a {source} without a password: parameters are written into the run file",
            found=f"a {source} with a password",
            command=f"read -rs {variable} && export {variable}",
            note="paste the whole URL, which is not shown; or use a PostgreSQL passfile (~/.pgpass) or service",
        )
    url = prisma_urls.without_prisma(url)
    _check_options(url, source)
    return Target(url.set(drivername="postgresql+psycopg"))


def _is_secret(parameter: tuple[str, Any]) -> bool:
    name, value = parameter
    return is_secret_name(name) or mask(str(value)) != str(value)


def _check_options(url: URL, source: str) -> None:
    from psycopg import pq

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if unknown := sorted(url.query.keys() - known):
        # With a password among them, an unknown name may be a part of it.
        shown = "" if any(map(_is_secret, url.query.items())) else ": " + ", ".join(unknown)
        raise ParameterError(
            expected=f"parameters of libpq or Prisma in {source}",
            found=f"{len(unknown)} other(s){shown}",
            note="correct their names; an & in a value is written as %26",
        )


def _check_sqlite_url(url: URL, text: str, source: str) -> None:
    database = url.database or ""
    odd = database in ("", ":memory:") or database.startswith("file:") or "\0" in database
    # sqlite://data/x.db has a host, and what?.db has a query: both would silently refer to another file.
    if odd or url.host or url.username or "?" in text:
        shown = f"{len(text)} characters" if "@" in text else repr(url.render_as_string())
        raise ParameterError(
            expected="the path of a file, as in sqlite:///data/pharm.db (relative to the project) or sqlite:////tmp/x.db",
            found=f"{source} = {shown}",
            note=f"correct {source}",
        )
