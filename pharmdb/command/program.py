"""The `pharmdb` program: every notebook is a subcommand."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pharmdb import settings
from pharmdb.command import output, parameters, tables
from pharmdb.command.listing import Command, commands
from pharmdb.errors import ParameterError, PharmdbError, mask

RUNS_KEPT = 20
_PATHS = "Paths are relative to the folder you are in; relative SQLite URLs (sqlite:///…) are relative to {home}."


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, so that everything is rolled back and cleaned up, as after Ctrl-C."""


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"pharmdb {version('pharmdb')}")
        parser.exit()


class _Completion(argparse.Action):
    paths: Sequence[argparse.Action] = ()

    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, __: str | None = None) -> None:
        import shtab

        for action in self.paths:
            vars(action)["complete"] = shtab.FILE
        print(shtab.complete(parser, shell))
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    width = tables.width()
    epilog = textwrap.fill(_PATHS.format(home=settings.home()), width, break_on_hyphens=False)
    parser = argparse.ArgumentParser(
        prog="pharmdb",
        description=tables.plain(
            "The database of the Pharmacology Trainer. Each command runs the notebook of the same name.", width
        ),
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="print the version and exit"
    )
    completion = parser.add_argument(
        "--print-completion",
        action=_Completion,
        choices=("bash", "zsh", "tcsh"),
        default=argparse.SUPPRESS,
        help="print a script that completes commands and options in this shell",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for command in commands():
        sub = subparsers.add_parser(
            command.name,
            help=command.title,
            description=tables.plain(command.text, width),
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=command)
        vars(completion)["paths"] = [*vars(completion).get("paths", ()), *_add_options(sub, command)]
    return parser


def _add_options(parser: argparse.ArgumentParser, command: Command) -> list[argparse.Action]:
    """Adds an option for each parameter, and the common options. Returns the actions that take a path."""
    actions = []
    for parameter in command.parameters:
        help_ = (parameter.help + _default(parameter)).replace("%", "%%")
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        if parameter.name.startswith("no_"):
            how = {"action": "store_true"}
        elif parameter.type != "bool":
            metavar = parameter.type.upper().replace(" OR ", "|")
            how = {"type": parameters.TYPES[parameter.type], "metavar": metavar}
        action = parser.add_argument(
            parameter.option, dest=parameter.name, default=parameter.default, help=help_, **how
        )
        actions += [action] if parameter.type.startswith("path") else []
    if command.served:
        parser.add_argument("--port", type=_port, default=5555, metavar="PORT", help="port to serve on (default: 5555)")
        parser.add_argument(
            "--browser",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="open the page in a browser, if there is one",
        )
    else:
        parser.add_argument("--json", action="store_true", dest="as_json", help="print the outcome as one JSON object")
    return actions


def _default(parameter: parameters.Parameter) -> str:
    """The default as a suffix of the help text; the text itself explains an empty default."""
    default = {True: "yes", False: "no"}[parameter.default] if parameter.type == "bool" else parameter.default
    return f" (default: {default})" if default != "" else ""


def _port(value: str) -> int:
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value) <= 65_535:
        raise argparse.ArgumentTypeError(f"not a port from 1 to 65535: {value!r}")
    return int(value)


def _leave_to_the_system() -> None:
    """Spares the last scan for garbage at exit, which would take as long as those of the imports."""
    # DuckDB reports each of its objects that is not collected.
    if "_duckdb" not in sys.modules:
        gc.freeze()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0 only if the notebook ran to its end and its outcome is ok."""
    # Imports create many permanent objects; scanning them for garbage would take a sixth of a command's time.
    gc.set_threshold(400_000, 50, 50)
    atexit.register(_leave_to_the_system)
    output.prepare()
    try:
        os.getcwd()
        with output.quiet_without_reader():
            values = vars(_parser().parse_args(arguments))
    except FileNotFoundError:
        _fail(None, _gone(), "--json" in (sys.argv[1:] if arguments is None else arguments))
        return 1
    except OSError as error:
        output.give_up(error)
        return 1
    command, as_json = values.pop("command"), values.pop("as_json", False)
    try:
        if source := os.environ.get("PHARMDB_SOURCE"):
            # Relative to the caller's folder, like --source.
            os.environ["PHARMDB_SOURCE"] = parameters.absolute(source)
        with _terminable():
            return _serve(command, values) if command.served else _run(command, values, as_json)
    except Exception as error:  # noqa: BLE001 - every failure is reported, without a traceback
        _fail(command, error, as_json)
        return 1
    except KeyboardInterrupt as error:
        _fail(command, error, as_json)
        return _status_of(error)


def _gone() -> PharmdbError:
    return ParameterError(
        expected="a folder to be in, from which paths start",
        found="the folder that you are in was deleted",
        command="cd",
    )


def _serve(command: Command, values: dict[str, Any]) -> int:
    from pharmdb.command import running
    from pharmdb.studio_app import serving

    options = {name: values.pop(name) for name in ("port", "browser")}
    return serving.serve(running.inject(command.notebook(), values), **values, **options)


def _run(command: Command, values: dict[str, Any], as_json: bool) -> int:
    from pharmdb.command import running

    file = running.RunFile(command.notebook(), _run_file(command.name), values, command.path)
    run = running.Run()
    try:
        running.execute(file, run)
    except KeyboardInterrupt as error:
        # The interrupt came between two cells.
        run.error = error
    finally:
        file.end()
    path = None if file.problem else file.path
    if file.problem:
        output.complain(f"pharmdb {command.name}: no run file: {file.problem}")
    texts = [] if as_json else list(_texts(run.steps[1:]))
    if run.outcome is None:
        if texts:
            output.say("\n\n".join(texts))
        _fail(command, run.error, as_json, path)
        return _status_of(run.error) if isinstance(run.error, KeyboardInterrupt) else 1
    if as_json:
        texts = [output.as_json(run.outcome | {"run": str(path or "")})]
    elif path:
        texts.append(f"\nRun file: {_shown(path)}")
    return 0 if output.say("\n\n".join(texts)) and run.outcome["ok"] else 1


def _fail(command: Command | None, error: BaseException | None, as_json: bool, path: Path | None = None) -> None:
    """Reports what stopped a command, as text or JSON, and where the run file is."""
    if as_json:
        run = {"run": str(path)} if path else {}
        output.say(output.as_json({"ok": False, "error": _as_data(error)} | run))
    where = f"\n\nRun file: {_shown(path)}" if path else ""
    output.complain(_sentence(command, error) + where)


def _texts(steps: list[tuple[dict[str, Any], Any]]) -> Iterator[str]:
    width, heading = tables.width(), ""
    for cell, ran in steps:
        if cell["cell_type"] == "markdown":
            heading = tables.plain("".join(cell["source"]), width)
        for part in ran.outputs if ran else ():
            text = part.get("text", "") if part.get("name") != "stderr" else ""
            if "data" in part:
                result = ran.result if part["output_type"] == "execute_result" else None
                text = tables.rendered(result, part["data"].get("text/plain", ""), width)
            if text.strip():
                yield from filter(None, (heading, text.rstrip("\n")))
                heading = ""


def _sentence(command: Command | None, error: BaseException | None) -> str:
    """What stopped a command, as text."""
    name = f"pharmdb {command.name}" if command else "pharmdb"
    if error is None or isinstance(error, SystemExit):
        return f"{name}: stopped early, without an outcome"
    if isinstance(error, KeyboardInterrupt):
        return f"{name}: interrupted; unfinished changes were rolled back"
    return mask(f"{name}: {type(error).__name__}: {error}")


def _as_data(error: BaseException | None) -> dict[str, str]:
    """What stopped a command, as data for JSON."""
    parts = ("expected", "found", "unchanged", "command", "note")
    if isinstance(error, PharmdbError):
        told = {part: getattr(error, part, "") for part in parts}
    else:
        told = dict.fromkeys(parts, "")
        told |= {"expected": "a complete run, which ends with an outcome", "found": mask(str(error or ""))}
    return {"type": type(error).__name__ if error is not None else "Incomplete"} | told


@contextmanager
def _terminable() -> Iterator[None]:
    def terminate(number: int, frame: Any) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:
        # Signal handlers can be set only in the main thread.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _status_of(interrupt: KeyboardInterrupt) -> int:
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def _run_file(name: str) -> Path:
    """A new path in runs/; only the newest files of each command are kept.

    Whether the file can be written shows when it is.
    """
    with suppress(OSError):
        settings.make_private(settings.runs())
        old = sorted(settings.runs().glob(f"{name}-[0-9]*.ipynb"))[: -RUNS_KEPT + 1]
        for path in old:
            # Another user's run files are left to that user.
            with suppress(OSError):
                path.unlink()
    return settings.runs() / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z-{os.getpid()}.ipynb"


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
