"""Build slots: places on this machine where one build at a time runs under a uid of its own."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BASE_UID = 64000


class SlotsBusy(Exception):
    """Every slot of this machine is taken by another build."""


@dataclass(frozen=True)
class BuildSlot:
    """One slot. `uid` is None where the server is an ordinary user, who cannot change to another.

    `folder` is empty when the slot is taken; the slot's uid can pass through it but cannot write to it.
    """

    number: int
    folder: Path
    uid: int | None


@dataclass(frozen=True)
class SlotPool:
    """The slots under `folder`, `count` of them, with uids from `base_uid` where the server is root.

    A slot is held by a file lock, so it is given back by the kernel when its worker dies.
    """

    folder: Path
    count: int
    base_uid: int = BASE_UID

    @contextmanager
    def take(self) -> Iterator[BuildSlot]:
        """Take a free slot for the length of the block.

        Raises:
            SlotsBusy: none is free.
        """
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.folder.chmod(0o711)
        for number in range(self.count):
            lock = os.open(self.folder / f"slot-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if self._is_free(number, lock):
                    yield self._emptied(number)
                    return
            finally:
                os.close(lock)
        raise SlotsBusy(f"all {self.count} build slots are taken")

    def _is_free(self, number: int, lock: int) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # The kernel frees the lock of a killed worker an instant before it has killed that worker's sandbox.
        return os.geteuid() != 0 or not has_processes(self.base_uid + number)

    def _emptied(self, number: int) -> BuildSlot:
        uid = self.base_uid + number if os.geteuid() == 0 else None
        folder = self.folder / f"slot-{number}"
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o710)
        folder.chmod(0o710)
        if uid is not None:
            os.chown(folder, 0, uid)
        return BuildSlot(number=number, folder=folder, uid=uid)


def has_processes(uid: int) -> bool:
    """True if any process on this machine runs under `uid`."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            status = (entry / "status").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if re.search(rf"^Uid:(\t\d+)*\t{uid}\b", status, re.MULTILINE) and "\nState:\tZ" not in status:
            return True
    return False
