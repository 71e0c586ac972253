"""Cancels a running statement from another thread, or after a time-out."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from pharmdb.errors import PharmdbError

# Between two statements of a block a cancellation finds nothing to cancel, and it may fail: it is repeated.
_AGAIN = 0.2


class Cancel:
    """Cancels the statement that runs in its `over` block; call it from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupt: Callable[[], None] | None = None
        self._again: threading.Timer | None = None
        self.reason = ""

    def __call__(self, reason: str = "cancelled") -> None:
        with self._lock:
            self.reason = self.reason or reason
            if self._interrupt is not None:
                self._again = _timer(_AGAIN, self)
                self._interrupt()

    def check(self) -> None:
        """Raises PharmdbError if it was cancelled; to be called between statements."""
        if self.reason:
            raise _cancelled(self.reason)

    @contextmanager
    def over(self, connection: Connection, seconds: float = 0) -> Iterator[None]:
        """Makes the connection's statements in this block cancellable, and cancels them after `seconds`."""
        driver: Any = connection.connection.dbapi_connection
        interrupt = driver.interrupt if isinstance(driver, sqlite3.Connection) else driver.cancel_safe
        with self._lock:
            self.check()
            self._interrupt = interrupt
        timer = _timer(seconds, self, f"timed out after {seconds:g} s") if seconds else None
        try:
            yield
        except Exception as error:
            if self.reason:
                raise _cancelled(self.reason) from error
            raise
        finally:
            if timer:
                timer.cancel()
            with self._lock:
                self._interrupt = None
                if self._again:
                    self._again.cancel()


def _timer(seconds: float, cancel: Cancel, *reason: str) -> threading.Timer:
    timer = threading.Timer(seconds, cancel, reason)
    timer.daemon = True
    timer.start()
    return timer


def _cancelled(reason: str) -> PharmdbError:
    return PharmdbError(expected="the statement to finish", found=reason, note="narrow it, or raise the time-out")
