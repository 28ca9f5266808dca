"""Workers say that they are there: an entry each in Valkey, renewed every few seconds and forgotten when it is not.

What a worker is at is told by PostgreSQL alone; this is for operators, who want to know who would take the next job.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import redis

from licensing.core.valkey import ValkeyAway, valkey

BEAT_SECONDS: Final = 10.0
LATE_AFTER_SECONDS: Final = 3 * BEAT_SECONDS
FORGOTTEN_AFTER_SECONDS: Final = 3600.0
_KEY: Final = "workers"
_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process: its role, its machine, and when it last said that it is there."""

    role: str
    host: str
    pid: str
    seen_at: datetime

    @property
    def name(self) -> str:
        """Machine and process, as they stand in the lease of a job."""
        return f"{self.host}:{self.pid}"

    def is_late(self, now: datetime) -> bool:
        """Whether it has missed so many beats that it may be dead."""
        return (now - self.seen_at).total_seconds() > LATE_AFTER_SECONDS


def worker_name() -> str:
    """This process's own machine and process."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}"


def workers_seen(*, now: datetime) -> list[Worker]:
    """The workers that were there within the last hour, by role and machine.

    Raises:
        ValkeyAway: nobody knows.
    """
    since = now.timestamp() - FORGOTTEN_AFTER_SECONDS
    found: Any = valkey().run(lambda client: client.zrangebyscore(_KEY, since, "+inf", 0, _MOST, withscores=True))
    workers = [_read(member.decode("utf-8", "replace"), score) for member, score in found]
    return sorted(workers, key=lambda worker: (worker.role, worker.host, worker.pid))


class Beat:
    """Says from a thread of its own that this process is there, so that a long job does not silence it."""

    def __init__(self, role: str, *, pause_seconds: float = BEAT_SECONDS) -> None:
        self._entry = f"{role} {worker_name()}"
        self._pause_seconds = pause_seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker-beat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and say so."""
        self._is_over.set()
        self._thread.join(self._pause_seconds)
        _tell(lambda client: client.zrem(_KEY, self._entry))

    def _run(self) -> None:
        while True:
            _tell(self._say)
            if self._is_over.wait(self._pause_seconds):
                return

    def _say(self, client: redis.Redis) -> None:
        at = time.time()
        client.zadd(_KEY, {self._entry: at})
        client.zremrangebyscore(_KEY, "-inf", at - FORGOTTEN_AFTER_SECONDS)


def _tell(command: Callable[[redis.Redis], Any]) -> None:
    with suppress(ValkeyAway):  # the next beat says it again
        valkey().run(command)


def _read(entry: str, at: float) -> Worker:
    role, _, name = entry.partition(" ")
    host, _, pid = name.rpartition(":")
    return Worker(role, host, pid, datetime.fromtimestamp(at, UTC))
