"""Starts a sandboxed command, watches it, and ends it with everything it started."""

import json
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from build_farm.sandbox.bubblewrap import Descriptors, build_command, find_bubblewrap
from build_farm.sandbox.cgroup import Cgroup, own_cgroup
from build_farm.sandbox.launcher import FAILURE_EXIT_CODE
from build_farm.sandbox.log_capture import BoundedLog, clean
from build_farm.sandbox.seccomp import build_filter
from build_farm.sandbox.slots import has_processes
from build_farm.sandbox.spec import SandboxLimits, SandboxResult, SandboxSpec, SandboxUnavailable, Stop
from build_farm.sandbox.watchdog import TreeUsage, measure_tree, start_time

_LAUNCHER = Path(__file__).with_name("launcher.py")
_WATCH_SECONDS = 0.1
_READ_BYTES = 256 * 1024
_OWN_PROCESSES = 5  # bubblewrap's own: two monitors, the namespace's init, and two while starting
_DEATH_SECONDS = 20.0
_STATUS_BYTES = 64 * 1024


def run_sandboxed(
    spec: SandboxSpec, argv: tuple[str, ...], *, called_off: threading.Event | None = None
) -> SandboxResult:
    """Run `argv` (absolute path inside the sandbox first) under `spec` and wait for its end.

    A command that fails, is stopped at a bound, or is killed because `called_off` was set, is a result. No process of
    it is alive on return.

    Raises:
        SandboxUnavailable: the confinement could not be had; the command did not run.
    """
    bubblewrap = find_bubblewrap(spec.bubblewrap)
    with ExitStack() as stack:
        cgroup = stack.enter_context(
            own_cgroup(spec.cgroup_parent, name=f"keywright-slot-{spec.slot.number}", limits=spec.limits)
        )
        status_read, status_write = stack.enter_context(_pipe())
        descriptors = Descriptors(
            status=status_write,
            seccomp=stack.enter_context(_in_memory(build_filter())),
            inline=tuple(stack.enter_context(_in_memory(file.content)) for file in spec.inline_files),
        )
        command = build_command(spec, bubblewrap=bubblewrap, argv=argv, descriptors=descriptors)
        orders = stack.enter_context(_in_memory(_orders(spec, command, cgroup)))
        process = _start(orders, descriptors)
        os.close(status_write)
        run = _Run(spec=spec, process=process, status_descriptor=status_read, cgroup=cgroup, called_off=called_off)
        try:
            run.watch()
        finally:
            run.end()
        return run.result()


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        yield read, write
    finally:
        os.close(read)


@contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("keywright", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            stream.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _orders(spec: SandboxSpec, command: list[str], cgroup: Cgroup | None) -> bytes:
    return json.dumps(
        {
            "argv": command,
            "uid": spec.slot.uid,
            "parent": os.getpid(),
            "cgroup": str(cgroup.folder) if cgroup else None,
            "limits": _resource_limits(spec.limits, shared_uid=spec.slot.uid is None),
        }
    ).encode()


def _resource_limits(limits: SandboxLimits, *, shared_uid: bool) -> dict[str, int]:
    # The kernel counts processes by uid; a uid that is not the slot's own already has some.
    others = _threads_of(os.getuid()) if shared_uid else 0
    return {
        "RLIMIT_CORE": 0,
        "RLIMIT_DATA": limits.memory_bytes,
        "RLIMIT_AS": limits.address_space_bytes,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_NPROC": limits.processes + others,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }


def _threads_of(uid: int) -> int:
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and entry.stat().st_uid == uid:
                count += sum(1 for _ in (entry / "task").iterdir())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return count


def _start(orders: int, descriptors: Descriptors) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and launcher
            [sys.executable, "-I", "-S", str(_LAUNCHER), str(orders)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={},
            cwd="/",
            pass_fds=(orders, descriptors.status, descriptors.seccomp, *descriptors.inline),
            start_new_session=True,
        )
    except OSError as exc:
        os.close(descriptors.status)
        raise SandboxUnavailable(f"the launcher cannot be started: {exc}") from exc


@dataclass
class _Run:
    spec: SandboxSpec
    process: subprocess.Popen[bytes]
    status_descriptor: int
    cgroup: Cgroup | None
    called_off: threading.Event | None
    started: float = field(default_factory=monotonic)
    stop: Stop = Stop.EXITED
    is_drained: bool = False
    peak: TreeUsage = field(default_factory=lambda: TreeUsage(0, 0, 0.0))
    status: bytearray = field(default_factory=bytearray)
    wall_seconds: float = 0.0
    # Pid and start time of the namespace's init: the last process to go.
    _namespace_init: tuple[int, str | None] | None = None

    def __post_init__(self) -> None:
        self.log = BoundedLog(self.spec.limits.log_bytes)

    def watch(self) -> None:
        """Drain output and status until both end or a bound is passed."""
        assert self.process.stdout is not None  # noqa: S101 - we asked for a pipe
        output = self.process.stdout.fileno()
        next_look = self.started
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(self.status_descriptor, selectors.EVENT_READ)
            while selector.get_map():
                if monotonic() >= next_look:
                    if self._is_over_a_bound():
                        return
                    next_look = monotonic() + _WATCH_SECONDS
                for key, _ in selector.select(timeout=max(next_look - monotonic(), 0)):
                    if not self._read(key.fd):
                        selector.unregister(key.fd)
        self.is_drained = True

    def _read(self, descriptor: int) -> bool:
        chunk = os.read(descriptor, _READ_BYTES)
        if descriptor != self.status_descriptor:
            self.log.add(chunk)
        elif len(self.status) < _STATUS_BYTES:
            self.status += chunk
            self._remember_init()
        return bool(chunk)

    def _remember_init(self) -> None:
        if self._namespace_init is None and (pid := self._from_status("child-pid")) is not None:
            self._namespace_init = (pid, start_time(pid))

    def _from_status(self, name: str) -> int | None:
        for line in bytes(self.status).splitlines():
            try:
                value = json.loads(line).get(name)
            except ValueError:
                continue
            if isinstance(value, int):
                return value
        return None

    def _is_over_a_bound(self) -> bool:
        limits = self.spec.limits
        usage = measure_tree(self.process.pid)
        self.peak = TreeUsage(
            processes=max(self.peak.processes, usage.processes),
            memory_bytes=max(self.peak.memory_bytes, usage.memory_bytes),
            cpu_seconds=max(self.peak.cpu_seconds, usage.cpu_seconds),
        )
        bounds = (
            (Stop.CALLED_OFF, self.called_off is not None and self.called_off.is_set()),
            (Stop.WALL_CLOCK, monotonic() - self.started >= limits.wall_seconds),
            (Stop.CPU, usage.cpu_seconds >= limits.cpu_seconds),
            (Stop.MEMORY, usage.memory_bytes > limits.memory_bytes),
            (Stop.PROCESSES, usage.processes > limits.processes + _OWN_PROCESSES),
        )
        for reason, is_passed in bounds:
            if is_passed:
                self.stop = reason
                return True
        return False

    def end(self) -> None:
        """Kill what is left and wait until it is gone.

        The launcher's pid is the outer bubblewrap; its death kills the inner one, whose death kills the init of the
        pid namespace, with which the kernel kills every process in it. Init is reaped after all of these.
        """
        is_killed = not self.is_drained and self.process.poll() is None
        if is_killed:
            self.process.kill()
        try:
            self.process.wait(timeout=_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=_DEATH_SECONDS)
        _until_gone(self._is_init_alive)
        uid = self.spec.slot.uid
        if is_killed and uid is not None:
            # It may have been killed while bubblewrap was starting, and init was not known yet.
            _until_gone(lambda: has_processes(uid))
        assert self.process.stdout is not None  # noqa: S101 - we asked for a pipe
        self.process.stdout.close()
        self.wall_seconds = monotonic() - self.started

    def _is_init_alive(self) -> bool:
        if self._namespace_init is None:
            return False
        pid, started = self._namespace_init
        return started is not None and start_time(pid) == started

    def result(self) -> SandboxResult:
        """The outcome, or SandboxUnavailable if the command never ran."""
        exit_code = self._from_status("exit-code")
        if self.stop is Stop.EXITED and self.cgroup and self.cgroup.killed_for_memory():
            self.stop = Stop.MEMORY
        if self.stop is Stop.EXITED and exit_code is None:
            raise SandboxUnavailable(self._why_unavailable())
        return SandboxResult(
            stop=self.stop,
            exit_code=exit_code if self.stop is Stop.EXITED else None,
            log=self.log.text(redact=self.spec.redact),
            log_truncated=self.log.dropped > 0,
            wall_seconds=self.wall_seconds,
            cpu_seconds=self.peak.cpu_seconds,
            peak_memory_bytes=self.peak.memory_bytes,
            uid=self.spec.slot.uid if self.spec.slot.uid is not None else os.getuid(),
            dropped_uid=self.spec.slot.uid is not None,
            cgroup=self.cgroup is not None,
        )

    def _why_unavailable(self) -> str:
        code = self.process.returncode
        said = clean(self.log.text(redact=self.spec.redact).encode()).strip().splitlines()
        who = "the launcher" if code == FAILURE_EXIT_CODE else "bubblewrap"
        return f"{who} ended with {code} before the command ran: {said[-1] if said else 'no message'}"


def _until_gone(is_alive: Callable[[], bool]) -> None:
    deadline = monotonic() + _DEATH_SECONDS
    while is_alive():
        if monotonic() > deadline:
            raise SandboxUnavailable("a sandbox did not die; its slot is not usable")
        sleep(0.002)
