"""Finds and ends the processes of an installation whose supervisor and guards were killed.

Only with the data directory's lock held, and only by id: a process is ours if its guard wrote it down (id and
start time together name one process), if it carries the installation's mark in its environment, or if it is a
PostgreSQL process working in our database directory (PostgreSQL overwrites its environment, but always changes
into its directory).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from licensing.embedded.errors import EmbeddedError
from licensing.embedded.guard import start_ticks

Process = tuple[int, int]
"""A process id with its start time in clock ticks: one process, even when the id is used again."""

# A guard gives its program this long and more; it sees the supervisor's death at once.
_PATIENCE = ((None, 2.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))


def end_all(*, run: Path, postgres: Path, mark: str) -> None:
    """End every process that belongs to the installation; returns when none is left.

    First nothing is sent for two seconds: guards that are still there are ending things already.

    Raises:
        EmbeddedError: a process survived even SIGKILL.
    """
    for number, seconds in _PATIENCE:
        deadline = time.monotonic() + seconds
        asked: set[Process] = set()
        while living := find(run=run, postgres=postgres, mark=mark):
            for process in living - asked if number is not None else ():
                _send(process, number or 0)
            asked |= living
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            _forget(run)
            return
    ids = ", ".join(str(pid) for pid, _ in sorted(living))
    raise EmbeddedError(f"Processes of an earlier run cannot be ended (process ids {ids}); end them and start again.")


def find(*, run: Path, postgres: Path, mark: str) -> set[Process]:
    """The living processes of the installation, this one excepted."""
    found = _recorded(run)
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        started = start_ticks(int(process.name))
        if started is not None and (_is_marked(process, mark.encode()) or _works_in(process, postgres)):
            found.add((int(process.name), started))
    return {process for process in found if process[0] != os.getpid() and _is_alive(process)}


def _recorded(run: Path) -> set[Process]:
    found: set[Process] = set()
    for record in run.glob("*.pid"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            entry = json.loads(record.read_text())
            found |= {(int(entry[who][0]), int(entry[who][1])) for who in ("guard", "program")}
    return found


def _forget(run: Path) -> None:
    for record in run.glob("*.pid*"):
        record.unlink(missing_ok=True)


def _is_marked(process: Path, mark: bytes) -> bool:
    try:
        return mark in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _works_in(process: Path, directory: Path) -> bool:
    try:
        # A prefix, for the half-made directory beside it, and for one that was deleted under the process.
        return str((process / "cwd").readlink()).startswith(str(directory)) and _command(process) == "postgres"
    except OSError:
        return False


def _command(process: Path) -> str:
    return (process / "comm").read_text().strip()


def _is_alive(process: Process) -> bool:
    """True for the same process, unless it is a zombie that nobody has collected yet."""
    pid, started = process
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return int(fields[19]) == started and fields[0] not in (b"Z", b"X")


def _send(process: Process, number: int) -> None:
    """Signal exactly this process: the descriptor is opened first, then checked, so the id cannot change hands."""
    pid, _ = process
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if _is_alive(process):
                # SIGTERM would have PostgreSQL wait for its clients; SIGQUIT ends it now, and it recovers.
                politely = number == signal.SIGTERM and _command(Path(f"/proc/{pid}")) == "postgres"
                signal.pidfd_send_signal(descriptor, signal.SIGQUIT if politely else number)
                signal.pidfd_send_signal(descriptor, signal.SIGCONT)
        finally:
            os.close(descriptor)
