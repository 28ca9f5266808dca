"""Holding on to a TCP port of loopback while the web server that uses it comes and goes."""

from __future__ import annotations

import errno
import socket

from licensing.embedded.errors import EmbeddedError, os_error_reason

HOST = "127.0.0.1"


def reserve(port: int) -> socket.socket:
    """Take a port, exclusively; the socket keeps it until closed, and receives nothing itself.

    Granian binds with SO_REUSEPORT, so two servers of one user would share a port in silence and each answer half of
    the requests. Binding without that option fails if anybody is there; set afterwards, it lets our own server in,
    while another reservation, which again begins without it, is refused. SO_REUSEADDR goes the other way: needed to
    pass connections in TIME_WAIT, and taken back lest two sockets that both have it and do not listen share.

    Raises:
        EmbeddedError: the port is in use, or not ours to take.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((HOST, port))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError as exc:
        holder.close()
        if exc.errno == errno.EADDRINUSE:
            raise EmbeddedError(f"Port {port} is in use: choose another one with --port.") from exc
        raise EmbeddedError(f"Port {port} cannot be used: {os_error_reason(exc)}.") from exc
    return holder
