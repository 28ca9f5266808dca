"""Runs one program and makes sure that it, and all it ever starts, ends with the supervisor.

Standalone: executed by path with `python -I -S` and importing nothing of ours, so that it starts in
milliseconds. It reads its orders, one line of JSON, from standard input, and keeps that pipe open. The program
is ended, gracefully first, as soon as the pipe closes or the supervisor's process is gone: a clean stop and a
SIGKILL of the supervisor take the same road. As a child subreaper the guard inherits every descendant whose own
parent died, so "no child is left" is a fact when it exits, whatever sessions or groups they made.

If the guard itself is killed, the parent-death signal ends the program; what that program had started is found
by the next start, through the record the guard wrote or the instance mark in its environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

EXIT_CANNOT_RUN = 127
EXIT_CANNOT_DROP = 126
EXIT_NO_NAMESPACE = 125

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND = 4096

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, *values: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    if _libc.prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _keep_only_dac_override() -> None:
    """Make CAP_DAC_OVERRIDE the one capability of this process, and let it survive exec.

    PostgreSQL refuses uid 0, but a data directory or a virtual environment of root's may lie under folders that
    only root can enter. This one capability opens them without changing the mode of anybody's folder. Permitted
    equals ambient, so the kernel does not call the exec "secure" and keeps the parent-death signal.
    """
    mask = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low_and_high = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    if _libc.capset(header, low_and_high) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)


def _become(uid: int, gid: int) -> None:
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _keep_only_dac_override()


def _see_passwd(passwd: str) -> None:
    """Give this process alone another /etc/passwd, in a namespace of its own.

    initdb insists on a name for its uid, and in containers people run under ids that have none.
    """
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    if _libc.mount(passwd.encode(), b"/etc/passwd", None, ctypes.c_ulong(_MS_BIND), None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def _become_program(orders: dict[str, Any], guard: int, go: int) -> NoReturn:
    """In the forked child: wait until it is on record, give up rights, tie its life to the guard's, exec."""
    code = EXIT_CANNOT_RUN
    try:
        for number in (*_ENDING, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # What came since the fork ends this process now; the guard's handlers would have swallowed it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if os.read(go, 1) != b"g":
            os._exit(EXIT_CANNOT_RUN)
        if orders["run_as"] is not None:
            code = EXIT_CANNOT_DROP
            _become(*orders["run_as"])
            code = EXIT_CANNOT_RUN
        if orders["passwd"] is not None:
            code = EXIT_NO_NAMESPACE
            _see_passwd(orders["passwd"])
            code = EXIT_CANNOT_RUN
        # After the change of uid, which clears it.
        _prctl(_PR_SET_PDEATHSIG, orders["death_signal"])
        if os.getppid() != guard:
            os._exit(EXIT_CANNOT_RUN)
        os.umask(0o077)
        if orders["cwd"] is not None:
            os.chdir(orders["cwd"])
        os.execve(orders["argv"][0], orders["argv"], dict(os.environ))  # noqa: S606 - no shell wanted
    except BaseException as exc:  # noqa: BLE001 - nothing may escape into a second copy of the guard
        sys.stderr.write(f"keywright guard: cannot run {orders['argv'][0]}: {exc}\n")
        sys.stderr.flush()
        os._exit(code)


def start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; with the id it names one process for good (proc(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[19])


def _descendants(root: int) -> list[int]:
    """Every process below `root`, from one pass over /proc; zombies included."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(entry.name)
            stat = (entry / "stat").read_bytes()
            children.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(pid)
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


class Guard:
    """One program's keeper; `run` returns the exit code to end with."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self._orders = orders
        self._program = 0
        self._status: int | None = None
        self._told_to_stop = False
        self._wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._parent_gone_fd = self._watch_parent(orders["supervisor"])

    def _on_stop_signal(self, *_: object) -> None:
        self._told_to_stop = True

    def _watch_parent(self, supervisor: int) -> int | None:
        """A descriptor that becomes readable when the supervisor ends.

        The pipe alone would do, were it not that a process forked from the supervisor could keep it open.
        """
        try:
            descriptor = os.pidfd_open(supervisor)
        except OSError:
            descriptor = None
        if os.getppid() != supervisor:
            self._told_to_stop = True
        return descriptor

    def run(self) -> int:
        # Nothing is started for a supervisor that was gone before this began.
        return EXIT_CANNOT_RUN if self._told_to_stop else self._run()

    def _run(self) -> int:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._start()
        while self._status is None and not self._told_to_stop:
            self._wait(None)
        if self._status is None:
            self._end_program()
        self._end_stragglers()
        with contextlib.suppress(OSError):
            Path(self._orders["record"]).unlink()
        return self._status if self._status is not None else 128 + signal.SIGKILL

    def _start(self) -> None:
        guard = os.getpid()
        go_read, go_write = os.pipe2(os.O_CLOEXEC)
        # Until the child has let go of our handlers, a signal for it has to wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        self._program = os.fork()
        if self._program == 0:
            os.close(go_write)
            _become_program(self._orders, guard, go_read)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        os.close(go_read)
        self._write_record(guard)
        with contextlib.suppress(BrokenPipeError):
            os.write(go_write, b"g")
        os.close(go_write)

    def _write_record(self, guard: int) -> None:
        """Note who runs, by id and start time, before the program does anything."""
        pids = [[pid, start_ticks(pid)] for pid in (guard, self._program)]
        target = self._orders["record"]
        temporary = f"{target}.{guard}.new"
        try:
            Path(temporary).write_text(json.dumps({"guard": pids[0], "program": pids[1]}))
            Path(temporary).replace(target)
        except OSError as exc:
            # A full disk must not keep a crashed service down; the instance mark still finds the program.
            sys.stderr.write(f"keywright guard: cannot write {target}: {exc}\n")
            sys.stderr.flush()

    def _wait(self, seconds: float | None) -> None:
        """Sleep until something happens, at most `seconds`; then learn which children ended."""
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        if not self._told_to_stop:
            poller.register(0, select.POLLIN)
            if self._parent_gone_fd is not None:
                poller.register(self._parent_gone_fd, select.POLLIN)
        for descriptor, _ in poller.poll(None if seconds is None else max(0, int(seconds * 1000))):
            if descriptor == self._wake_read:
                os.read(self._wake_read, 4096)
            elif descriptor == 0 and os.read(0, 4096):
                continue
            else:
                self._told_to_stop = True
        self._reap()

    def _reap(self) -> bool:
        """Collect every child that ended; False when there is no child at all any more."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._program:
                code = os.waitstatus_to_exitcode(status)
                self._status = code if code >= 0 else 128 - code

    def _end_program(self) -> None:
        for number, seconds in self._orders["stop_steps"]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._program, number)
            deadline = time.monotonic() + seconds
            while self._status is None and time.monotonic() < deadline:
                self._wait(deadline - time.monotonic())
            if self._status is not None:
                return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self._program, signal.SIGKILL)

    def _end_stragglers(self) -> None:
        """End whatever the program left behind: asked once, then killed until no child is left."""
        guard = os.getpid()
        number, patience = signal.SIGTERM, time.monotonic() + 2
        asked = False
        while self._reap():
            if not asked or number == signal.SIGKILL:
                asked = True
                for pid in _descendants(guard):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, number)
            self._wait(0.05)
            if time.monotonic() > patience:
                number = signal.SIGKILL


def main() -> int:
    """Read the orders, run the program, answer with its exit code (128 + signal when killed by one)."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            return EXIT_CANNOT_RUN
        line += piece
    try:
        return Guard(json.loads(line)).run()
    except OSError as exc:
        sys.stderr.write(f"keywright guard: {exc}\n")
        return EXIT_CANNOT_DROP if exc.errno == errno.EPERM else EXIT_CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main())
