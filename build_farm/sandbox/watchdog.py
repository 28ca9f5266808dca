"""What a tree of processes uses, read from /proc: the bound on a sandbox as a whole where no cgroup is delegated."""

import os
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class TreeUsage:
    """Processes alive, their resident memory (shared pages counted for each) and CPU time, reaped children's too."""

    processes: int
    memory_bytes: int
    cpu_seconds: float


def measure_tree(root: int) -> TreeUsage:
    """Add up `root` and all its descendants. A process that ends meanwhile counts as much as was read of it."""
    processes, memory, ticks = 0, 0, 0
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        try:
            fields = read_stat(pid)
            waiting += _children(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        processes += 1
        memory += int(fields[21]) * _PAGE
        ticks += sum(map(int, fields[11:15]))
    return TreeUsage(processes=processes, memory_bytes=memory, cpu_seconds=ticks / _TICKS)


def read_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on; the second may hold blanks and brackets."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def start_time(pid: int) -> str | None:
    """When `pid` started, in ticks since boot, or None when it is gone: with the pid it names one process only."""
    try:
        fields = read_stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def _children(pid: int) -> list[int]:
    # Children belong to the thread that started them.
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - called every 100 ms for each process
        try:
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
