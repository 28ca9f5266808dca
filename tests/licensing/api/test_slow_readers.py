"""A customer that reads its export slowly, over and over: everybody else is decided about all the same."""

import json
import socket
from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from accounts.services.api_keys import issue_api_key
from tests.licensing.api.driver import asked
from tests.licensing.api.web_server import WebServer, web_server
from tests.licensing.cast import ACTOR, Cast

pytestmark = [pytest.mark.django_db]

READERS = 12


@pytest.fixture(scope="module")
def server(
    cast: Cast, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    with django_db_blocker.unblock(), web_server(tmp_path_factory.mktemp("web") / "web.log") as running:
        yield running


@pytest.fixture(scope="module")
def reader(cast: Cast, django_db_blocker: DjangoDbBlocker) -> str:
    """A key of a customer with an audit log of some twenty megabytes."""
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO audit_event (actor_kind, actor_id, actor_display, action, subject_kind, subject_id,"
                " customer_id, code, request_id, detail)"
                " SELECT 'api_key', 'key_1', '', 'plugin.served', 'installation', 'inst_' || n, %s, 'VALID', '',"
                " jsonb_build_object('filler', repeat('x', 2000)) FROM generate_series(1, 9000) AS n",
                [cast.acme.id],
            )
        return issue_api_key(customer=cast.acme.customer, name="Reader", actor=ACTOR, scopes=["account:read"]).key


def slow_reader(server: WebServer, key: str) -> socket.socket:
    """Ask for the whole log, and read none of it."""
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connected.connect(("127.0.0.1", server.port))
    connected.sendall(
        f"GET /api/account/audit/export HTTP/1.1\r\nHost: testserver\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    )
    return connected


def test_decisions_go_on(server: WebServer, cast: Cast, reader: str) -> None:
    readers = [slow_reader(server, reader) for _ in range(READERS)]
    try:
        body = json.dumps(asked(cast.globex)).encode()
        head = f"POST /api/plugins/authenticate HTTP/1.1\r\nHost: testserver\r\nContent-Length: {len(body)}\r\n"
        head += (
            f"Content-Type: application/json\r\nAuthorization: Bearer {cast.globex.key}\r\nConnection: close\r\n\r\n"
        )
        for _ in range(5):
            assert server.exchange(head.encode() + body).startswith(b"HTTP/1.1 200")
    finally:
        for connected in readers:
            connected.close()
