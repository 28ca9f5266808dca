"""Fills this process's cache with customers, by the server's own code, and tells how its resident memory grew.

Run as `python -m tests.load.snapshot_memory CUSTOMERS` in a web process's environment, on customers of
`tests.load.population`; prints one line of JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

_READY_SECONDS = 30.0


def main(customers: int) -> None:
    """Measure before and after."""
    from licensing import wsgi  # settings, garbage collection and all, as a web process has them

    assert wsgi.application is not None
    from django.conf import settings

    from licensing.services.state import decide, process_snapshots

    settings.SNAPSHOT_CACHE_ENTRIES = max(customers + 1, settings.SNAPSHOT_CACHE_ENTRIES)
    snapshots = process_snapshots()
    assert snapshots is not None
    snapshots.listener.ensure_started()
    _wait_for(lambda: decide(lambda state: state.catalogue()) is decide(lambda state: state.catalogue()))
    _in_threads(settings.WEB_THREADS, (f"nobody_{number:06d}" for number in range(500)))
    before = resident_kib()
    _in_threads(settings.WEB_THREADS, (f"load_{number:06d}" for number in range(customers)))
    after = resident_kib()
    entries, told_bytes = snapshots.cache.size()
    snapshots.stop()
    if entries != customers + 1:  # the catalogue is one
        raise RuntimeError(f"{entries} snapshots are kept of {customers}")
    found = {"entries": entries - 1, "before_kib": before, "after_kib": after, "told_bytes": told_bytes}
    sys.stdout.write(json.dumps(found) + "\n")


def resident_kib() -> int:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("the kernel does not tell")


def _in_threads(threads: int, customer_ids: Iterable[str]) -> None:
    from django.db import connection

    from licensing.services.state import State, decide

    lock = threading.Lock()
    waiting = iter(customer_ids)

    def work() -> None:
        while True:
            with lock:
                portion = list(itertools.islice(waiting, 100))
            if not portion:
                connection.close()
                return
            for customer_id in portion:
                decide(partial(State.customer, customer_id=customer_id))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the listener does not listen")
        time.sleep(0.02)


if __name__ == "__main__":
    main(int(sys.argv[1]))
