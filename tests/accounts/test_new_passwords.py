"""A new password: from the environment or typed twice, and seen by nobody."""

from __future__ import annotations

import fcntl
import getpass
import os
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import raw
from support.databases import Databases

from pharmdb.accounts.new_passwords import new_password
from pharmdb.errors import ParameterError
from pharmdb.seeding.passwords import verify_password

DEMO = "demo@pharmtrainer.test"
PASSWORD = "Correct horse 8"


def answering(monkeypatch: pytest.MonkeyPatch, *answers: str | BaseException) -> Iterator[str | BaseException]:
    """Somebody who answers the prompts like this."""
    left = iter(answers)

    def answer(prompt: str) -> str:
        given = next(left)
        if isinstance(given, BaseException):
            raise given
        return given

    monkeypatch.setattr(getpass, "getpass", answer)
    return left


UNFIT = ["", "short 7", "ž" * 37, "a" * 73, "\udcff" * 8]


@pytest.mark.parametrize("password", UNFIT)
@pytest.mark.parametrize("typed", [False, True], ids=["set", "typed"])
def test_an_unfit_password_is_refused_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, password: str, typed: bool
) -> None:
    if typed:
        answering(monkeypatch, password, password)
    else:
        monkeypatch.setenv("PHARMDB_NEW_PASSWORD", password)
    with pytest.raises(ParameterError) as error:
        new_password(DEMO, "pharmdb account …")
    assert not password or password not in str(error.value)
    assert error.value.command == ("pharmdb account …" if typed else "unset PHARMDB_NEW_PASSWORD")


@pytest.mark.parametrize("password", ["8 chars!", "ž" * 36])
def test_a_password_up_to_the_limits_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    answering(monkeypatch, password, password)
    assert new_password(DEMO, "") == password
    left = answering(monkeypatch, "asked for nothing")
    monkeypatch.setenv("PHARMDB_NEW_PASSWORD", password)
    assert new_password(DEMO, "") == password
    assert list(left) == ["asked for nothing"]


NOBODY = [getpass.GetPassWarning("no terminal"), EOFError(), NotImplementedError("no front end")]


@pytest.mark.parametrize(
    "answers", [*((nobody,) for nobody in NOBODY), (PASSWORD, EOFError()), (PASSWORD, PASSWORD.lower())], ids=repr
)
def test_without_two_equal_answers_there_is_no_password(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[str | BaseException, ...]
) -> None:
    answering(monkeypatch, *answers)
    with pytest.raises(ParameterError) as error:
        new_password(DEMO, "pharmdb account …")
    assert PASSWORD.lower() not in str(error.value).lower()


def test_the_command_asks_on_the_terminal_and_shows_nothing(databases: Databases, tmp_path: Path) -> None:
    url = databases.seeded("sqlite")
    mine, its = os.openpty()

    def control() -> None:
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        [sys.executable, "-m", "pharmdb.command", "account", "--user-email", DEMO, "--action", "set-password"],
        env=os.environ | {"PHARMDB_URL": url, "PHARMDB_HOME": str(tmp_path)},
        # Its standard input is not what it reads from.
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=control,
    ) as process:
        os.close(its)
        shown = b""
        for prompt in (b"New password", b"again"):
            while prompt not in shown:
                shown += os.read(mine, 1000)
            os.write(mine, f"{PASSWORD}\n".encode())
        try:
            while more := os.read(mine, 10_000):
                shown += more
        except OSError:  # the terminal is closed
            pass
    os.close(mine)
    assert process.returncode == 0, shown.decode()
    ((hashed,),) = raw.ask(url, f"SELECT password_hash FROM users WHERE email = '{DEMO}'")
    assert verify_password(PASSWORD, hashed)
    (file,) = (tmp_path / "runs").iterdir()
    assert PASSWORD not in shown.decode() + file.read_text(encoding="utf-8")
    assert hashed[:29] not in shown.decode() + file.read_text(encoding="utf-8")
