"""A PostgreSQL of its own for these tests, since they stop, cut and kill it, and a scratch database in it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from licensing.embedded.instance import Instance
from licensing.embedded.postgres import OWNER, SUPERUSER
from licensing.embedded.secrets import ensure_database_passwords
from licensing.embedded.services import start_postgres
from licensing.embedded.stopping import NeverStop
from licensing.embedded.supervisor import Supervisor

Connection = psycopg.Connection[tuple[object, ...]]


class Server:
    """The server's two doors: the owner of the database, and the superuser."""

    def __init__(self, owner_url: str, superuser_url: str) -> None:
        self.owner_url = owner_url
        self.superuser_url = superuser_url


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    root = Path(tempfile.mkdtemp(prefix="keywright-snapshots-"))
    instance = Instance(root)
    instance.open()
    supervisor = Supervisor(stop=NeverStop(), announce=lambda _: None)
    try:
        postgres = start_postgres(instance, supervisor, stop=NeverStop(), durable=False)
        passwords = ensure_database_passwords(instance.secrets, database_exists=True)
        owner_url = postgres.url(OWNER)
        superuser_url = make_conninfo(owner_url, user=SUPERUSER, password=passwords["superuser"])
        yield Server(owner_url, superuser_url)
    finally:
        supervisor.stop()
        instance.close()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def database(server: Server) -> Iterator[Connection]:
    """The owner's connection, in autocommit."""
    with psycopg.connect(server.owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def superuser(server: Server) -> Iterator[Connection]:
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        yield connection
