"""The wish to stop, from a signal or from a parent that is gone, heard only where the program waits."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(Exception):
    """Someone wants the program to end in good order."""


class Stop:
    """Remembers that someone asked, and cuts every `pause` short from then on.

    A signal handler may run between any two instructions, where raising could lose a child that was just started
    or wait for a lock this very thread holds. So the handler only writes a byte to a pipe.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._parent: int | None = None
        self._previous: dict[int, object] = {}
        self.is_requested = False

    def request(self) -> None:
        """Ask. Safe in a signal handler and from another thread."""
        self.is_requested = True
        with contextlib.suppress(OSError):
            os.write(self._write, b"x")

    def pause(self, seconds: float) -> None:
        """Sleep, unless asked to stop.

        Raises:
            StopRequested: someone asked, before or meanwhile.
        """
        if not self.is_requested:
            watched = [self._read] if self._parent is None else [self._read, self._parent]
            ready, _, _ = select.select(watched, [], [], seconds)
            self.is_requested = self.is_requested or bool(ready)
        if self.is_requested:
            raise StopRequested

    def follow(self, parent: int) -> None:
        """Stop as well when the process `parent` ends."""
        try:
            self._parent = os.pidfd_open(parent)
        except ProcessLookupError:
            self.request()

    def __enter__(self) -> Self:
        """Listen to SIGINT, SIGTERM and SIGHUP (which stays ignored where it was: nohup)."""
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_IGN and number == signal.SIGHUP:
                continue
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        for descriptor in (self._read, self._write, self._parent):
            if descriptor is not None:
                os.close(descriptor)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.request()


class NeverStop(Stop):
    """For callers that cannot be asked: a plain sleep."""

    def __init__(self) -> None:
        self.is_requested = False

    def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)
