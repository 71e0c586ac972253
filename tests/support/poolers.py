"""Connection poolers in transaction mode: PgBouncer where it is installed, and a strict one of the tests' own."""

from __future__ import annotations

import platform
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.folders import new_folder, remove_later
from support.postgres import SUPERUSER, Server

SOCKET = ".s.PGSQL.5432"
# The number of the system call in which a thread waits for another one.
_FUTEX = {"x86_64": "202", "aarch64": "98"}.get(platform.machine(), "")
PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextmanager
def pgbouncer(server: Server) -> Iterator[Path]:
    """The folder of the socket of a PgBouncer that has three server connections for everybody."""
    assert PGBOUNCER is not None
    folder = new_folder("pgbouncer-")
    if server.user:
        shutil.chown(folder, server.user)
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.data} user={SUPERUSER}\n"
        f"[pgbouncer]\nlisten_addr =\nlisten_port = 5432\nunix_socket_dir = {folder}\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 3\n"
    )
    user: dict[str, Any] = {"user": server.user, "group": None, "extra_groups": []} if server.user else {}
    process = subprocess.Popen(
        [PGBOUNCER, "-q", folder / "pgbouncer.ini"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **user,
    )
    try:
        while not (folder / SOCKET).exists():
            assert process.poll() is None
        yield folder
    finally:
        process.kill()
        process.wait()
        remove_later(folder)


@contextmanager
def forgetful(server: Server) -> Iterator[Path]:
    """The folder of the socket of a pooler that refuses startup options and, after each transaction, discards all."""
    folder = new_folder("pooler-")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / SOCKET))
    listener.listen()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_serve, args=(client, str(server.data / SOCKET)), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield folder
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        remove_later(folder)


def _serve(client: socket.socket, place: str) -> None:
    with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError, EOFError):
        server.connect(place)
        (length,) = struct.unpack("!i", _exactly(client, 4))
        startup = _exactly(client, length - 4)
        if b"\0options\0" in startup:
            text = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
            client.sendall(b"E" + struct.pack("!i", len(text) + 4) + text)
            return
        server.sendall(struct.pack("!i", length) + startup)
        threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
        started = False
        while True:
            kind, content = _message(server)
            if kind == b"K":
                content = struct.pack("!i", 4711) + content[4:]
            if (kind, content) == (b"Z", b"I"):
                if started:
                    _discard(server)
                started = True
            if kind == b"C":
                _wait_until_waited_for()
            client.sendall(kind + struct.pack("!i", len(content) + 4) + content)


def _wait_until_waited_for() -> None:
    """Until the main thread waits in the kernel, and not for this thread: with it stopped, this would never end."""
    place = Path(f"/proc/self/task/{threading.main_thread().native_id}/syscall")
    while place.exists() and place.read_text().split()[0] in ("running", _FUTEX):
        pass


def _discard(server: socket.socket) -> None:
    text = b"DISCARD ALL\0"
    server.sendall(b"Q" + struct.pack("!i", len(text) + 4) + text)
    while _message(server)[0] != b"Z":
        pass


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while data := client.recv(65_536):
            server.sendall(data)
        server.shutdown(socket.SHUT_RDWR)


def _message(connection: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(connection, 5)
    return head[:1], _exactly(connection, struct.unpack("!i", head[1:])[0] - 4)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts
