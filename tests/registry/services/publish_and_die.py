"""A process that publishes releases over HTTP's own code path, and dies at one line of the registry's code.

Reads from standard input the name of the test's database and an operator's key, then numbers, a line each. For each
it forks a child that makes a draft, uploads two files, signs and publishes them, and kills itself at that line of
`registry/`, counted as they are executed; one beyond the last lets it finish. Answers `killed`, or `done LINES`.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any

import django

django.setup()

from datetime import UTC, datetime  # noqa: E402

from django.conf import settings  # noqa: E402
from django.test import Client  # noqa: E402

from registry.services.signing import sign_due_artifacts  # noqa: E402
from registry.storage import artifact_store  # noqa: E402
from tests.registry.cast import ACTOR, PUBLIC  # noqa: E402

_REGISTRY = os.sep + "registry" + os.sep
_RELEASES = f"/api/manage/plugins/{PUBLIC}/releases"
TARGETS = ("linux-amd64", "darwin-arm64")

_lines = 0
_last_line = 0


def _count(frame: FrameType, event: str, _argument: Any) -> Any:
    global _lines
    if _REGISTRY not in frame.f_code.co_filename or f"{os.sep}tests{os.sep}" in frame.f_code.co_filename:
        return None
    if event == "line":
        _lines += 1
        if _lines == _last_line:
            os.kill(os.getpid(), signal.SIGKILL)
    return _count


def _publish(key: str) -> None:
    client, headers = Client(), {"Authorization": f"Bearer {key}"}

    def send(method: str, path: str, body: bytes, content_type: str = "application/json") -> None:
        response = client.generic(method, path, body, content_type=content_type, headers=headers)
        if response.status_code not in (200, 201):
            raise RuntimeError(f"{path}: {response.status_code}")

    send("POST", f"{_RELEASES}/", b'{"version": "2.1.0"}')
    for target in TARGETS:
        content = f"for {target} ".encode() * 60_000
        send("PUT", f"{_RELEASES}/2.1.0/files/{target}", content, "application/octet-stream")
    sign_due_artifacts(store=artifact_store(), actor=ACTOR, now=datetime.now(UTC))
    send("POST", f"{_RELEASES}/2.1.0/publish", b"{}")


def _in_child(key: str, line: int) -> str:
    global _last_line
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _last_line = line
        sys.settrace(_count)
        _publish(key)
        sys.settrace(None)
        os.write(writing, str(_lines).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        lines = told.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed" if os.WTERMSIG(status) == signal.SIGKILL else "ended"
    return f"done {lines}" if status == 0 else "failed"


def _main() -> None:
    if settings.DATABASES["default"]["NAME"] != sys.stdin.readline().strip():
        raise SystemExit("not the test's database")
    key = sys.stdin.readline().strip()
    for line in sys.stdin:
        sys.stdout.write(_in_child(key, int(line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
