"""The `pharmdb` command: every notebook is a subcommand, made from the notebook's own parameter cell."""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import re
import sys
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pharmdb.errors import mask

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
RUNS = ROOT / "runs"
RUNS_KEPT = 20


@dataclass(frozen=True)
class Parameter:
    """One line of a parameter cell: `name: type = default  # help`."""

    name: str
    type: str
    default: Any
    help: str


def parameters(notebook: dict[str, Any]) -> list[Parameter]:
    """The parameters of a notebook in the order of its cell. Raises ValueError for a line without a plain type."""
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
            raise ValueError(f"a parameter reads `name: type = default  # help`, not {ast.unparse(node)}")
        kind = ast.unparse(node.annotation)
        if kind not in _TYPES:
            raise ValueError(f"a parameter's type is one of {', '.join(_TYPES)}, not {kind}")
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
        # Papermill would write it into the run file, so it is refused before there is one.
        raise argparse.ArgumentTypeError(
            "a URL that holds a password is written into run files and process lists; "
            "export PHARMDB_URL=… with the whole URL, or use a PostgreSQL passfile (~/.pgpass) or service"
        )
    return value


def _integer(value: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        raise argparse.ArgumentTypeError(f"not a whole number: {value!r}")
    return int(value)


_TYPES: dict[str, Any] = {"str": _text, "int": _integer, "float": float, "bool": None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pharmdb",
        description="The database of the Pharmacology Trainer. Each command runs the notebook of its name.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="verb", required=True, metavar="command")
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        title, _, rest = "".join(notebook["cells"][0]["source"]).partition("\n")
        text = re.sub(r"[*`]", "", rest.strip())
        command = commands.add_parser(
            path.stem,
            help=title.lstrip("# "),
            description=text,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for parameter in parameters(notebook):
            option = "--" + parameter.name.replace("_", "-")
            help_ = f"{parameter.help} (default: {parameter.default!r})".replace("%", "%%")
            if parameter.type == "bool":
                command.add_argument(
                    option, action=argparse.BooleanOptionalAction, default=parameter.default, help=help_
                )
            else:
                command.add_argument(
                    option,
                    type=_TYPES[parameter.type],
                    default=parameter.default,
                    help=help_,
                    metavar=parameter.type.upper(),
                )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 only if the notebook ran to its end and its outcome says ok."""
    values = vars(_parser().parse_args(arguments))
    verb = values.pop("verb")
    # A notebook that asks for input would wait forever, and papermill reads a piped one as a notebook.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    run = _run_file(verb)
    try:
        notebook = _execute(NOTEBOOKS / f"{verb}.ipynb", run, values)
        _keep_plain(run)
    except KeyboardInterrupt:
        print(f"pharmdb {verb}: interrupted; the run is in {_shown(run)}", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 - every failure of a run is told, and none is a traceback
        _print_until_failure(run)
        print(mask(_failure(verb, error)), f"\n\nThe run is in {_shown(run)}", sep="", file=sys.stderr)
        return 1
    shown = [_as_text(cell) for cell in notebook.cells[2:]]
    if not shown or not shown[-1]:
        print(f"pharmdb {verb}: stopped before its end; the run is in {_shown(run)}", file=sys.stderr)
        return 1
    print("\n\n".join(text for text in shown if text))
    print(f"\nThe run is in {_shown(run)}")
    return 0 if _says_ok(shown[-1]) else 1


def without_widgets(notebook: dict[str, Any]) -> None:
    """Takes the widgets out: without their kernel they would be blank, and hide the tables beside them."""
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def _keep_plain(run: Path) -> None:
    notebook = json.loads(run.read_text(encoding="utf-8"))
    without_widgets(notebook)
    run.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _says_ok(outcome: str) -> bool:
    """Whether the outcome row, if there is one, begins with a true `ok`."""
    header, *rows = outcome.splitlines()
    return header.split()[:1] != ["ok"] or (bool(rows) and rows[0].split()[1:2] == ["True"])


def _print_until_failure(run: Path) -> None:
    """The tables that a failed run did show: the doctor's tell what is wrong."""
    if run.exists():
        cells = json.loads(run.read_text(encoding="utf-8"))["cells"]
        texts = [
            o["data"]["text/plain"] for c in cells for o in c.get("outputs", []) if o["output_type"] == "execute_result"
        ]
        if texts:
            print("\n\n".join("".join(text) for text in texts), flush=True)


def _as_text(cell: Any) -> str:
    """What a cell has to say on a terminal: a heading, or the result of the code."""
    if cell.cell_type == "markdown":
        return str(cell.source).lstrip("# ")
    return "\n".join(o.data["text/plain"] for o in cell.outputs if o.output_type == "execute_result")


def _execute(notebook: Path, run: Path, values: dict[str, Any]) -> Any:
    # jsonschema would compile a grammar for IRIs, which takes a second; no notebook holds one.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill

    # Papermill takes both paths as format strings.
    paths = [str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, run)]
    return papermill.execute_notebook(
        *paths,
        parameters=values,
        progress_bar=sys.stderr.isatty(),
        # Where a verb takes long, its own progress bar comes through.
        stderr_file=sys.stderr if sys.stderr.isatty() else None,
        kernel_manager_class="pharmdb.kernels.LocalKernelManager",
        shutdown_kernel="immediate",
    )


def _failure(verb: str, error: Exception) -> str:
    name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    if name == "CellExecutionError" or "Kernel died" in value:
        return f"pharmdb {verb}: the kernel died; was it killed, or out of memory?"
    return f"pharmdb {verb}: {name}: {value}"


def _run_file(verb: str) -> Path:
    """A new path below runs/; of each verb the newest files are kept."""
    RUNS.mkdir(exist_ok=True)
    old = sorted(RUNS.glob(f"{verb}-[0-9]*.ipynb"))[: -RUNS_KEPT + 1]
    for path in old:
        path.unlink(missing_ok=True)
    return RUNS / f"{verb}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z-{os.getpid()}.ipynb"


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
