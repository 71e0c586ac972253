"""What goes with schema.prisma in the application: lib/prisma.ts, the environment, the packages."""

from __future__ import annotations

import re
from urllib.parse import unquote

from pharmdb.database.targets import Target
from pharmdb.errors import ParameterError

ADAPTERS = {"sqlite": "@prisma/adapter-better-sqlite3", "postgresql": "@prisma/adapter-pg"}

# Prisma 7 spells one of its classes in another way.
_CLASSES = {("sqlite", 6): "PrismaBetterSQLite3", ("sqlite", 7): "PrismaBetterSqlite3"}

# Times in the one form that the database takes; sessions in UTC, because the adapter writes times without their zone.
_ADAPTER = {
    "sqlite": """{name}(
  {{ url: process.env.DATABASE_URL! }},
  {{ timestampFormat: "iso8601" }},
);""",
    "postgresql": """{name}({{
  connectionString: process.env.DATABASE_URL!,
  options: "-c TimeZone=UTC",
}});""",
}

_MODULE = """\
import {{ {name} }} from "{package}";
import {{ PrismaClient }} from "@prisma/client";

const adapter = new {adapter}

const globalForPrisma = globalThis as unknown as {{ prisma?: PrismaClient }};

export const prisma = globalForPrisma.prisma ?? new PrismaClient({{ adapter }});

if (process.env.NODE_ENV !== "production") globalForPrisma.prisma = prisma;
"""


def module(provider: str, version: int) -> str:
    """lib/prisma.ts for `sqlite` or `postgresql`, and Prisma 6 or 7."""
    name = _CLASSES.get((provider, version), "PrismaPg")
    return _MODULE.format(name=name, package=ADAPTERS[provider], adapter=_ADAPTER[provider].format(name=name))


# What the adapter's driver leaves encoded in a database's name.
_RESERVED = re.compile("%(?:24|26|2B|2C|2F|3A|3B|3D|40)")
# Next.js replaces $NAME, also in quotes; Node and dotenv leave it alone, and \$ too.
_EXPANDED = "# A program that replaces $NAME in this file, as Next.js does, needs \\$ for each $.\n"


def environment(target: Target) -> str:
    """The line of .env that names the database, as Prisma writes URLs; never a password.

    Node and dotenv read the same URL from it. Raises ParameterError for a path that can't be quoted in .env.
    """
    url = f"file:{target.path}" if target.is_sqlite else _postgresql(target)
    return f"{_EXPANDED if '$' in url else ''}DATABASE_URL={_quoted(url)}\n"


def _postgresql(target: Target) -> str:
    # With a blank in it, the driver would encode the whole URL once more.
    place, question, query = str(target).replace(" ", "%20").partition("?")
    if not target.url.database:
        return f"{place}{question}{query}"
    server, slash, name = place.rpartition("/")
    name = _RESERVED.sub(lambda found: unquote(found[0]), name)
    return f"{server}{slash}{name}{question}{query}"


def _quoted(value: str) -> str:
    # Between double quotes \n is a line break, and no quotes can be escaped.
    if not set('"\\') & set(value):
        return f'"{value}"'
    for quote in "'`":
        if quote not in value:
            return f"{quote}{value}{quote}"
    if set("#\r\n") & set(value) or value != value.strip():
        raise ParameterError(
            expected="a path that .env can hold",
            found=repr(value),
            note="rename the folder or the file: no quotes are left to put around it",
        )
    return value


def packages(provider: str, version: int) -> str:
    """The commands that install what the application needs."""
    needed = f"npm install @prisma/client@{version} {ADAPTERS[provider]}@{version}"
    return f"{needed}\nnpm install --save-dev prisma@{version}\n"
