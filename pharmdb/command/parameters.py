"""The parameters of a notebook, read from its parameter cell."""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pharmdb.errors import mask


@dataclass(frozen=True)
class Parameter:
    """One line of a parameter cell: `name: type = default  # help`."""

    name: str
    type: str
    default: Any
    help: str

    @property
    def option(self) -> str:
        """The option's name. A trailing underscore, which avoids a clash with a Python name, is dropped."""
        return "--" + self.name.rstrip("_").replace("_", "-")


def parameters(notebook: dict[str, Any]) -> list[Parameter]:
    """The parameters of a notebook, in the cell's order. Raises ValueError for a line without a plain type."""
    cells = [c for c in notebook["cells"] if "parameters" in c.get("metadata", {}).get("tags", [])]
    source = "".join("".join(cell["source"]) for cell in cells)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
            raise ValueError(f"a parameter must be `name: type = default  # help`, not {ast.unparse(node)}")
        kind = ast.unparse(node.annotation).strip("'")
        if kind not in TYPES:
            raise ValueError(f"a parameter's type must be one of {', '.join(TYPES)}, not {kind}")
        default = ast.literal_eval(node.value)
        found.append(Parameter(node.target.id, kind, default, comments.get(node.end_lineno or 0, "")))
    return found


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("not UTF-8") from None
    plain = unquote(value)
    if mask(plain) != plain or re.search(r"://[^/?#]*:.*@", plain):
        # Refused before the run file is created, because it would be written there.
        raise argparse.ArgumentTypeError(
            "a URL with a password would be visible in run files and process lists; "
            "run `read -rs PHARMDB_URL && export PHARMDB_URL` and paste the whole URL, which is not shown, "
            "or use a PostgreSQL passfile (~/.pgpass) or service"
        )
    return value


def _path(value: str) -> str:
    """Makes a path absolute, relative to the caller's folder; the notebook itself runs in the home folder."""
    try:
        return str(Path.cwd() / Path(_text(value)).expanduser()) if value else ""
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def absolute(value: str) -> str:
    """Returns a URL unchanged, and makes a path (also in Prisma's form, file:old.db) absolute."""
    if "://" in value:
        return value
    if value.startswith("file:"):
        value = value.removeprefix("file:").partition("?")[0]
    return str(Path.cwd() / Path(value).expanduser()) if value else ""


def _path_or_url(value: str) -> str:
    try:
        return absolute(_text(value))
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _integer(value: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        raise argparse.ArgumentTypeError(f"not a whole number: {value!r}")
    return int(value)


TYPES: dict[str, Any] = {
    "str": _text,
    "path": _path,
    "path or url": _path_or_url,
    "int": _integer,
    "float": float,
    "bool": None,
}
