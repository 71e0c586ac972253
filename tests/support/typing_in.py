"""Types the commands that pharmdb prints: `pharmdb …` in this process, everything else in bash."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from pharmdb import settings
from pharmdb.command import program


class Shell:
    """A shell of a person: what is exported stays for the next command. `typed` is what the person types when asked."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, programs: Path | None = None) -> None:
        self._patch = patch
        self._folder = folder
        self._path = [str(Path(sys.executable).parent), *([str(programs)] if programs else []), os.environ["PATH"]]
        self.typed = ""
        self.history: list[str] = []
        self.told: dict[str, Any] = {}
        self.said = ""

    def type(self, command: str) -> int:
        """The exit status of the last part; `told` is then the outcome or the error, where pharmdb ran."""
        status = 0
        self.history.append(command)
        for part in command.split(" && "):
            status = self._one(part)
            if status:
                break
        return status

    def follow(self, command: str) -> None:
        """Types a command, and what it names in turn.

        Only the doctor and inspect may fail, which tell of the database as it is, and only with another command.
        """
        seen: list[str] = []
        while status := self.type(command):
            assert command not in seen, f"a circle: {[*seen, command]}"
            looks = command.startswith(("pharmdb doctor", "pharmdb inspect"))
            assert looks, f"{command}: {status}: {self.told or self.said}"
            seen.append(command)
            command = self.told["error"]["command"] if "error" in self.told else self.told["next"]
            assert command, self.told

    def _one(self, part: str) -> int:
        words = re.match(r"((?:\w+=(?:'[^']*'|\"[^\"]*\"|\S)+ )*)(.*)", part, re.DOTALL)
        assert words is not None
        assignments = shlex.split(os.path.expandvars(words[1].replace("+psycopg:/:", "")))
        first, *rest = shlex.split(words[2])
        if first == "export" and "=" not in rest[0]:
            return 0
        if first == "export":
            self._patch.setenv(*rest[0].split("=", 1))
        elif first == "unset":
            self._patch.delenv(rest[0])
        elif first == "read":
            done = self._bash(f'{part} && printf %s "${rest[-1]}"')
            self._patch.setenv(rest[-1], done.stdout)
            return done.returncode
        elif first == "pharmdb" and not set("|;") & set(rest):
            with pytest.MonkeyPatch.context() as patch:
                for name, value in (each.split("=", 1) for each in assignments):
                    patch.setenv(name, value)
                return self._pharmdb(rest)
        else:
            return self._bash(part).returncode
        return 0

    def _pharmdb(self, arguments: list[str]) -> int:
        printed, errors = io.StringIO(), io.StringIO()
        json_ = [] if arguments[0] == "studio" else ["--json"]
        before = Path.cwd()
        os.chdir(self._folder)
        try:
            with redirect_stdout(printed), redirect_stderr(errors):
                status = program.main([*arguments, *json_])
        except SystemExit as refused:
            status = int(str(refused.code))
        finally:
            os.chdir(before)
        self.said = printed.getvalue() + errors.getvalue()
        assert "Traceback" not in self.said
        self.told = json.loads(printed.getvalue()) if json_ and printed.getvalue() else {}
        return status

    def _bash(self, command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder if not command.startswith(("git ", "alembic ")) else settings.SOURCE,
            env=os.environ | {"PATH": ":".join(self._path)},
            input=self.typed,
            capture_output=True,
            text=True,
            check=False,
        )
        self.said = done.stdout + done.stderr
        return done
