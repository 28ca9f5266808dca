"""A real web process for tests: Granian on loopback, as the database role `web`, with what a web process is given."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from psycopg.conninfo import make_conninfo

ROOT = Path(__file__).resolve().parents[3]
_START_SECONDS = 60.0
_ANSWER_SECONDS = 20.0
# Everything but what the `sign` worker alone has.
_SECRETS = ("DJANGO_SECRET_KEY", "API_KEY_PEPPERS", "KEK_AUTH", "KEK_BUILDS", "KEK_TOKENS", "KEK_WEB", "VALKEY_URL")


class WebServer:
    """Where it listens, and raw bytes to and from it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> socket.socket:
        """A connection of one's own."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def exchange(self, *sent: bytes, half_close: bool = False) -> bytes:
        """Send bytes, and read until the server closes the connection."""
        with self.connect() as connection:
            for each in sent:
                connection.sendall(each)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(_ANSWER_SECONDS)
            return b"".join(_chunks(connection))


def database_url(role: str) -> str:
    """The address of the tests' database for `web` or `sign`."""
    return make_conninfo(os.environ[f"TEST_DATABASE_{role.upper()}_URL"], dbname=settings.DATABASES["default"]["NAME"])


@contextmanager
def web_server(log: Path) -> Iterator[WebServer]:
    """Run a web process on the tests' database, of which it sees what is committed."""
    call_command("grant_roles", verbosity=0)
    port = _free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "PYTHONPATH")},
        **{name: os.environ[name] for name in _SECRETS},
        "KEYWRIGHT_ROLE": "web",
        "KEYWRIGHT_EMBEDDED": "true",
        "DATABASE_URL": database_url("web"),
        "PUBLIC_URL": "http://testserver",
        "WEB_THREADS": "2",
        "RATE_LIMIT_PER_MINUTE": "0",
        "LOG_LEVEL": "DEBUG",
        "PYTHONWARNINGS": "error",
    }
    argv = [sys.executable, "-m", "granian", "--interface", "wsgi", "licensing.wsgi:application"]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--http", "1", "--no-ws"]
    argv += ["--workers", "1", "--blocking-threads", "2"]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            _wait_until_it_answers(process, port, log)
            yield WebServer(port)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the web process does not answer:\n{log.read_text('utf-8', 'replace')[-4000:]}")


def _chunks(connection: socket.socket) -> Iterator[bytes]:
    try:
        while chunk := connection.recv(65536):
            yield chunk
    except (TimeoutError, ConnectionResetError):
        return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
