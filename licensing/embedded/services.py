"""Embedded PostgreSQL and Valkey together: what the quickstart and the test suite start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from licensing.embedded.instance import Instance
from licensing.embedded.postgres import OWNER, SIGN, WEB, Passwords, Postgres
from licensing.embedded.secrets import ensure_database_passwords
from licensing.embedded.stopping import NeverStop, Stop
from licensing.embedded.supervisor import Child, Supervisor
from licensing.embedded.valkey import Valkey

# Web and workers have ended by the time these are asked to.
_STOP_GROUP_VALKEY, _STOP_GROUP_POSTGRES = 1, 0


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
        self._supervisor = Supervisor(stop=NeverStop(), announce=lambda _: None)

    def start(self) -> Endpoints:
        """Start both and wait until they answer.

        Raises:
            AlreadyRunning: another process uses the directory.
            EmbeddedError: anything else that one sentence can explain.
        """
        self.instance.open()
        try:
            valkey = start_valkey(self.instance, self._supervisor, durable=self._durable)
            postgres = start_postgres(self.instance, self._supervisor, stop=NeverStop(), durable=self._durable)
        except BaseException:
            self.stop()
            raise
        return Endpoints(
            database_owner_url=postgres.url(OWNER),
            database_web_url=postgres.url(WEB),
            database_sign_url=postgres.url(SIGN),
            valkey_url=valkey.url(),
        )

    def stop(self) -> None:
        """End both and release the directory. Safe to call twice."""
        self._supervisor.stop()
        self.instance.close()


def start_valkey(instance: Instance, supervisor: Supervisor, *, durable: bool) -> Valkey:
    """Start Valkey in an open instance; it answers when this returns."""
    valkey = Valkey(instance, durable=durable)
    child = Child(program=valkey.program(), is_ready=valkey.is_ready, stop_group=_STOP_GROUP_VALKEY)
    supervisor.start(child)
    return valkey


def start_postgres(instance: Instance, supervisor: Supervisor, *, stop: Stop, durable: bool) -> Postgres:
    """Start PostgreSQL in an open instance, made first if need be, with its roles and its database.

    Raises:
        EmbeddedError: it cannot be made or started.
        StopRequested: someone asked to stop meanwhile.
    """
    passwords = ensure_database_passwords(instance.secrets, database_exists=instance.postgres.exists())
    postgres = Postgres(instance, Passwords(**passwords), durable=durable)
    postgres.prepare(stop)
    child = Child(program=postgres.program(), is_ready=postgres.is_ready, stop_group=_STOP_GROUP_POSTGRES)
    supervisor.start(child)
    postgres.create_roles_and_database()
    return postgres
