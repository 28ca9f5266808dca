"""SIGKILL of a whole server at random instants: no orphan, the next start works, nothing acknowledged is lost.

KEYWRIGHT_KILL_ROUNDS sets how many instants are tried (4 unless told), first initdb included.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.quickstart import Quickstart, authenticate, free_port
from tests.licensing.embedded.processes import SOURCE_ROOT, processes_of, user_environment, wait_for, wait_until_gone

ROUNDS = int(os.environ.get("KEYWRIGHT_KILL_ROUNDS", "4"))
KILLED = ("web", "postgres", "valkey")
# The database is being made; and the whole of a start and some of the service after it.
FIRST_DELAYS_SECONDS, LATER_DELAYS_SECONDS = (0.2, 2.5), (0.2, 9.0)


@pytest.fixture
def start() -> Iterator[Callable[..., Quickstart]]:
    """Start the command; whatever was started is gone in the end."""
    started: list[Quickstart] = []

    def begin(*arguments: Any, **options: Any) -> Quickstart:
        started.append(Quickstart(*arguments, **options))
        return started[-1]

    yield begin
    for quickstart in started:
        quickstart.close()


@pytest.mark.slow
@pytest.mark.parametrize("kill", [Quickstart.kill_alone, Quickstart.kill_tree], ids=["parent", "tree"])
def test_at_random_instants_first_initdb_included(
    start: Callable[..., Quickstart], tmp_path: Path, kill: Callable[[Quickstart], None]
) -> None:
    for number in range(max(1, ROUNDS // 4)):
        data, port = tmp_path / f"data-{number}", free_port()
        acknowledged: dict[str, str] = {}
        for delays in (FIRST_DELAYS_SECONDS, LATER_DELAYS_SECONDS):
            delay = random.uniform(*delays)
            victim = start(data, port=port)
            acknowledged |= activate_until(victim, time.monotonic() + delay, prefix=f"machine-{number}")
            kill(victim)
            wait_until_gone(data)

        survivor = start(data, port=port).wait_until_answering()
        for fingerprint, installation in acknowledged.items():
            again = authenticate(data, port, fingerprint=fingerprint)
            assert again["installation_id"] == installation, f"lost after {delay:.2f} s"
        assert survivor.end() == 0
        assert processes_of(data) == []


def activate_until(server: Quickstart, deadline: float, *, prefix: str) -> dict[str, str]:
    """Activate a few machines as soon as it answers; what it acknowledged before the deadline."""
    acknowledged: dict[str, str] = {}
    wait_for(lambda: server.is_answering or time.monotonic() > deadline, seconds=60)
    while server.is_answering and time.monotonic() < deadline and len(acknowledged) < 3:
        fingerprint = f"{prefix}-{len(acknowledged)}"
        answer = authenticate(server.data_dir, server.port, fingerprint=fingerprint)
        acknowledged[fingerprint] = answer["installation_id"]
    wait_for(lambda: time.monotonic() > deadline, seconds=60)
    return acknowledged


def test_a_worker_that_dies_is_started_again(start: Callable[..., Quickstart], tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = start(data).wait_until_answering()
    for name in KILLED:
        os.kill(server.program(name), signal.SIGKILL)

    wait_for(lambda: all(f"  {name} ended" in server.output for name in KILLED), seconds=60)
    wait_for(lambda: answers(server), seconds=60)
    assert server.end() == 0
    assert processes_of(data) == []


def answers(server: Quickstart) -> bool:
    return server.status_of("/readyz") == 200


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_under_make_a_signal_to_make_ends_the_server(tmp_path: Path, number: int) -> None:
    """SIGTERM is passed on; after SIGKILL the server sees that make is gone."""
    data, venv = tmp_path / "data", tmp_path / "venv"
    venv.mkdir()
    (venv / "bin").symlink_to(Path(sys.executable).parent)
    (venv / ".installed").write_text("")
    command = ["make", "run", f"VENV={venv}", f"ARGS=--data-dir '{data}' --port {free_port()} --no-demo"]
    output = tmp_path / "output"
    with output.open("wb") as stream:
        make = subprocess.Popen(
            command, cwd=SOURCE_ROOT, env=user_environment(None), stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        wait_for(lambda: "Ctrl-C stops it" in output.read_text() or make.poll() is not None, seconds=120)
        make.send_signal(number)
        make.wait(60)
        wait_until_gone(data)
    finally:
        if make.poll() is None:
            os.killpg(make.pid, signal.SIGKILL)
            make.wait()
    said = output.read_text()
    assert "Ctrl-C stops it" in said
    assert "stopped; the data is kept" in said
    assert "Traceback" not in said
