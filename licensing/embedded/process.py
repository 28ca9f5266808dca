"""One program under its guard: start it, ask about it, stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from licensing.embedded import guard
from licensing.embedded.errors import CANNOT_BECOME_ANOTHER, EmbeddedError, cannot, known_symptom, last_words
from licensing.embedded.stopping import Stop

GENTLE_STOP: tuple[tuple[int, float], ...] = ((signal.SIGTERM, 10.0),)
_GUARD_MARGIN_SECONDS = 10.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run. `argv[0]` is an absolute path; secrets belong in files, never in `argv`."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path | None
    """Where its output goes; None for our own."""
    record: Path
    cwd: Path | None = None
    run_as: tuple[int, int] | None = None
    """The (uid, gid) to become, keeping nothing of root's but the right to pass its folders."""
    passwd: Path | None = None
    """A file for the program to see in place of /etc/passwd."""
    death_signal: int = signal.SIGKILL
    stop_steps: Sequence[tuple[int, float]] = field(default=GENTLE_STOP)
    """Signals in order, each with the seconds to wait after it; SIGKILL follows by itself."""


class GuardedProcess:
    """A running program, its guard between it and us."""

    def __init__(self, program: Program) -> None:
        """Start the program; its output goes to the end of its log.

        Raises:
            EmbeddedError: the log cannot be written, or no process can be made.
        """
        self.program = program
        self.started_at = time.monotonic()
        orders = {
            "argv": list(program.argv),
            "cwd": None if program.cwd is None else str(program.cwd),
            "run_as": program.run_as,
            "passwd": None if program.passwd is None else str(program.passwd),
            "death_signal": int(program.death_signal),
            "stop_steps": [[int(number), seconds] for number, seconds in program.stop_steps],
            "record": str(program.record),
            "supervisor": os.getpid(),
        }
        output = _open_log(program.log) if program.log is not None else None
        try:
            self.log_start = os.fstat(output).st_size if output is not None else 0
            self._guard = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-I", "-S", guard.__file__],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=dict(program.env),
                start_new_session=True,
                bufsize=0,
            )
        except OSError as exc:
            raise cannot(f"start {program.name}", exc) from exc
        finally:
            if output is not None:
                os.close(output)
        self._send(json.dumps(orders).encode() + b"\n")

    def _send(self, data: bytes) -> None:
        assert self._guard.stdin is not None  # noqa: S101 - for the type checker: it was asked for
        try:
            while data:
                data = data[self._guard.stdin.write(data) :]
        except BrokenPipeError:
            return  # the guard is gone already; its exit code says so

    @property
    def pid(self) -> int:
        """The guard's process id."""
        return self._guard.pid

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._guard.poll()

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """The exit code; None when it still runs after the timeout."""
        try:
            return self._guard.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_stop(self) -> None:
        """Begin the program's end and return at once."""
        assert self._guard.stdin is not None  # noqa: S101
        self._guard.stdin.close()

    def stop(self) -> int:
        """End the program, as gently as its steps say, and return its exit code when nothing of it is left."""
        self.ask_to_stop()
        patience = sum(seconds for _, seconds in self.program.stop_steps) + _GUARD_MARGIN_SECONDS
        code = self.wait(patience)
        if code is None:
            self._guard.kill()
            code = self._guard.wait()
        return code

    def last_words(self) -> str:
        """The end of what this run wrote to its log, for a message."""
        return last_words(self.program.log, since=self.log_start) if self.program.log is not None else ""

    def failure(self) -> EmbeddedError:
        """Why it ended, in one sentence."""
        code = self.poll()
        if code == guard.EXIT_CANNOT_DROP:
            return EmbeddedError(CANNOT_BECOME_ANOTHER.format(name=self.program.name))
        if code == guard.EXIT_NO_NAMESPACE:
            return EmbeddedError(
                f"{self.program.name} needs a user name, and the user id {os.geteuid()} has none in /etc/passwd: "
                "add one, or run this as another user."
            )
        words = self.last_words()
        log = f" (log: {self.program.log})" if self.program.log is not None else ""
        reason = known_symptom(words)
        if reason is not None:
            return EmbeddedError(f"{self.program.name} stopped because {reason}{log}.")
        said = f": {words}" if words else "."
        return EmbeddedError(f"{self.program.name} ended with code {code}{log}{said}")


def _open_log(log: Path) -> int:
    try:
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise cannot("write the log", exc, path=log) from exc


def run_to_end(program: Program, *, stop: Stop, timeout_seconds: float) -> None:
    """Run a program that ends by itself.

    Raises:
        EmbeddedError: it could not start, failed, or took longer than the timeout.
        StopRequested: someone asked to stop meanwhile; the program has been ended.
    """
    process = GuardedProcess(program)
    deadline = process.started_at + timeout_seconds
    try:
        while process.wait(_POLL_SECONDS) is None:
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{program.name} took longer than {timeout_seconds:.0f} s.")
            stop.pause(0)
    finally:
        process.stop()
    if process.poll() != 0:
        raise process.failure()
