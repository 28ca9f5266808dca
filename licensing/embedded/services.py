"""Embedded PostgreSQL and Valkey together: what the quickstart and the test suite start."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from licensing.embedded.errors import EmbeddedError, cannot
from licensing.embedded.files import write_private
from licensing.embedded.instance import Instance
from licensing.embedded.postgres import OWNER, SIGN, WEB, Passwords, Postgres
from licensing.embedded.process import GuardedProcess
from licensing.embedded.valkey import Valkey

# Crash recovery after a kill may take a while; a server that ended instead is noticed at once.
READY_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where the services listen. PostgreSQL: libpq URIs (with passwords); Valkey: `unix:///path?db=0`."""

    database_owner_url: str
    database_web_url: str
    database_sign_url: str
    valkey_url: str

    def __repr__(self) -> str:
        """Without the passwords."""
        return f"Endpoints(valkey_url={self.valkey_url!r}, …)"


class EmbeddedServices:
    """Real PostgreSQL and Valkey on unix sockets, with everything they keep under one directory.

    `durable=False` is for tests: a crash of the machine may lose the data, and the owner may create databases.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.instance = Instance(data_dir)
        self._durable = durable
        self._running: list[GuardedProcess] = []

    def start(self) -> Endpoints:
        """Start both and wait until they answer.

        Raises:
            AlreadyRunning: another process uses the directory.
            EmbeddedError: anything else that one sentence can explain.
        """
        self.instance.open()
        try:
            postgres, valkey = self.prepare()
            cache = self._spawn(valkey)
            database = self._spawn(postgres)
            wait_until_ready(cache, valkey.is_ready)
            wait_until_ready(database, postgres.is_ready)
            postgres.create_roles_and_database()
        except BaseException:
            self.stop()
            raise
        return endpoints(postgres, valkey)

    def stop(self) -> None:
        """End both, last started first, and release the directory. Safe to call twice."""
        while self._running:
            self._running.pop().stop()
        self.instance.close()

    def prepare(self) -> tuple[Postgres, Valkey]:
        """With the instance open: passwords and database directory made, ready to be run."""
        postgres = Postgres(self.instance, database_passwords(self.instance.secrets), durable=self._durable)
        postgres.prepare()
        return postgres, Valkey(self.instance, durable=self._durable)

    def _spawn(self, service: Postgres | Valkey) -> GuardedProcess:
        process = GuardedProcess(service.program())
        self._running.append(process)
        return process


def endpoints(postgres: Postgres, valkey: Valkey) -> Endpoints:
    """The addresses of two services."""
    return Endpoints(
        database_owner_url=postgres.url(OWNER),
        database_web_url=postgres.url(WEB),
        database_sign_url=postgres.url(SIGN),
        valkey_url=valkey.url(),
    )


def wait_until_ready(
    process: GuardedProcess, is_ready: Callable[[], bool], *, timeout_seconds: float = READY_TIMEOUT_SECONDS
) -> None:
    """Return when a child answers.

    Raises:
        EmbeddedError: it ended, or did not answer in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not is_ready():
        if process.poll() is not None:
            raise process.failure()
        if time.monotonic() > deadline:
            name, log = process.program.name, process.program.log
            raise EmbeddedError(f"{name} did not answer within {timeout_seconds:.0f} s (log: {log}).")
        time.sleep(0.02)


def database_passwords(folder: Path) -> Passwords:
    """The four passwords, made once and kept in files of mode 600."""
    made: dict[str, str] = {}
    for role in ("superuser", "owner", "web", "sign"):
        path = folder / f"database_{role}_password"
        try:
            if not path.exists():
                write_private(path, secrets.token_hex(32))
            made[role] = path.read_text(encoding="utf-8").strip()
        except OSError as exc:
            raise cannot("keep a password in", exc, path=path) from exc
    return Passwords(**made)
