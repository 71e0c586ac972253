"""A new password, from the environment or typed: never a parameter, which would be written into the run file."""

from __future__ import annotations

import getpass
import os
import warnings

from pharmdb.errors import ParameterError
from pharmdb.seeding import passwords

VARIABLE = "PHARMDB_NEW_PASSWORD"


def new_password(email: str, command: str) -> str:
    """The value of PHARMDB_NEW_PASSWORD, else what is typed twice at the terminal or in Jupyter, without being shown.

    `command` is the one to run again after a mistake. Raises ParameterError, which does not quote the password, if
    there is neither, if the two differ, and if it is shorter than 8 characters or bcrypt can't hash all of it.
    """
    given = os.environ.get(VARIABLE)
    password = _typed(email, command) if given is None else given
    reason = "empty" if not password else passwords.unfit(password)
    if not reason and len(password) < passwords.SHORTEST:
        reason = f"shorter than {passwords.SHORTEST} characters"
    if reason:
        raise ParameterError(
            expected=f"a new password of {passwords.SHORTEST} characters to {passwords.LONGEST} bytes",
            found=f"one that is {reason}, {'typed' if given is None else f'in {VARIABLE}'}",
            command=command if given is None else f"unset {VARIABLE}",
            note="" if given is None else "then run the same command again: it asks for the password",
        )
    return password


def _typed(email: str, command: str) -> str:
    """Asks on the terminal itself, since a notebook's standard input is closed; in Jupyter the kernel asks."""
    try:
        with warnings.catch_warnings():
            # Without a terminal getpass would read standard input, and show it.
            warnings.simplefilter("error", getpass.GetPassWarning)
            first = getpass.getpass(f"New password for {email}: ")
            again = getpass.getpass("The same again: ")
    except (getpass.GetPassWarning, EOFError, NotImplementedError):  # the last one is a kernel without a front end
        raise ParameterError(
            expected="a new password",
            found=f"no {VARIABLE}, and nobody to ask",
            command=f"read -rs {VARIABLE} && export {VARIABLE} && {command}",
            note="what is typed then is the password, and is not shown; at a terminal pharmdb itself asks for it",
        ) from None
    if first != again:
        raise ParameterError(expected="the same password twice", found="two different ones", command=command)
    return first
