"""URLs as Prisma writes them, in each place where a URL is given."""

from __future__ import annotations

import warnings

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url
from support.databases import Databases, dsn

from pharmdb import settings
from pharmdb.backups import postgresql_dumps
from pharmdb.database import targets, transactions
from pharmdb.errors import ParameterError
from pharmdb.legacy import sources

HOST = "postgres://ann@host/db"
TRANSLATED: list[tuple[str, dict[str, str]]] = [
    ("", {}),
    ("schema=app", {"options": '-csearch_path="app"'}),
    ("options=-c%20work_mem=8MB&schema=app", {"options": '-c work_mem=8MB -csearch_path="app"'}),
    ("connection_limit=1&pool_timeout=2&socket_timeout=3&pgbouncer=true&statement_cache_size=0", {}),
    ("max_connection_lifetime=1&max_idle_connection_lifetime=2&single_use_connections=true", {}),
    ("sslmode=no-verify&sslrootcert=ca.pem", {"sslmode": "require"}),
    ("sslmode=require&sslrootcert=ca.pem", {"sslmode": "require", "sslrootcert": "ca.pem"}),
    ("sslmode=require&sslaccept=accept_invalid_certs&sslcert=ca.pem", {"sslmode": "require"}),
    ("sslaccept=strict&sslcert=ca.pem", {"sslmode": "verify-full", "sslrootcert": "ca.pem"}),
    ("sslmode=require&sslaccept=strict", {"sslmode": "verify-full", "sslrootcert": "system"}),
    ("sslcert=c.pem&sslkey=k.pem&connection_limit=1", {"sslcert": "c.pem", "sslkey": "k.pem"}),
    ("sslcert=c.pem", {"sslcert": "c.pem"}),
    ("connect_timeout=5&application_name=x", {"connect_timeout": "5", "application_name": "x"}),
]


def target_of(monkeypatch: pytest.MonkeyPatch, place: str, url: str) -> targets.Target:
    """The target of a URL in one of the places where it may be given."""
    if place.isupper():
        monkeypatch.setenv(place, url)
        url = ""
    return targets.target(url) if place in ("database_url", "PHARMDB_URL") else sources.source_target(url)


PLACES = pytest.mark.parametrize("place", ["database_url", "PHARMDB_URL", "source", "PHARMDB_SOURCE"])


@PLACES
@pytest.mark.parametrize(("query", "expected"), TRANSLATED)
def test_parameters_of_prisma_are_translated_or_dropped(
    monkeypatch: pytest.MonkeyPatch, place: str, query: str, expected: dict[str, str]
) -> None:
    target = target_of(monkeypatch, place, f"{HOST}?{query}")
    assert (target.url.drivername, dict(target.url.query)) == ("postgresql+psycopg", expected)
    # A printed URL means the same database again.
    assert targets.target(str(target)) == target


def test_a_client_certificate_that_libpq_can_not_read_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings(record=True) as told:
        target = target_of(monkeypatch, "PHARMDB_URL", f"{HOST}?sslidentity=id.p12&sslpassword=canary&sslmode=require")
    assert len(told) == 1
    assert "canary" not in str(told[0].message)
    assert dict(target.url.query) == {"sslmode": "require"}


@PLACES
@pytest.mark.parametrize(
    ("url", "path"),
    [("file:./dev.db", "dev.db"), ("file:dev.db?connection_limit=1", "dev.db"), ("file:/a b/%20.db", "")],
)
def test_prismas_file_is_an_sqlite_file(monkeypatch: pytest.MonkeyPatch, place: str, url: str, path: str) -> None:
    target = target_of(monkeypatch, place, url)
    assert target.is_sqlite
    assert str(target.path) == (str(settings.home() / path) if path else "/a b/%20.db")


def test_a_schema_of_prisma_is_the_one_in_use(databases: Databases) -> None:
    """Whatever its name, and beside other options."""
    name = 'The "App" \\ x'
    url = make_url(databases.empty("postgresql"))
    with psycopg.connect(dsn(str(url)), autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(psycopg.sql.Identifier(name)))
    url = url.update_query_dict({"schema": name, "options": "-c work_mem=8MB"})
    with transactions.watching(targets.target(url.render_as_string())) as connection:
        found = connection.exec_driver_sql("SELECT current_schema(), current_setting('work_mem')").one()
    assert tuple(found) == (name, "8MB")


@pytest.mark.parametrize("name", ["sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"])
def test_no_secret_gets_into_the_command_line_of_pg_dump(databases: Databases, name: str) -> None:
    url = databases.empty("postgresql")
    secret = targets.Target(targets.target(url).url.update_query_dict({name: "canary"}))
    with transactions.watching(targets.target(url)) as connection, pytest.raises(ParameterError) as refused:
        postgresql_dumps.connect_arguments(connection, secret)
    assert name in refused.value.found
    assert "canary" not in f"{refused.value} {secret} {targets.libpq_url(secret)}"


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30))
def test_no_part_of_a_password_is_shown_or_looked_up(password: str) -> None:
    """Raw in a URL, a password is the password, or the URL is refused."""
    text = f"postgresql://user:{password}@host/db"
    try:
        target = targets.named("PHARMDB_URL", text, secret=True)
    except ParameterError as error:
        marked = str(error)
        assert len(password) < 4 or password not in marked
    else:
        assert (target.url.host, target.url.database, target.url.username) == ("host", "db", "user")
