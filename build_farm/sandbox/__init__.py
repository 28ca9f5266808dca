"""Runs one hostile command where it can read little, write less and reach nobody.

Owns: the bubblewrap command line, the drop to the slot's own uid before bubblewrap starts, the seccomp filter, the
limits, the bounded and cleaned log. Knows nothing of Go, builds or customers, and has no ORM and no settings.

What always holds: if any part of the confinement cannot be had, `SandboxUnavailable` is raised and the command has
not run; when `run_sandboxed` returns or raises, no process of the sandbox is alive.
"""

from build_farm.sandbox.runner import run_sandboxed
from build_farm.sandbox.slots import BuildSlot, SlotPool, SlotsBusy
from build_farm.sandbox.spec import (
    InlineFile,
    Mount,
    Overlay,
    SandboxLimits,
    SandboxResult,
    SandboxSpec,
    SandboxUnavailable,
    Stop,
)

__all__ = [
    "BuildSlot",
    "InlineFile",
    "Mount",
    "Overlay",
    "SandboxLimits",
    "SandboxResult",
    "SandboxSpec",
    "SandboxUnavailable",
    "SlotPool",
    "SlotsBusy",
    "Stop",
    "run_sandboxed",
]
