"""The studio as a widget: the page sends requests as messages, and all SQL is built and run here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from pharmdb import reports, settings
from pharmdb.backups import taking
from pharmdb.database import environments, servers, targets
from pharmdb.errors import ParameterError, RevisionError
from pharmdb.schema import revisions
from pharmdb.studio_app import (
    browsing,
    console,
    editing,
    exporting,
    looking,
    messages,
    reverting,
    save_log,
    sessions,
    statements,
    still,
    values,
)
from pharmdb.studio_app.bundle import bundle
from pharmdb.studio_app.cancelling import Cancel
from pharmdb.studio_app.catalogue import Catalogue, Table, catalogue, find
from pharmdb.studio_app.filters import View
from pharmdb.studio_app.statement_log import Session, StatementLog

if TYPE_CHECKING:
    import pandas as pd

STATIC = Path(__file__).parent / "static"
SNAPSHOT_ROWS = 20
BROWSING_SECONDS = 60
# The most unacknowledged pieces of an export, and how many seconds to wait for an acknowledgement.
WINDOW = 4
# The most rows of a statement that are exported.
EXPORTED_ROWS = 100_000
TAKEN_SECONDS = 60


def studio(database_url: str = "", *, model: str = "User") -> Studio:
    """A widget to browse and edit the database, in JupyterLab or as a web page; it shows `model` first.

    Raises ParameterError for an unknown model or table, UnavailableError if the database does not answer.
    """
    return Studio(targets.target(database_url), model)


class Studio(anywidget.AnyWidget):
    """The studio for one database. `outcome` reports what was saved with it."""

    _esm = bundle(STATIC / "studio.js")
    _css = STATIC / "studio.css"
    title = traitlets.Unicode().tag(sync=True)
    table = traitlets.Unicode().tag(sync=True)

    def __init__(self, target: targets.Target, model: str = "User", *, log: Path | None = None) -> None:
        self.target = target
        self.statement_log = StatementLog()
        self.unlocked = False
        self.saved = 0
        self._path = log or settings.statement_log()
        self._running: dict[str, Cancel] = {}
        self._windows: dict[str, threading.Semaphore] = {}
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="studio")
        self._sending = threading.Lock()
        self._tables = self._catalogue()
        super().__init__(title=str(target), table=find(self._tables, target, model).name)
        self.on_msg(self._receive)

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, changed, next."""
        changed = f"{self.saved} change{'' if self.saved == 1 else 's'} saved"
        next_ = targets.command(self.target, "pharmdb inspect")
        return reports.table([(True, changed, next_)], {"ok": "bool", "changed": "str", "next": "str"})

    def _catalogue(self) -> Catalogue:
        with sessions.reading(self.target, self.statement_log) as session:
            return catalogue(session)

    # -- messages ------------------------------------------------------------------------------------

    def _receive(self, _: Any, message: dict[str, Any], buffers: list[Any]) -> None:
        operation, number = str(message.get("op")), str(message.get("id"))
        # Handled at once, even while other requests are running.
        if operation == "ping":
            self._reply(number, {})
        elif operation == "cancel":
            self._cancel(str(message.get("request")))
        elif operation == "taken":
            if (window := self._windows.get(str(message.get("request")))) is not None:
                window.release()
        else:
            self._running[number] = Cancel()
            self._threads.submit(self._serve, number, operation, message)

    def _cancel(self, number: str) -> None:
        if (cancel := self._running.get(number)) is not None:
            cancel()
        if (window := self._windows.get(number)) is not None:
            window.release()

    def _serve(self, number: str, operation: str, message: dict[str, Any]) -> None:
        try:
            cancel = self._running[number]
            if operation == "export":
                self._export(number, message, cancel)
            else:
                result, buffers = self.answer(operation, message, cancel)
                self._reply(number, result, buffers)
        except Exception as error:  # noqa: BLE001 - the page shows every failure as a sentence
            self._reply(number, error=messages.error_of(error))
        finally:
            self._running.pop(number, None)
            self._windows.pop(number, None)

    def _reply(
        self,
        number: str,
        result: dict[str, Any] | None = None,
        buffers: list[bytes] | None = None,
        *,
        error: dict[str, Any] | None = None,
        more: bool = False,
    ) -> None:
        with self._sending:
            self.send({"id": number, "result": result, "error": error, "more": more}, buffers or [])

    def answer(
        self, operation: str, message: dict[str, Any], cancel: Cancel | None = None
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The answer to one request, and binary data that belongs to it. Raises ParameterError for an unknown one."""
        answers: dict[str, Callable[[dict[str, Any], Cancel], dict[str, Any]]] = {
            "hello": self._hello,
            "save": self._save,
            "lock": self._lock,
            "sql": self._sql,
            "log": self._statement_log,
            "revert": self._revert,
            "backup": self._backup,
        }
        cancel = cancel or Cancel()
        if operation in looking.READING:
            return self._look(operation, message, cancel), []
        if operation not in answers:
            raise ParameterError(expected="a known request", found=operation, note="reload the page")
        return answers[operation](message, cancel), []

    @contextmanager
    def _reading(self, cancel: Cancel, seconds: float = BROWSING_SECONDS) -> Iterator[Session]:
        """A read-only session that can be cancelled, and times out."""
        with (
            sessions.reading(self.target, self.statement_log) as session,
            cancel.over(session.connection, seconds),
        ):
            yield session

    def _table(self, message: dict[str, Any]) -> Table:
        name = str(message.get("table"))
        if name not in self._tables:
            self._tables = self._catalogue()
        return find(self._tables, self.target, name)

    def _hello(self, message: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        with self._reading(cancel) as session:
            environment = environments.environment(session.connection)
            name = servers.server_name(session.connection, self.target)
            self._tables = catalogue(session)
            try:
                revisions.require_head(session.connection, self.target)
                behind = None
            except RevisionError as error:
                behind = messages.error_of(error)
        return {
            "behind": behind,
            "tables": [messages.described(table) for table in self._tables.values()],
            "name": name,
            "title": str(self.target),
            "environment": environment,
            "unlocked": self.unlocked,
            "sizes": browsing.PAGE_SIZES,
            "formats": exporting.FORMATS,
        }

    def _look(self, operation: str, message: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        function, seconds = looking.READING[operation]
        message = {**message, "unlocked": self.unlocked}
        if "table" in message:
            message["table"] = self._table(message).name
        with self._reading(cancel, seconds) as session:
            return function(session, self._tables, message)

    def _save(self, message: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        changes = [messages.change_of(each) for each in message["changes"]]
        for change in changes:
            self._table({"table": change.table})
        outcome = editing.save(
            self.target,
            self._tables,
            changes,
            self.statement_log,
            unlocked=self.unlocked,
            log=self._path,
            staged=str(message.get("staged") or ""),
        )
        self.saved += 0 if outcome.problems or outcome.again else len(changes)
        return {
            "problems": [asdict(each) for each in outcome.problems],
            "keys": outcome.keys,
            "warning": outcome.warning,
            "again": outcome.again,
            "saved": list(outcome.changes),
            "differing": outcome.differing,
        }

    def _revert(self, message: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        save = str(message["save"])
        self._tables = self._catalogue()
        found = reverting.revert(
            self.target, self._tables, save, self.statement_log, unlocked=self.unlocked, log=self._path
        )
        self.saved += 0 if found.saved.problems or found.saved.again else found.rows
        return {
            "problems": [asdict(each) for each in found.saved.problems],
            "rows": found.rows,
            "passwords": found.passwords,
            "warning": found.saved.warning,
        }

    def _backup(self, message: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        """Backs up the database, which is offered before a large deletion."""
        return {"name": taking.taken_of(self.target).name}

    def _lock(self, message: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        """Unlocks with the database's own name, and locks without one."""
        typed = str(message.get("name") or "")
        if not typed:
            self.unlocked = False
            return {"unlocked": False}
        with self._reading(cancel) as session:
            name = servers.server_name(session.connection, self.target)
        if typed != name or name in ("", "?"):
            raise ParameterError(
                expected=f"the name of the database, {name}",
                found=repr(typed),
                note=f"type {name} where the studio asks for the database's name",
            )
        self.unlocked = True
        return {"unlocked": True}

    def _sql(self, message: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        return asdict(self._run(message, cancel))

    def _run(self, message: dict[str, Any], cancel: Cancel, most: int = statements.ROWS_SHOWN) -> statements.Result:
        try:
            seconds = float(message.get("seconds") or 30)
        except ValueError:
            raise values.UnfitError("the time-out must be a number of seconds") from None
        return console.run(
            self.target,
            str(message["sql"]),
            self.statement_log,
            cancel=cancel,
            seconds=seconds,
            unlocked=self.unlocked,
            plan=bool(message.get("plan")),
            trial=message.get("trial") is True,
            expected=None if message.get("expected") is None else int(message["expected"]),
            values={
                str(name): None if value is None else str(value)
                for name, value in (message.get("values") or {}).items()
            },
            most=most,
            log=self._path,
        )

    def _statement_log(self, message: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        return {
            "statements": [asdict(entry) for entry in self.statement_log.since(int(message.get("since") or 0))],
            "saves": save_log.saves(self.target, log=self._path),
        }

    def _export(self, number: str, message: dict[str, Any], cancel: Cancel) -> None:
        """Sends the export in pieces, no faster than the page receives them."""
        window = self._windows[number] = threading.Semaphore(WINDOW)
        if "sql" in message:
            # As a trial: an export never writes.
            result = self._run({**message, "trial": True}, cancel, EXPORTED_ROWS)
            pieces = exporting.export_result(result.columns, result.rows, str(message["format"]))
        else:
            pieces = exporting.export(
                self.target,
                self._table(message),
                messages.view_of(message),
                message["columns"],
                str(message["format"]),
                self.statement_log,
                cancel,
                formulas=message.get("formulas") is True,
            )
        for piece in pieces:
            if not window.acquire(timeout=TAKEN_SECONDS):
                cancel("the page no longer receives the export")
            cancel.check()
            self._reply(number, {"bytes": len(piece)}, [piece], more=True)
        self._reply(number, {})

    # -- the snapshot --------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and its first rows as text and HTML for places where widgets can't be displayed."""
        table = self._tables[self.table]
        with sessions.reading(self.target, self.statement_log) as session:
            page = browsing.page(session, table, View(size=SNAPSHOT_ROWS))
            count = browsing.count(session, table, View())
        names = list(table.columns)
        first = [
            [still.cell_text(c.kind, cell) for c, cell in zip(table.columns.values(), r.cells, strict=True)]
            for r in page.rows
        ]
        caption = f"{table.name}: {count.text}"
        if page.has_next:
            caption += f", the first {SNAPSHOT_ROWS} of them"
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {
            **data,
            "text/plain": still.as_text(caption, names, first),
            "text/html": still.as_html(caption, names, first),
        }, metadata
