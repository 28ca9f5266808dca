"""The fleet counts every request that was due, from the instant it was due, whatever the server does to it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.load.fleet_program import Fleet, build
from tests.load.server import free_port

Serve = Callable[[socket.socket, bytes], bool]

_BODY = b'{"valid":true,"code":"VALID"}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-LENGTH: %d\r\n\r\n%b" % (len(_BODY), _BODY)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("fleet"))


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests"
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    path.write_bytes(b"\x03one" + len(request).to_bytes(4, "big") + request)
    return path


@contextmanager
def serving(serve: Serve) -> Iterator[str]:
    """A server that calls `serve` for each request until it says that the connection is done with."""

    def converse(connection: socket.socket) -> None:
        with connection:
            while (request := connection.recv(4096)) and serve(connection, request):
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def paced(program: Path, address: str, requests: Path, *, connections: int = 4) -> dict[str, Any]:
    result: dict[str, Any] = Fleet(program, address).paced(
        requests, rate=100, seconds=1.0, connections=connections, warmup=0
    )["all"]
    return result


def answer(connection: socket.socket, _request: bytes) -> bool:
    connection.sendall(_ANSWER)
    return True


def answer_in_pieces(connection: socket.socket, _request: bytes) -> bool:
    for at in range(0, len(_ANSWER), 25):
        connection.sendall(_ANSWER[at : at + 25])
        time.sleep(0.001)
    return True


def answer_for_the_last_time(connection: socket.socket, _request: bytes) -> bool:
    connection.sendall(_ANSWER.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
    return False


def answer_long(connection: socket.socket, _request: bytes) -> bool:
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 300000\r\n\r\n" + 300_000 * b"x")
    return True


@pytest.mark.parametrize("serve", [answer, answer_in_pieces, answer_for_the_last_time])
def test_every_answer_is_counted(program: Path, requests: Path, serve: Serve) -> None:
    with serving(serve) as address:
        result = paced(program, address, requests)
    assert (result["statuses"], result["errors"], result["yes"]) == ({"200": 100}, {}, 100)


def test_a_long_answer_is_read_to_its_end(program: Path, requests: Path) -> None:
    with serving(answer_long) as address:
        result = paced(program, address, requests)
    assert (result["statuses"], result["yes"]) == ({"403": 100}, 0)


def test_a_closed_loop_asks_one_request_a_connection(program: Path, requests: Path) -> None:
    busy: list[int] = []
    most: list[int] = []

    def count(connection: socket.socket, request: bytes) -> bool:
        busy.append(1)
        most.append(len(busy))
        time.sleep(0.002)
        busy.pop()
        return answer(connection, request)

    with serving(count) as address:
        result = Fleet(program, address).closed(requests, seconds=0.5, connections=3, warmup=0)["all"]
    assert result["count"] > 10
    assert max(most) == 3


def test_a_server_that_stalls_is_charged_for_all_that_was_due(program: Path, requests: Path) -> None:
    stalled = threading.Lock()

    def stall_once(connection: socket.socket, request: bytes) -> bool:
        if stalled.acquire(blocking=False):
            time.sleep(0.5)
        return answer(connection, request)

    with serving(stall_once) as address:
        result = paced(program, address, requests, connections=1)
    assert result["count"] == 100
    assert result["max_ms"] > 490
    assert result["p90_ms"] > 200  # half of them had to wait their turn


def test_what_gets_no_answer_is_an_error(program: Path, requests: Path) -> None:
    asked: list[int] = []

    def hang_up_now_and_then(connection: socket.socket, request: bytes) -> bool:
        asked.append(1)
        return len(asked) % 10 > 0 and answer(connection, request)

    with serving(hang_up_now_and_then) as address:
        result = paced(program, address, requests)
    assert result["statuses"] == {"200": 90}
    assert sum(result["errors"].values()) == 10

    nobody = paced(program, f"127.0.0.1:{free_port()}", requests)
    assert (nobody["count"], sum(nobody["errors"].values())) == (0, 100)
