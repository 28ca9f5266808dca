"""A Valkey of a test's own, to be killed and frozen."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from licensing.embedded.binaries import valkey_server


class OwnValkey:
    """Listens on a unix socket; keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A socket's path may have a hundred characters.
        self._socket = Path(tempfile.gettempdir()) / f"kw-valkey-{os.getpid()}-{id(self):x}.sock"
        self.url = f"unix://{self._socket}?db=0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(valkey_server()), "--port", "0", "--unixsocket", str(self._socket), "--save", ""]
        self._process = subprocess.Popen([*command, "--dir", str(self._folder)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self._socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(7) == b"+PONG\r\n"
        except OSError:
            return False
