"""What goes with schema.prisma in the application: lib/prisma.ts, the environment, the packages."""

from __future__ import annotations

from pharmdb.database.targets import Target

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


def environment(target: Target) -> str:
    """The line of .env that names the database, as Prisma writes URLs; never a password."""
    url = f"file:{target.path}" if target.is_sqlite else str(target)
    return f'DATABASE_URL="{url}"\n'


def packages(provider: str, version: int) -> str:
    """The commands that install what the application needs."""
    needed = f"npm install @prisma/client@{version} {ADAPTERS[provider]}@{version}"
    return f"{needed}\nnpm install --save-dev prisma@{version}\n"
