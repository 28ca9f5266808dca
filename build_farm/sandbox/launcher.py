"""The last step before bubblewrap: takes limits on, gives privileges up, becomes bubblewrap.

Run as a program of its own (`python -I -S launcher.py FD`), not as a `preexec_fn`: a forked child of a threaded
worker must not run Python code that may wait for a lock nobody holds any more. Standard library only. Reads its
orders as JSON from an inherited descriptor; a failure is one line on stderr and exit code 125, before bubblewrap.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

FAILURE_EXIT_CODE = 125

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Carry out the orders of the descriptor named in argv, and never return."""
    with os.fdopen(int(sys.argv[1])) as stream:
        orders: dict[str, Any] = json.load(stream)
    try:
        launch(orders)
    except Exception as exc:  # noqa: BLE001 - whatever it is, bubblewrap must not start
        fail(f"{type(exc).__name__}: {exc}")


def launch(orders: dict[str, Any]) -> NoReturn:
    """Confine this process and replace it by `orders["argv"]`."""
    if orders["cgroup"]:
        (Path(orders["cgroup"]) / "cgroup.procs").write_text(str(os.getpid()))
    for name, value in orders["limits"].items():
        set_limit(getattr(resource, name), value)
    if orders["uid"] is not None:
        drop_to(orders["uid"])
    set_process_option(_PR_SET_NO_NEW_PRIVS, 1)
    # A change of uid clears this one, so it comes after. A parent that died before it must be noticed by hand.
    set_process_option(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != orders["parent"]:
        fail("the worker is gone")
    os.umask(0o022)
    os.chdir("/")
    os.execve(orders["argv"][0], orders["argv"], {})  # noqa: S606


def set_limit(which: int, value: int) -> None:
    """Set a soft and hard limit, never above the hard limit this process already has."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    # RLIMIT_CPU: SIGXCPU at the soft limit can be caught, SIGKILL at the hard one cannot.
    resource.setrlimit(which, (value, value))


def drop_to(uid: int) -> None:
    """Become `uid` for good: real, effective and saved ids, no supplementary groups, no capabilities."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (uid,) * 3 or set(os.getgroups()) - {uid}:
        fail("the change of uid did not take")
    try:
        os.setuid(0)
    except PermissionError:
        return
    fail("root could be had back")


def set_process_option(option: int, value: int) -> None:
    """prctl(2), failing loudly."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def fail(message: str) -> NoReturn:
    """Say why and stop, before bubblewrap has started."""
    os.write(2, f"launcher: {message}\n".encode())
    os._exit(FAILURE_EXIT_CODE)


if __name__ == "__main__":
    main()
