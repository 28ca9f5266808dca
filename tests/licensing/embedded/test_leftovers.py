"""What a killed run left: found by record, by mark or by directory, ended by id, and never anybody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from licensing.embedded import leftovers
from licensing.embedded.guard import start_ticks

Spawn = Callable[..., "subprocess.Popen[bytes]"]

MARK = "KEYWRIGHT_INSTANCE=0123456789abcdef"
FOREVER = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a process with some environment; it is gone after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*entries: str, code: str = FOREVER) -> subprocess.Popen[bytes]:
        environment = dict(entry.split("=", 1) for entry in entries)
        child = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps, faster."""
    hurried = tuple((number, seconds / 10) for number, seconds in leftovers._PATIENCE)
    monkeypatch.setattr(leftovers, "_PATIENCE", hurried)


def end_all(folder: Path) -> None:
    leftovers.end_all(run=folder, postgres=folder / "postgres", mark=MARK)


def record(folder: Path, pid: int, *, ticks: int | None) -> None:
    entry = [pid, ticks]
    (folder / "web.pid").write_text(json.dumps({"guard": entry, "program": entry}))


@pytest.mark.usefixtures("no_patience")
class TestEnded:
    def test_by_the_mark_in_its_environment(self, spawn: Spawn, tmp_path: Path) -> None:
        child = spawn("A=b", MARK)
        end_all(tmp_path)
        assert child.wait(5) == -15

    def test_by_its_record(self, spawn: Spawn, tmp_path: Path) -> None:
        child = spawn()
        record(tmp_path, child.pid, ticks=start_ticks(child.pid))
        end_all(tmp_path)
        assert child.wait(5) == -15
        assert list(tmp_path.iterdir()) == []

    def test_even_if_it_does_not_listen(self, spawn: Spawn, tmp_path: Path) -> None:
        deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + FOREVER
        child = spawn(MARK, code=deaf)
        end_all(tmp_path)
        assert child.wait(5) == -9


@pytest.mark.usefixtures("no_patience")
class TestLeftAlone:
    def test_another_installations(self, spawn: Spawn, tmp_path: Path) -> None:
        child = spawn("KEYWRIGHT_INSTANCE=fedcba9876543210", f"NOTE=x{MARK}")
        end_all(tmp_path)
        assert child.poll() is None

    def test_one_that_was_given_a_recorded_id_later(self, spawn: Spawn, tmp_path: Path) -> None:
        child = spawn()
        record(tmp_path, child.pid, ticks=(start_ticks(child.pid) or 0) - 1)
        end_all(tmp_path)
        assert child.poll() is None

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"guard": null}', '{"guard": ["x", 1], "program": [1]}'])
    def test_everything_when_a_record_is_no_record(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "web.pid").write_text(text)
        assert leftovers.find(run=tmp_path, postgres=tmp_path / "postgres", mark=MARK) == set()

    def test_ourselves(self, tmp_path: Path) -> None:
        record(tmp_path, os.getpid(), ticks=start_ticks(os.getpid()))
        end_all(tmp_path)
        assert list(tmp_path.iterdir()) == []
