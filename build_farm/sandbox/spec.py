"""What a sandboxed run is given and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from build_farm.sandbox.slots import BuildSlot

MIB = 1024 * 1024
SCRATCH = PurePosixPath("/tmp")  # noqa: S108 - the sandbox's own, private and bounded


class SandboxUnavailable(Exception):
    """The confinement cannot be had here, so the command was not run. The message says what was missing."""


class Stop(StrEnum):
    """Why a run ended."""

    EXITED = "exited"
    WALL_CLOCK = "wall_clock"
    CPU = "cpu"
    MEMORY = "memory"
    PROCESSES = "processes"
    CALLED_OFF = "called_off"


@dataclass(frozen=True)
class Mount:
    """A file or folder of the host as the sandbox sees it."""

    source: Path
    target: PurePosixPath


@dataclass(frozen=True)
class Overlay:
    """Read-only layers, lowest first, under a writable one.

    Writes go to the bounded tmpfs and vanish with the sandbox; nothing is ever written to a layer. With `kept_in` (a
    folder that the slot's uid may write, with the empty folders `upper` and `work` in it) they stay in its `upper`.
    A folder that is in a layer belongs to the layer's owner, so the command can write in it only if it is also one
    of `writable_folders` (names directly below `target`), which are made in the writable layer beforehand.
    """

    layers: tuple[Path, ...]
    target: PurePosixPath
    kept_in: Path | None = None
    writable_folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class InlineFile:
    """A read-only file whose content goes from memory to memory: it is on no disk and on no command line."""

    target: PurePosixPath
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class SandboxLimits:
    """Bounds of one run. Bytes and seconds.

    `memory_bytes` bounds the anonymous memory of each process (RLIMIT_DATA) and the resident memory of all
    together (watched, and a cgroup where one is delegated). `address_space_bytes` only stops mappings that
    RLIMIT_DATA does not count; Go reserves far more than it uses. `scratch_bytes` bounds everything written to the
    sandbox's own file system; tmpfs pages are memory too, so the machine needs the sum of both for each slot.
    """

    wall_seconds: float = 300.0
    cpu_seconds: int = 600
    memory_bytes: int = 3072 * MIB
    address_space_bytes: int = 16384 * MIB
    scratch_bytes: int = 1024 * MIB
    file_bytes: int = 512 * MIB
    processes: int = 256
    open_files: int = 1024
    log_bytes: int = 256 * 1024


@dataclass(frozen=True)
class SandboxSpec:
    """One run: who runs it, what it sees, and its bounds.

    `scratch` is an empty folder of the host over which the bounded tmpfs is mounted (in the sandbox's own mount
    namespace only). `writable_files` are existing host files that the slot's uid may write: one inode each,
    bounded by `limits.file_bytes`. Every path must be reachable by the slot's uid. `redact` are texts that must
    not show in the log. `cgroup_parent` is a delegated cgroup v2 folder, or None.
    """

    slot: BuildSlot
    scratch: Path
    read_only: tuple[Mount, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    inline_files: tuple[InlineFile, ...] = ()
    writable_files: tuple[Mount, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    workdir: PurePosixPath = SCRATCH
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    redact: tuple[str, ...] = field(default=(), repr=False)
    cgroup_parent: Path | None = None
    bubblewrap: Path | None = None


@dataclass(frozen=True)
class SandboxResult:
    """How a run ended.

    `exit_code` is the command's own (128 + n for signal n), None if the run was stopped. `log` is stdout and
    stderr in the order they arrived, cleaned: printable text, long lines and a long middle cut. `uid` is the uid it
    ran under; `dropped_uid` is False where the server is an ordinary user and had to keep its own.
    """

    stop: Stop
    exit_code: int | None
    log: str
    log_truncated: bool
    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    uid: int
    dropped_uid: bool
    cgroup: bool

    @property
    def succeeded(self) -> bool:
        """True if the command ended by itself with exit code 0."""
        return self.stop is Stop.EXITED and self.exit_code == 0
