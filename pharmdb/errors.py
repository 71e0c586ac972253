"""Typed errors. Each says what was expected, what was found, what is unchanged, and what to do next.

Code that handles an error looks at its type and fields; it never parses the message.
"""

from __future__ import annotations

import re
from typing import Any

_NAME = r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|private[_-]?key|scram_\w{1,20}_key)"
# Quoted as in SQL, a shell, JSON or a connection string; a truncated text may not be closed.
_QUOTED = (
    r"""(?:''(?=[^\s&;]).+?''|[eE]?'(?:[^'\\]|''|\\.)*'?|"(?:[^"\\]|\\.)*"?|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z))"""
)
_SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        # Greedy to the last @ of the word, or to the next one if the password has blanks; a port is none.
        r"(?P<keep>://[^\s:]*:)(?:\S+|(?!\d{1,5}(?:[/?\s]|\Z))[^@\n]+)(?=@)",
        rf"(?P<keep>{_NAME}\w*\s*=\s*)(?:{_QUOTED}|[^\s&;]+)",
        rf"""(?P<keep>{_NAME}\w*["']\s*:\s*){_QUOTED}""",
        rf"(?P<keep>\bpassword\s+){_QUOTED}",
        rf"(?P<keep>--(?!no-)[\w-]{{0,40}}{_NAME}[\w-]*\s+)(?:{_QUOTED}|(?!-)\S+)",
        r"(?P<keep>\bauthorization\W{1,4}(?:\w+\s+)?)[^\s'\"]+",
    )
)


def is_secret_name(name: str) -> bool:
    """Whether a parameter, setting or option of this name holds a secret."""
    return re.search(_NAME, name, re.IGNORECASE) is not None


def mask(text: str) -> str:
    """Replaces the secrets in URLs, settings, options and statements in the text with ***."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\g<keep>***", text)
    return text


class PharmdbError(Exception):
    """The base of all errors whose cause is known.

    `expected`, `found` and `unchanged` describe the problem; `command` is the shell command to run next, or "";
    `note` is advice for the reader, or "". Secrets are masked in all of them. The message has four labelled parts.
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
        """Keyword-only arguments: without this an error could not be unpickled in another process."""
        return _anew, (type(self), self.__dict__, str(self))

    def _render_traceback_(self) -> list[str]:
        """IPython shows this instead of a traceback: the cause is known, and the frames add nothing."""
        return [f"{type(self).__name__}: {self}"]


def _anew(kind: type[PharmdbError], parts: dict[str, Any], message: str) -> PharmdbError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(parts)
    return error


class ParameterError(PharmdbError):
    """A parameter or an environment variable has an invalid value."""


class UnavailableError(PharmdbError):
    """The database does not respond, or what responds is not a database."""


class MissingFileError(UnavailableError):
    """The SQLite file does not exist."""


class DamagedError(UnavailableError):
    """The file is not a database, or it is a damaged one."""


class ReadOnlyError(UnavailableError):
    """The database is read-only."""


class UnstorableError(PharmdbError):
    """The database can't store a value: it is too long for an index, or its encoding lacks a character."""


class NoRoomError(UnavailableError):
    """The disk is full, or the database has reached its size limit."""


class NoPermissionError(UnavailableError):
    """The user lacks a required permission."""


class NoSuchDatabaseError(UnavailableError):
    """The server has no database of this name."""


class ServerDownError(UnavailableError):
    """No server responds, or the server accepts no connections at the moment."""


class MissingProgramError(UnavailableError):
    """A required program is not installed or is too old."""


class LoginRefusedError(UnavailableError):
    """The server responds, but rejects this login."""


class LostConnectionError(UnavailableError):
    """The connection was lost, although the server responds again."""


class NodeDownError(UnavailableError):
    """A node of a Citus cluster does not respond, although its coordinator does."""


class ReplayConflictError(UnavailableError):
    """A standby replayed a change that removes what was being read."""


class LockedError(PharmdbError):
    """Another process or session holds the required lock."""


class ProtectedError(PharmdbError):
    """The database is protected: it is a production database, belongs to another program or is on another machine."""


class RevisionError(PharmdbError):
    """The schema is not at a revision that the command supports."""


class UnknownRevisionError(RevisionError):
    """The database is at a revision that this code does not know: newer code applied it."""


class TornSchemaError(RevisionError):
    """A table or column of the recorded revision is missing, or its definition is broken."""


class DistributedError(PharmdbError):
    """The database can't be distributed, or the command can't run on a distributed one."""


class BackupError(PharmdbError):
    """A backup can't be taken, found, verified or restored."""


class NoRoomForBackupError(BackupError):
    """The disk that holds the backup folder is full."""


class UnsoundSourceError(BackupError):
    """The database to back up is damaged."""


class ExportError(PharmdbError):
    """An export can't be written, found or verified."""


class CheckFailedError(PharmdbError):
    """At least one of the doctor's checks failed."""


# A longer value would hide what is said about it.
_LONGEST = 120


def _shown(value: str) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(value):,} characters)"


class FilesError(PharmdbError):
    """CSV files are invalid.

    `problems` holds the problems as (file, line, column, value, reason); `more` is the number of further ones.
    """

    what = "CSV"

    def __init__(self, problems: list[tuple[str, int, str, str, str]], *, directory: str, more: int = 0) -> None:
        self.problems = problems
        self.more = more
        shown = [
            f"{file}:{line}: {column + ' = ' if column else ''}{_shown(value)}: {reason}"
            for file, line, column, value, reason in problems[:200]
        ]
        held, total = len(problems) - len(shown), len(problems) + more
        if more:
            shown.append(f"and {total - len(shown)} more, the first {held} of them in the error's .problems")
        elif held:
            shown.append(f"and {held} more, in the error's .problems")
        super().__init__(
            expected=f"valid {self.what} files in {directory}",
            found=f"{total} problem(s)\n    " + "\n    ".join(shown),
            note="correct these lines, then run the same command again",
        )


class SeedError(FilesError):
    """The seed files are invalid."""

    what = "seed"


class CatalogueError(FilesError):
    """The files of a catalogue are invalid."""

    what = "catalogue"
