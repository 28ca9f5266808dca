"""Holding a port: one installation has it, its own web server gets in, nobody else does."""

from __future__ import annotations

import os
import socket

import pytest

from licensing.embedded.errors import EmbeddedError
from licensing.embedded.port import HOST, reserve


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_second_reservation_is_refused() -> None:
    port = a_free_port()
    with reserve(port), pytest.raises(EmbeddedError, match=f"^Port {port} is in use: choose another one"):
        reserve(port)
    reserve(port).close()


@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_a_port_somebody_listens_on_is_refused(option: int) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, option, 1)
        other.bind((HOST, 0))
        other.listen()
        with pytest.raises(EmbeddedError, match="is in use"):
            reserve(other.getsockname()[1])


def test_our_own_server_gets_in_and_receives_everything() -> None:
    port = a_free_port()
    with reserve(port), socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind((HOST, port))
        server.listen()
        for _ in range(20):
            with socket.create_connection((HOST, port), timeout=5):
                server.accept()[0].close()


def test_another_program_does_not_get_in() -> None:
    port = a_free_port()
    with reserve(port), socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind((HOST, port))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may take any port")
def test_a_port_that_is_not_ours_to_take_is_one_sentence() -> None:
    with pytest.raises(EmbeddedError, match=r"Port 1 cannot be used: permission was denied\."):
        reserve(1)
