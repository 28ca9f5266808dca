"""Starts children in order, keeps them running, and stops them in the opposite order.

Knows programs and nothing of what they do: usable, and tested, with any command.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from licensing.embedded.errors import EmbeddedError, cannot
from licensing.embedded.process import GuardedProcess, Program
from licensing.embedded.stopping import Stop

MAX_LOG_BYTES = 10 * 1024 * 1024
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
# A child that ran this long had recovered: its next failure is a new one.
_HEALTHY_SECONDS = 60.0
_POLL_SECONDS = 0.02
_WATCH_SECONDS = 0.25
_LOG_CHECK_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Child:
    """A program to keep running."""

    program: Program
    is_ready: Callable[[], bool] | None = None
    """Whether it does its job yet; without it, running is enough."""
    ready_timeout_seconds: float = 120.0
    stop_group: int = 0
    """Higher groups are stopped first, the members of one group together."""
    explain: Callable[[GuardedProcess], EmbeddedError] = field(default=GuardedProcess.failure)
    """Why a first start failed, in one sentence."""

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name


@dataclass
class _Running:
    child: Child
    process: GuardedProcess | None
    started_at: float
    failures: int = 0
    start_again_at: float = 0.0
    was_ready: bool = False


class Supervisor:
    """A set of children, in the order they were started."""

    def __init__(self, *, stop: Stop, announce: Callable[[str], None]) -> None:
        self._stop = stop
        self._announce = announce
        self._running: list[_Running] = []

    def start(self, *children: Child) -> None:
        """Start children together and return when all are ready.

        Raises:
            EmbeddedError: one of them ended or was not ready in time.
            StopRequested: someone asked to stop meanwhile.
        """
        for child in children:
            rotate_log(child.program.log)
            process = GuardedProcess(child.program)
            self._running.append(_Running(child, process, time.monotonic()))
        started = self._running[-len(children) :]
        while True:
            # Every one of them each time: one that ended must not wait for the slowest to be noticed.
            are_ready = [self._is_ready(running) for running in started]
            if all(are_ready):
                return
            self._stop.pause(_POLL_SECONDS)

    def watch(self) -> None:
        """Keep every child running until asked to stop.

        Raises:
            StopRequested: always, in the end.
        """
        next_log_check = 0.0
        while True:
            now = time.monotonic()
            for running in self._running:
                self._look_after(running, now)
            if now >= next_log_check:
                next_log_check = now + _LOG_CHECK_SECONDS
                self._bound_logs()
            self._stop.pause(_WATCH_SECONDS)

    def stop(self) -> None:
        """End every child, highest stop group first; returns when nothing is left of them."""
        for group in sorted({running.child.stop_group for running in self._running}, reverse=True):
            members = [running.process for running in self._running if running.child.stop_group == group]
            processes = [process for process in members if process is not None]
            for process in processes:
                process.ask_to_stop()
            for process in processes:
                process.stop()
        self._running.clear()

    def processes(self) -> dict[str, GuardedProcess]:
        """The children that run at this moment, by name."""
        return {running.child.name: running.process for running in self._running if running.process is not None}

    def _is_ready(self, running: _Running) -> bool:
        child, process = running.child, running.process
        if process is None:
            return False
        if process.poll() is not None:
            raise child.explain(process)
        if not running.was_ready and (child.is_ready is None or child.is_ready()):
            # Asked again: the answer may have been somebody else's if ours has ended.
            running.was_ready = process.poll() is None
        if not running.was_ready and time.monotonic() - running.started_at > child.ready_timeout_seconds:
            words = process.last_words()
            raise EmbeddedError(
                f"{child.name} did not answer within {child.ready_timeout_seconds:.0f} s "
                f"(log: {child.program.log}){f': {words}' if words else '.'}"
            )
        return running.was_ready

    def _look_after(self, running: _Running, now: float) -> None:
        """Notice an end, and start again when its delay is over."""
        if running.process is not None:
            code = running.process.poll()
            if code is None:
                return
            running.process.ask_to_stop()
            running.process = None
            if now - running.started_at > _HEALTHY_SECONDS:
                running.failures = 0
            self._delay(running, now, f"ended with code {code}")
        if now >= running.start_again_at:
            running.started_at = now
            try:
                running.process = GuardedProcess(running.child.program)
            except EmbeddedError as exc:
                self._delay(running, now, f"cannot start: {exc}")

    def _delay(self, running: _Running, now: float, what: str) -> None:
        seconds = min(_FIRST_DELAY_SECONDS * 2**running.failures, _LONGEST_DELAY_SECONDS)
        running.failures = min(running.failures + 1, 16)
        running.start_again_at = now + seconds
        log = running.child.program.log
        self._announce(f"{running.child.name} {what}; starting it again in {seconds:.1f} s (log: {log})")

    def _bound_logs(self) -> None:
        for running in self._running:
            log = running.child.program.log
            try:
                if log is not None and log.stat().st_size > MAX_LOG_BYTES:
                    # The child holds it open for appending, so it goes on at the new end.
                    shutil.copyfile(log, _previous(log))
                    os.truncate(log, 0)
            except OSError as exc:
                self._announce(f"cannot shorten {log}: {exc.strerror}")


def rotate_log(log: Path | None) -> None:
    """Keep the previous run's log as `<name>.log.1` and begin a new one."""
    try:
        if log is not None and log.exists():
            log.replace(_previous(log))
    except OSError as exc:
        raise cannot("begin a new log", exc, path=log) from exc


def _previous(log: Path) -> Path:
    return log.with_name(f"{log.name}.1")
