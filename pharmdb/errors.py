"""Typed errors. Each says what was expected, what was found, what is unchanged, and what to do next.

Code that needs to know more than that asks for the type; it never reads a text.
"""

from __future__ import annotations

import re
from typing import Any

_SECRETS = (
    # Greedy to the last @ of the word: a user's name or a password may hold one.
    (re.compile(r"(?P<keep>[a-z][a-z0-9+.-]*://[^\s:/]*:)\S+(?=@)", re.IGNORECASE), r"\g<keep>***"),
    (re.compile(r"(?P<keep>\w*(password|secret)\w*\s*=\s*)('[^']*'|[^\s&;]+)", re.IGNORECASE), r"\g<keep>***"),
    (re.compile(r"(?P<keep>\bpassword\s+)'[^']*'", re.IGNORECASE), r"\g<keep>***"),
)


def mask(text: str) -> str:
    """Replaces the password of every URL or `password=` setting in the text with ***."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class PharmdbError(Exception):
    """The base of all errors whose cause is known.

    `expected`, `found` and `unchanged` say what is the matter; `command` is the shell command to type next, or "";
    `note` is a remark for a person, or "". Secrets are masked in all of them. The message has four labelled parts.
    """

    def __init__(
        self,
        *,
        expected: str,
        found: str,
        command: str = "",
        note: str = "",
        unchanged: str = "nothing was written",
    ) -> None:
        self.expected = mask(expected)
        self.found = mask(found)
        self.unchanged = mask(unchanged)
        self.command = mask(command)
        self.note = mask(note)
        advice = "\n             ".join(filter(None, (self.command, self.note)))
        super().__init__(
            f"\n  expected:  {self.expected}\n  found:     {self.found}"
            f"\n  unchanged: {self.unchanged}\n  next:      {advice}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Keyword-only arguments: without this an error could not come back from another process."""
        return _anew, (type(self), self.__dict__, str(self))

    def _render_traceback_(self) -> list[str]:
        """IPython shows this instead of a traceback: the cause is known, and the frames say nothing more."""
        return [f"{type(self).__name__}: {self}"]


def _anew(kind: type[PharmdbError], parts: dict[str, Any], message: str) -> PharmdbError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(parts)
    return error


class ParameterError(PharmdbError):
    """A parameter or an environment variable has a value that can't be used."""


class UnavailableError(PharmdbError):
    """The database does not answer, or not as a database."""


class MissingFileError(UnavailableError):
    """There is no such SQLite file."""


class DamagedError(UnavailableError):
    """The database is none, or a damaged one."""


class ReadOnlyError(UnavailableError):
    """The database takes no writes."""


class NoRoomError(UnavailableError):
    """The disk, or a limit of the database, has no room left."""


class NoPermissionError(UnavailableError):
    """The user lacks a right that is needed."""


class NoSuchDatabaseError(UnavailableError):
    """The server has no database of this name."""


class ServerDownError(UnavailableError):
    """No server answers, or one that takes no connections just now."""


class MissingProgramError(UnavailableError):
    """A program that is needed is not installed, or is too old."""


class LoginRefusedError(UnavailableError):
    """The server answers, and refuses this login."""


class LostConnectionError(UnavailableError):
    """The connection was lost, though the server answers again."""


class LockedError(PharmdbError):
    """Somebody else holds the lock that was needed."""


class ProtectedError(PharmdbError):
    """The database is protected: production, another program's, or on another machine."""


class RevisionError(PharmdbError):
    """The schema is not at a revision that the command can work with."""


class UnknownRevisionError(RevisionError):
    """The database is at a revision that this code does not know: newer code wrote it."""


class TornSchemaError(RevisionError):
    """A table or column that the recorded revision has is missing, or its definition is broken."""


class BackupError(PharmdbError):
    """A backup can't be taken, found, verified or brought back."""


class NoRoomForBackupError(BackupError):
    """The folder of the backups has no room left."""


class UnsoundSourceError(BackupError):
    """What was to be backed up is damaged."""


class CheckFailedError(PharmdbError):
    """The doctor found something that is wrong."""


class SeedError(PharmdbError):
    """The seed files break their rules.

    `problems` holds each one as (file, line, column, value, reason); `more` says how many there are besides.
    """

    def __init__(self, problems: list[tuple[str, int, str, str, str]], *, directory: str, more: int = 0) -> None:
        self.problems = problems
        self.more = more
        shown = [
            f"{file}:{line}: {column + ' = ' if column else ''}{value!r}: {reason}"
            for file, line, column, value, reason in problems[:200]
        ]
        held, total = len(problems) - len(shown), len(problems) + more
        if more:
            shown.append(f"and {total - len(shown)} more, the first {held} of them in the error's .problems")
        elif held:
            shown.append(f"and {held} more, in the error's .problems")
        super().__init__(
            expected=f"seed files without a fault in {directory}",
            found=f"{total} problem(s)\n    " + "\n    ".join(shown),
            note="correct these lines, then run the same command again",
        )
