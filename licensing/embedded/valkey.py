"""Valkey 9 as a foreground child on a unix socket. It keeps nothing on disk: what it holds may be lost.

A stale file would be worse than none: counters that were flushed already would be counted twice.
"""

from __future__ import annotations

import signal
import socket

from licensing.embedded.binaries import valkey_server
from licensing.embedded.instance import Instance
from licensing.embedded.process import Program

_SOCKET = "valkey.sock"


class Valkey:
    """The embedded Valkey of one installation."""

    def __init__(self, instance: Instance, *, durable: bool) -> None:
        self._instance = instance
        self._max_memory = "512mb" if durable else "128mb"

    def program(self) -> Program:
        """The server as a child process in the foreground."""
        settings = {
            "port": "0",
            "unixsocket": str(self._instance.sockets / _SOCKET),
            "unixsocketperm": "700",
            "daemonize": "no",
            "dir": str(self._instance.valkey),
            "save": "",
            "appendonly": "no",
            "maxmemory": self._max_memory,
            "maxmemory-policy": "noeviction",
            "protected-mode": "yes",
            "enable-debug-command": "no",
            "enable-module-command": "no",
            "enable-protected-configs": "no",
        }
        argv = [str(valkey_server())]
        for name, value in settings.items():
            argv += [f"--{name}", value]
        return Program(
            name="valkey",
            argv=argv,
            env=self._instance.child_environment(),
            log=self._instance.logs / "valkey.log",
            record=self._instance.run / "valkey.pid",
            stop_steps=((signal.SIGTERM, 5.0),),
        )

    def is_ready(self) -> bool:
        """True once the server answers PING."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(1.0)
                connection.connect(str(self._instance.sockets / _SOCKET))
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def url(self) -> str:
        """`unix:///path?db=0`, as redis-py and django settings take it."""
        return f"unix://{self._instance.sockets / _SOCKET}?db=0"
