"""A control beside what commits: how long a bare write takes to be on the same disk, at fixed instants, meanwhile.

No answer that waits for its commit can be quicker than the disk. One that stands still for a third of a second now and
then, as disks of virtual machines do, sets the slowest answers of any server on it.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType

from tests.load.results import Figures

# Few enough to take no part in what is measured, and enough for a 99th percentile of a minute.
RATE = 50.0
_PAGE = bytes(8192)


class DiskWatch:
    """Writes a page and waits until it is on the disk, RATE times a second, for as long as the block lasts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="disk-watch", daemon=True)
        self._milliseconds: list[float] = []

    def __enter__(self) -> DiskWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def figures(self) -> Figures:
        """What was seen so far; milliseconds from the instant at which each write was due."""
        return summarize(self._milliseconds)

    def _watch(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, _PAGE, 0)
            os.fsync(descriptor)
            due = time.monotonic()
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                os.pwrite(descriptor, _PAGE, 0)
                os.fdatasync(descriptor)
                self._milliseconds.append(1000 * (time.monotonic() - due))
                due += 1 / RATE
        finally:
            os.close(descriptor)


def summarize(milliseconds: list[float]) -> Figures:
    """The figures of these latencies; none of none."""
    ordered = sorted(milliseconds)
    if not ordered:
        return {}
    at = min(int(0.99 * len(ordered)), len(ordered) - 1)
    return {
        "disk_p50_ms": round(ordered[len(ordered) // 2], 3),
        "disk_p99_ms": round(ordered[at], 3),
        "disk_max_ms": round(ordered[-1], 3),
    }
