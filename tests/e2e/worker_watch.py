"""Everything that runs below a process while a test looks: command lines and environments, from /proc."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

PAUSE_SECONDS = 0.005


class WorkerWatch:
    """Samples the descendants of one process, again and again, until the block ends."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_over)
        self.seen: set[tuple[bytes, bytes]] = set()
        """Command lines, each with its environment."""
        self.own_command = _read(root, "cmdline")
        self.own_environment = _read(root, "environ")

    def __enter__(self) -> WorkerWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def programs(self) -> set[bytes]:
        """The first words of the command lines."""
        return {command.partition(b"\0")[0] for command, _ in self.seen}

    def variables(self, *, program: bytes | None = None) -> set[bytes]:
        """Environment variables, each as NAME=VALUE; of all processes or of those of one program."""
        chosen = [text for command, text in self.seen if program in (None, command.partition(b"\0")[0])]
        return {entry for text in chosen for entry in text.split(b"\0") if entry}

    def _sample_until_over(self) -> None:
        while not self._is_over.wait(PAUSE_SECONDS):
            for pid in _below(self._root):
                command, environment = _read(pid, "cmdline"), _read(pid, "environ")
                # A child that has not become its own program yet is a picture of the worker: see `own_…`. One that
                # became another program between the two readings is left for the next time.
                if command and command != self.own_command and command == _read(pid, "cmdline"):
                    self.seen.add((command, environment))


def _below(root: int) -> list[int]:
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            children = [int(word) for task in tasks for word in (task / "children").read_text().split()]
        except (OSError, ValueError):
            continue
        found += children
        waiting += children
    return found


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
