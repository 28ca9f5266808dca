"""Processes as the tests see them: who belongs to a data directory, who descends from whom, how to kill them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from licensing.embedded.instance import INSTANCE_MARK

SOURCE_ROOT = Path(__file__).resolve().parents[3]
ORDINARY_UID = 12345


def wait_for(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.02)


def wait_until_gone(data_dir: Path, *, seconds: float = 60.0) -> None:
    """Wait until nothing that has to do with a data directory runs; on failure, say what does."""
    deadline = time.monotonic() + seconds
    while left := processes_of(data_dir):
        assert time.monotonic() < deadline, "still there: " + "; ".join(left)
        time.sleep(0.02)


def descendants(root: int) -> list[int]:
    """The ids of every process below `root`, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
        except (OSError, ValueError):
            continue
    found, queue = [], [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def processes_of(data_dir: Path) -> list[str]:
    """Command lines of living processes that have anything to do with a data directory."""
    root = data_dir.resolve()
    needles = [os.fsencode(root), *_marks(root)]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
            texts = [(entry / "cmdline").read_bytes(), os.fsencode((entry / "cwd").readlink())]
        except OSError:
            continue
        try:
            texts.append((entry / "environ").read_bytes())
        except OSError:
            texts.append(b"")
        if state != b"Z" and any(needle in text for needle in needles for text in texts):
            found.append(f"{entry.name} {texts[0].replace(bytes(1), b' ').decode(errors='replace').strip()}")
    return found


def _marks(root: Path) -> list[bytes]:
    """What else tells its processes: the folder of their sockets, and the mark in their environment."""
    marks = []
    with contextlib.suppress(FileNotFoundError):
        marks.append((root / "run" / "sockets").read_bytes())
    with contextlib.suppress(FileNotFoundError):
        identity = hashlib.sha256(b"%d:" % root.stat().st_uid + os.fsencode(root))
        marks.append(f"{INSTANCE_MARK}={identity.hexdigest()[:16]}".encode())
    return marks


@contextlib.contextmanager
def homes() -> Iterator[Callable[[int], Path]]:
    """Make folders that belong to a user and that this user can reach: pytest's own are closed to others."""
    made: list[Path] = []

    def make(uid: int) -> Path:
        made.append(Path(tempfile.mkdtemp(prefix="keywright-home-")))
        made[-1].chmod(0o755)
        os.chown(made[-1], uid, uid)
        return made[-1]

    try:
        yield make
    finally:
        for folder in made:
            shutil.rmtree(folder)


class Holder:
    """`hold.py` as a child: embedded services in another process, which commits rows and says so."""

    def __init__(self, data_dir: Path, *, durable: bool = True, uid: int | None = None) -> None:
        self.data_dir = data_dir
        command = [*as_user(uid), str(Path(__file__).parent / "hold.py"), str(data_dir)]
        self.process = subprocess.Popen(
            [*command, "durable" if durable else "fast"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=user_environment(uid),
            cwd="/",
            start_new_session=True,
        )
        self.acknowledged: list[int] = []

    def read_line(self, *, seconds: float = 90.0) -> str | None:
        """The next line it prints, or None when it ended."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, "nothing was said in time"
        return self.process.stdout.readline().decode().strip() or None

    def wait_until_up(self) -> dict[str, Any]:
        """Its endpoints, once it has them."""
        line = self.read_line()
        assert line is not None, self.errors()
        endpoints: dict[str, Any] = json.loads(line)
        return endpoints

    def collect(self) -> list[int]:
        """After its end: every row number that it said was committed."""
        assert self.process.stdout is not None
        lines = self.process.stdout.read().decode().splitlines()
        return [int(line) for line in lines if line.isdigit()]

    def errors(self) -> str:
        """What it wrote to standard error."""
        self.process.kill()
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def kill_alone(self) -> None:
        """SIGKILL to it and nothing else."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def kill_tree(self) -> None:
        """SIGKILL to it and to all that descends from it, as one snapshot of /proc shows it."""
        self.kill_tree_but(None)

    def kill_tree_but(self, spared: int | None) -> None:
        """The same, sparing one process and what descends from it."""
        kept = set() if spared is None else {spared, *descendants(spared)}
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            if pid not in kept:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, then its exit code."""
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        """Free the pipes; whatever runs is ended."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        if self.process.poll() is None:
            self.kill_tree()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def as_user(uid: int | None) -> list[str]:
    """How to start Python as another user, keeping no right of root's."""
    if uid is None:
        return [sys.executable]
    drop = [shutil.which("setpriv") or "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return [*drop, "--bounding-set=-all", "--no-new-privs", _python_for_everybody()]


def user_environment(uid: int | None) -> dict[str, str]:
    """An environment in which that Python finds our packages."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{SOURCE_ROOT}:{packages}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }


@functools.cache
def _python_for_everybody() -> str:
    """An interpreter of our version that an ordinary user may execute; root's own may lie in root's home."""
    name = f"python3.{sys.version_info.minor}"
    # It must be able to start itself again: `setpriv` still has root's rights when it executes it.
    again = "import psycopg, subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    for candidate in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        probe = ["setpriv", f"--reuid={ORDINARY_UID}", "--clear-groups", candidate, "-c", again]
        environment = user_environment(ORDINARY_UID)
        if subprocess.run(probe, env=environment, capture_output=True, check=False).returncode == 0:
            return candidate
    pytest.skip("no interpreter here that an ordinary user may execute")
