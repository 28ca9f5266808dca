"""A cgroup v2 of its own for one run, where the machine's administrator has delegated a folder of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from build_farm.sandbox.spec import SandboxLimits, SandboxUnavailable

_NEEDED = {"memory", "pids"}
_OWN_PROCESSES = 8  # of bubblewrap


@dataclass(frozen=True)
class Cgroup:
    """The folder of one run's cgroup."""

    folder: Path

    def killed_for_memory(self) -> bool:
        """True if the kernel killed a process of it at its memory limit."""
        events = dict(line.split() for line in (self.folder / "memory.events").read_text().splitlines())
        return int(events.get("oom_kill", 0)) > 0


@contextmanager
def own_cgroup(parent: Path | None, *, name: str, limits: SandboxLimits) -> Iterator[Cgroup | None]:
    """Make a cgroup below `parent` with the memory and process bounds of `limits`; None if there is no parent.

    Tmpfs pages are charged to it too, so its memory bound is that of the processes and of scratch together.

    Raises:
        SandboxUnavailable: a parent is configured and does not delegate memory and pids.
    """
    if parent is None:
        yield None
        return
    folder = parent / f"{name}-{os.getpid()}"
    try:
        missing = _NEEDED - set((parent / "cgroup.subtree_control").read_text().split())
        if missing:
            raise SandboxUnavailable(f"cgroup {parent} does not delegate {', '.join(sorted(missing))}")
        folder.mkdir()
        (folder / "memory.max").write_text(str(limits.memory_bytes + limits.scratch_bytes))
        (folder / "memory.oom.group").write_text("1")
        if (folder / "memory.swap.max").exists():
            (folder / "memory.swap.max").write_text("0")
        (folder / "pids.max").write_text(str(limits.processes + _OWN_PROCESSES))
    except OSError as exc:
        raise SandboxUnavailable(f"cgroup {parent} cannot be used: {exc}") from exc
    try:
        yield Cgroup(folder)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    # Empty by now; the kernel may take a moment to see it.
    deadline = monotonic() + 5
    while True:
        try:
            folder.rmdir()
            return
        except OSError:
            if monotonic() > deadline:
                raise
        sleep(0.01)
