"""A relay between a client and PostgreSQL's socket, which can go silent, and can lie like a pooling proxy."""

import socket
import threading
from contextlib import suppress
from types import TracebackType

_KEY_DATA = b"K\x00\x00\x00"  # BackendKeyData: the type and the first bytes of a short length


class Relay:
    """Accepts on a port of the loopback interface and relays every connection to a unix socket.

    `pretends_to_be_backend` gives the client another process id than the backend's, as poolers do. While `is_silent`
    nothing is relayed any more and nothing is closed: a half-open connection.
    """

    def __init__(self, target: str, *, pretends_to_be_backend: bool = False) -> None:
        self._target = target
        self._pretends = pretends_to_be_backend
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]
        self.is_silent = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in [self._listening, *self._sockets]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # close alone would not wake who waits on it
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            self._sockets += [client, server]
            try:
                server.connect(self._target)
            except OSError:  # there is nobody at this moment
                client.close()
                continue
            threading.Thread(target=self._relay, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._relay, args=(server, client, self._pretends), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, lies: bool) -> None:
        try:
            while data := source.recv(65536):
                if self.is_silent:
                    return
                sink.sendall(_with_another_pid(data) if lies else data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


def _with_another_pid(data: bytes) -> bytes:
    at = data.find(_KEY_DATA)
    if at < 0:
        return data
    pid_at = at + 5
    return data[:pid_at] + (4_000_001).to_bytes(4, "big") + data[pid_at + 4 :]
