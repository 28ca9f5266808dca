"""The WSGI application as the quickstart serves it: `licensing.wsgi`, in a process that ends with its parent.

Granian's own workers do not notice when their main process is killed. The kernel tells them (prctl(2),
PR_SET_PDEATHSIG), so not even a worker that was just being started can outlive it.
"""

from __future__ import annotations

import ctypes
import os
import signal

from licensing.wsgi import application

_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


_end_with_parent()

__all__ = ["application"]
