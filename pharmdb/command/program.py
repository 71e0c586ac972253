"""The `pharmdb` program: every notebook is a subcommand."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pharmdb import settings
from pharmdb.command import parameters
from pharmdb.errors import mask

RUNS_KEPT = 20


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pharmdb",
        description="The database of the Pharmacology Trainer. Each command runs the notebook of its name.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="verb", required=True, metavar="command")
    for path in sorted(settings.notebooks().glob("*.ipynb")):
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
        for parameter in parameters.parameters(notebook):
            option = "--" + parameter.name.replace("_", "-")
            help_ = f"{parameter.help} (default: {parameter.default!r})".replace("%", "%%")
            if parameter.type == "bool":
                command.add_argument(
                    option, action=argparse.BooleanOptionalAction, default=parameter.default, help=help_
                )
            else:
                command.add_argument(
                    option,
                    type=parameters.TYPES[parameter.type],
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
        notebook = _execute(settings.notebooks() / f"{verb}.ipynb", run, values)
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
        kernel_manager_class="pharmdb.command.kernels.LocalKernelManager",
        shutdown_kernel="immediate",
    )


def _failure(verb: str, error: Exception) -> str:
    name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    if name == "CellExecutionError" or "Kernel died" in value:
        return f"pharmdb {verb}: the kernel died; was it killed, or out of memory?"
    return f"pharmdb {verb}: {name}: {value}"


def _run_file(verb: str) -> Path:
    """A new path below runs/; of each verb the newest files are kept."""
    settings.runs().mkdir(parents=True, exist_ok=True)
    old = sorted(settings.runs().glob(f"{verb}-[0-9]*.ipynb"))[: -RUNS_KEPT + 1]
    for path in old:
        path.unlink(missing_ok=True)
    return settings.runs() / f"{verb}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z-{os.getpid()}.ipynb"


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
