"""The quickstart command as a child of a test, and a customer's request to the server it started."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.licensing.embedded.processes import (
    SOURCE_ROOT,
    as_user,
    descendants,
    user_environment,
    wait_for,
)

START_SECONDS = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Quickstart:
    """The command as a child, its output read as it comes."""

    def __init__(
        self,
        data_dir: Path,
        *options: str,
        port: int | None = None,
        uid: int | None = None,
        environment: Mapping[str, str] | None = None,
        with_builds: bool = False,
    ) -> None:
        self.data_dir = data_dir
        self.environment = dict(environment or {})
        self.port = port or free_port()
        command = [*as_user(uid), str(SOURCE_ROOT / "manage.py"), "quickstart"]
        command += ["--data-dir", str(data_dir), "--port", str(self.port), *options]
        if not with_builds:
            command.append("--no-builds")
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=user_environment(uid) | dict(environment or {}),
            cwd="/",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def is_answering(self) -> bool:
        return "Ctrl-C stops it" in self.output

    def wait_until_answering(self) -> Quickstart:
        wait_for(lambda: self.is_answering or self.process.poll() is not None, seconds=START_SECONDS)
        assert self.is_answering, self.output
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(START_SECONDS)
        self._reader.join()
        return code

    def kill_alone(self) -> None:
        self.process.kill()
        self.wait_quietly()

    def kill_tree(self) -> None:
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait_quietly()

    def wait_quietly(self) -> None:
        self.process.wait()
        # The check's own output goes to our pipe; whoever holds it is ended by its guard.
        self._reader.join(15)

    def program(self, name: str) -> int:
        """The process id of a child's program, as its guard recorded it."""
        record = json.loads((self.data_dir / "run" / f"{name}.pid").read_text())
        pid: int = record["program"][0]
        return pid

    def status_of(self, path: str) -> int | None:
        """The HTTP status of a GET, or None when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        if self.process.poll() is None:
            self.kill_tree()
        self._reader.join(15)
        assert self.process.stdout is not None
        self.process.stdout.close()


def document(data_dir: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((data_dir / "quickstart.json").read_text())
    return read


def authenticate(data_dir: Path, port: int, *, fingerprint: str) -> dict[str, Any]:
    """One activation by `cust_123`: the answer of the plugin API."""
    customer = document(data_dir)["customers"]["cust_123"]
    asked = {
        "plugin_name": "api-logger",
        "plugin_version": "2.1.0",
        "plugin_signature": customer["plugin_signature"],
        "customer_id": "cust_123",
        "installation": {"fingerprint": fingerprint},
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/plugins/authenticate",
        data=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {customer['api_key']}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as exc:
        pytest.fail(exc.read().decode())
    return answer
