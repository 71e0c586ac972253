"""The connection is cut after PostgreSQL has carried out a COMMIT, before its answer arrives: nobody says otherwise."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from support import raw
from support.answers import AT, HEART
from support.databases import Databases

import pharmdb
from pharmdb.database import targets, transactions
from pharmdb.errors import UnavailableError
from pharmdb.learning import attempts


class Proxy:
    """Stands between a client and the server; `cut` is what it looks for in the client's words.

    It passes on these words, waits for the server's answer, and keeps it for itself.
    """

    def __init__(self, server: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="px-")
        self.cut: bytes | None = None
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self.folder}/.s.PGSQL.5432")
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                heard = threading.Event()
                threading.Thread(target=self._speak, args=(client, server, heard), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server, heard), daemon=True).start()

    def _speak(self, client: socket.socket, server: socket.socket, heard: threading.Event) -> None:
        with suppress(OSError):
            while words := client.recv(65536):
                if self.cut and self.cut in words:
                    heard.set()
                server.sendall(words)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, client: socket.socket, server: socket.socket, heard: threading.Event) -> None:
        with suppress(OSError):
            while words := server.recv(65536):
                if heard.is_set():
                    break
                client.sendall(words)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        Path(self.folder, ".s.PGSQL.5432").unlink()
        Path(self.folder).rmdir()


@pytest.fixture
def url(databases: Databases) -> str:
    return databases.seeded("postgresql")


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    proxy = Proxy(f"{conninfo_to_dict(raw.libpq(url))['host']}/.s.PGSQL.5432")
    yield proxy
    proxy.close()


@pytest.fixture
def through(url: str, proxy: Proxy) -> str:
    return url.partition("?")[0] + f"?host={proxy.folder}"


def answers(url: str) -> int:
    (((found,),)) = raw.ask(url, f"SELECT correct_count FROM progress_by_tag WHERE user_id = 1 AND tag = '{HEART.tag}'")
    return int(found)


def alone(url: str, before: Callable[[], None]) -> None:
    with attempts.counting(targets.target(url)) as count:
        before()
        count(1, HEART, correct=True, at=AT)


def kept(url: str, before: Callable[[], None]) -> None:
    with transactions.keeping(targets.target(url)) as transaction, transaction() as connection:
        attempts.count_progress(connection, 1, HEART, correct=True, at=AT)
        before()


def once(url: str, before: Callable[[], None]) -> None:
    with transactions.writing(targets.target(url)) as connection:
        attempts.count_progress(connection, 1, HEART, correct=True, at=AT)
        before()


@pytest.mark.parametrize("count", [alone, kept, once])
def test_a_commit_without_an_answer_is_not_said_to_be_undone(
    url: str, proxy: Proxy, through: str, count: Callable[[str, Callable[[], None]], None]
) -> None:
    def harm() -> None:
        proxy.cut = b"INSERT INTO progress_by_tag" if count is alone else b"COMMIT"

    was = answers(url)
    with pytest.raises(UnavailableError, match="unknown: the transaction") as error:
        count(through, harm)
    assert "pharmdb inspect" in error.value.command
    assert answers(url) == was + 1


@pytest.mark.parametrize("count", [kept, once])
def test_before_the_commit_nothing_was_written(
    url: str, proxy: Proxy, through: str, count: Callable[[str, Callable[[], None]], None]
) -> None:
    was = answers(url)
    proxy.cut = b"INSERT INTO progress_by_tag"
    with pytest.raises(UnavailableError, match="nothing was written"):
        count(through, lambda: None)
    assert answers(url) == was


def test_a_seed_whose_commit_has_no_answer_runs_again(url: str, proxy: Proxy, through: str) -> None:
    raw.run(url, "DELETE FROM progress_by_tag")
    proxy.cut = b"COMMIT"
    with pytest.raises(UnavailableError, match="unknown: the transaction"):
        pharmdb.seed(through)
    proxy.cut = None
    report = pharmdb.seed(through)
    assert report.tables["created"].sum() == 0
    assert report.fingerprint == pharmdb.seed(url).fingerprint
