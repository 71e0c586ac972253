"""`pharmdb prisma`: the application's schema.prisma, written from the models for the database that a URL names."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pharmdb import reports, settings
from pharmdb.application import client, datamodel
from pharmdb.arguments import checked
from pharmdb.database import targets
from pharmdb.errors import ParameterError
from pharmdb.models import MODELS

if TYPE_CHECKING:
    import pandas as pd

VERSIONS = (6, 7)
FILE = "schema.prisma"


class Text(str):
    """A text that a notebook shows as it is, line by line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return self.rstrip("\n")


@dataclass(frozen=True, eq=False)
class PrismaReport:
    """Texts: `schema` (schema.prisma), `client` (lib/prisma.ts), `environment` (a line of .env), `packages` (commands).

    `models`: model, table (str), fields, relations (int64). `fields`: model, field, type, column (str). `path`: the
    file that was to be written, or None; `state`: what became of it; `next`: the next command.
    """

    target: str
    provider: str
    schema: Text
    client: Text
    environment: Text
    packages: Text
    path: Path | None
    state: str
    next: str

    @property
    def models(self) -> pd.DataFrame:
        rows = []
        for model in MODELS:
            found = datamodel.fields(model, self.provider)
            columns = sum(bool(field.column) for field in found)
            rows.append((model.__name__, model.__tablename__, columns, len(found) - columns))
        return reports.table(rows, {"model": "str", "table": "str", "fields": "int64", "relations": "int64"})

    @property
    def fields(self) -> pd.DataFrame:
        rows = [
            (model.__name__, field.name, field.type, field.column)
            for model in MODELS
            for field in datamodel.fields(model, self.provider)
        ]
        return reports.table(rows, dict.fromkeys(("model", "field", "type", "column"), "str"))

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok (bool), changed, next (str)."""
        return reports.table([(True, self.state, self.next)], {"ok": "bool", "changed": "str", "next": "str"})


@checked
def prisma_schema(
    database_url: str = "", *, output: str = "", confirm: bool = False, prisma_version: int = 6
) -> PrismaReport:
    """Makes the application's schema.prisma, for Prisma 6 or 7, and writes it to `output`, if that is not empty.

    A relative `output` starts at the home; in a folder the file is called schema.prisma. A file that holds something
    else is replaced only with `confirm`. The database is not opened: its URL says which kind it is. Raises
    ParameterError for another version of Prisma, for a path that can't be written or needs `confirm`, and for an SQLite
    file whose path can't be quoted in .env.
    """
    target = targets.target(database_url)
    if prisma_version not in VERSIONS:
        raise ParameterError(
            expected=f"one of {', '.join(map(str, VERSIONS))} as prisma_version",
            found=repr(prisma_version),
            command=targets.command(target, f"pharmdb prisma --prisma-version {VERSIONS[-1]}"),
        )
    provider = "sqlite" if target.is_sqlite else "postgresql"
    schema, environment = datamodel.text(provider, prisma_version), client.environment(target)
    path = _path(output) if output else None
    version = "" if prisma_version == VERSIONS[0] else f" --prisma-version {prisma_version}"
    command = targets.command(target, f"pharmdb prisma{version} --output {shlex.quote(str(path or FILE))}")
    state = "nothing: no output is set" if path is None else _write(path, schema, confirm, command)
    return PrismaReport(
        target=str(target),
        provider=provider,
        schema=Text(schema),
        client=Text(client.module(provider, prisma_version)),
        environment=Text(environment),
        packages=Text(client.packages(provider, prisma_version)),
        path=path,
        state=state,
        next="npx prisma generate" if path else command,
    )


def _path(output: str) -> Path:
    path = settings.home() / Path(output).expanduser()
    return path / FILE if path.is_dir() else path


def _write(path: Path, schema: str, confirm: bool, command: str) -> str:
    try:
        found = path.read_bytes() if os.path.lexists(path) else None
        if found == schema.encode():
            return f"nothing: {path.name} is up to date"
        if found is not None and not confirm:
            raise ParameterError(
                expected=f"no file at {path}, or the same one",
                found="a file with another content",
                command=f"{command} --confirm",
                note="replaces the file",
            )
        _replace(path, schema)
    except OSError as error:
        raise ParameterError(
            expected=f"a path that can be written: {path}",
            found=f"{type(error).__name__}: {error.strerror}",
            command="" if path.parent.exists() else f"mkdir -p {shlex.quote(str(path.parent))}",
            note="or name another path with --output",
        ) from error
    return f"{path.name} {'written' if found is None else 'replaced'}"


def _replace(path: Path, schema: str) -> None:
    """All of it or nothing: who reads the file meanwhile reads the old one."""
    real = path.resolve()
    draft = real.with_name(f".{real.name}.{os.getpid()}")
    try:
        draft.write_bytes(schema.encode())
        if real.exists():
            shutil.copymode(real, draft)
        draft.replace(real)
    finally:
        draft.unlink(missing_ok=True)
