"""Noticing that more is asked of a process than it can answer, so that it can refuse some of it at once.

A server hands a request over when a thread is free, so from inside nobody sees how many wait. What can be seen is that
the threads were never free lately, and that a great many connections are open. Then what is costly, and will be asked
again anyway, is refused with a time to come back at, different for each: a fleet that restarts at once is served
within minutes, and nobody waits in vain.
"""

import os
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from licensing.core.errors import Overloaded

SAMPLE_SECONDS: Final = 0.1
BUSY_SHARE: Final = 0.7
MANY_CONNECTIONS: Final = 150
# When to come back: spread out from the first to the second, and wider the longer it lasts, since every refusal takes
# some of what there is too little of. Doubled after seven seconds, halved again as soon.
RETRY_SECONDS: Final = (3, 30)
LONGEST_RETRY_SECONDS: Final = 60
_WIDENING: Final = 1.01


class Load:
    """How busy this process is. `threads` serve its requests; `now` counts seconds."""

    def __init__(
        self,
        *,
        threads: int,
        now: Callable[[], float] = time.perf_counter,
        open_files: Callable[[], int] = lambda: len(os.listdir("/proc/self/fd")),  # noqa: PTH208  a tenth of the cost
    ) -> None:
        self._threads = threads
        self._now = now
        self._open_files = open_files
        self._busy_seconds = 0.0
        self._sampled_at = now()
        self._sampled_seconds = 0.0
        self._retry_seconds = float(RETRY_SECONDS[1])
        self.is_overloaded = False

    def worked(self, seconds: float) -> None:
        """A request took so long."""
        # Not exact while threads add at once, and it need not be.
        self._busy_seconds += seconds

    def sample(self) -> None:
        """Look at what happened since the last look; called every SAMPLE_SECONDS by one thread."""
        now, busy = self._now(), self._busy_seconds
        elapsed = now - self._sampled_at
        if elapsed <= 0:
            return
        share = (busy - self._sampled_seconds) / (elapsed * self._threads)
        self._sampled_at, self._sampled_seconds = now, busy
        self.is_overloaded = share > BUSY_SHARE and self._open_files() > MANY_CONNECTIONS
        wider = self._retry_seconds * (_WIDENING if self.is_overloaded else 1 / _WIDENING)
        self._retry_seconds = min(max(wider, RETRY_SECONDS[1]), LONGEST_RETRY_SECONDS)

    def watch(self) -> None:
        """Sample for as long as the process lives, in a thread of its own."""
        threading.Thread(target=self._watch, name="keywright-overload", daemon=True).start()

    def refuse_if_overloaded(self) -> None:
        """Refuse a request that can come again.

        Raises:
            Overloaded: with `Retry-After`.
        """
        if self.is_overloaded:
            raise Overloaded(
                "Too many requests at this moment; ask again later.",
                retry_after_seconds=random.randint(RETRY_SECONDS[0], round(self._retry_seconds)),
            )

    def _watch(self) -> None:
        while True:
            time.sleep(SAMPLE_SECONDS)
            self.sample()


load = Load(threads=1)  # replaced by whoever serves requests


def serve_with(threads: int) -> None:
    """Say how many threads serve requests, and begin to watch them."""
    global load
    load = Load(threads=threads)
    load.watch()


def worked(seconds: float) -> None:
    """A request took so long."""
    load.worked(seconds)


def refuse_if_overloaded() -> None:
    """Refuse a request that can come again while there are too many. Raises `Overloaded`."""
    load.refuse_if_overloaded()
