"""The boot clock: seconds that never go back and go on while the machine sleeps."""

import time
from typing import Final


def _boot_clock_id() -> int | None:
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None:
        return None
    try:
        time.clock_gettime(clock)
    except OSError:  # a sandboxed kernel may name it and not have it
        return None
    return clock


_CLOCK: Final = _boot_clock_id()


def boot_seconds() -> float:
    """Return seconds since the machine started.

    CLOCK_BOOTTIME counts suspension (clock_gettime(2)); without it, the monotonic clock, which on such systems may
    stand still while the machine sleeps.
    """
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
