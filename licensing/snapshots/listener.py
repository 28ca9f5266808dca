"""The thread that hears what changed: one direct connection per process, heartbeats, reconnection.

It owns the connection and feeds the cache; the cache alone decides what is trusted. If this thread stalls, dies or
is lied to by the network, heartbeats stop coming back and trust runs out by itself: nothing here has to notice.
"""

import atexit
import os
import random
import secrets
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import psycopg
import structlog

from licensing.snapshots.boot_clock import boot_seconds
from licensing.snapshots.cache import SnapshotCache
from licensing.snapshots.connection import ListenConnection, ListenerFault, Notification
from licensing.snapshots.protocol import CHANGE_CHANNEL, HEARTBEAT_SECONDS

logger = structlog.get_logger(__name__)

CONNECT_TIMEOUT_SECONDS = 2
STATEMENT_TIMEOUT_SECONDS = 2.0
# Without a heartbeat for so long the connection is taken for dead. Trust has run out long before.
SILENCE_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

# Names the cluster and the database. Notifications stay within one database: whoever listens in another one hears its
# own heartbeats and no change, and would trust for ever.
DATABASE_IDENTITY_SQL = (
    "SELECT system_identifier || '/' || (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
    " FROM pg_catalog.pg_control_system()"
)


def database_identity(url: str) -> str:
    """Ask the server at `url` which cluster and database it is. Raises as `ListenConnection`."""
    with ListenConnection(url, connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS) as connection:
        return connection.run(DATABASE_IDENTITY_SQL, timeout_seconds=STATEMENT_TIMEOUT_SECONDS) or ""


class ChangeListener:
    """Listens for one process and one cache, from the first `ensure_started` until `stop` or exit.

    `url` leads directly to the primary: a transaction-pooling proxy would swallow what is notified, and is found
    out by the first heartbeat. `expected_identity` returns what `DATABASE_IDENTITY_SQL` returns on the
    connections that answer fills; it is called in the listener's thread at every connection. `clock` is the boot clock.
    """

    def __init__(
        self,
        *,
        cache: SnapshotCache[Any],
        url: str,
        clock: Callable[[], float] = boot_seconds,
        expected_identity: Callable[[], str] | None = None,
    ) -> None:
        self._cache = cache
        self._url = url
        self._clock = clock
        self._expected_identity = expected_identity
        self._start_lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._sequence = 0
        self.is_connected = False
        self.connections = 0
        _listeners.add(self)

    def ensure_started(self) -> None:
        """Start the thread if this process has none; cheap enough for every request.

        A forked child has none, whatever its parent had.
        """
        thread = self._thread
        if thread is not None and thread.is_alive():
            return
        with self._start_lock:
            if self._stopping.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._run, name="keywright-listener", daemon=True)
            self._thread.start()
            atexit.register(self.stop)

    def stop(self, timeout_seconds: float = 1.0) -> None:
        """Stop for good. Nothing waits longer than `timeout_seconds` for a connection attempt to give up."""
        self._stopping.set()
        atexit.unregister(self.stop)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._hold_connection()
            except ListenerFault as fault:
                self._note_failure(fault.reason, sqlstate=fault.sqlstate)
            except psycopg.Error as error:
                # Its message may quote the URL.
                self._note_failure(type(error).__name__, sqlstate=error.sqlstate)
            except Exception as error:  # noqa: BLE001  # the thread must outlive any mistake; trust runs out meanwhile
                frame = traceback.extract_tb(error.__traceback__)[-1]
                self._note_failure(type(error).__name__, place=f"{frame.name}:{frame.lineno}")
            finally:
                self.is_connected = False
                self._cache.listener_lost()
            self._pause()

    def _hold_connection(self) -> None:
        with ListenConnection(self._url, connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS) as connection:
            self._check_identity(connection)
            # A heartbeat need not be durable, only in order: it shall not wait for the disk every 250 ms.
            connection.run("SET synchronous_commit TO off", timeout_seconds=STATEMENT_TIMEOUT_SECONDS)
            # Unguessable, and new for each connection: another one's heartbeat can never be taken for ours.
            heartbeat_channel = f"keywright_heartbeat_{secrets.token_hex(8)}"
            connection.run(
                f"LISTEN {CHANGE_CHANNEL}; LISTEN {heartbeat_channel}", timeout_seconds=STATEMENT_TIMEOUT_SECONDS
            )
            # Only now that LISTEN has committed: what was committed before it was not heard.
            self._cache.listener_connected()
            self.is_connected = True
            self.connections += 1
            logger.info("listener_connected", connections=self.connections)
            self._listen(connection, heartbeat_channel)

    def _check_identity(self, connection: ListenConnection) -> None:
        if self._expected_identity is None:
            return
        identity = connection.run(DATABASE_IDENTITY_SQL, timeout_seconds=STATEMENT_TIMEOUT_SECONDS)
        if identity != self._expected_identity():
            raise ListenerFault("other_database")

    def _listen(self, connection: ListenConnection, heartbeat_channel: str) -> None:
        next_heartbeat = last_heard = self._clock()
        while not self._stopping.is_set():
            now = self._clock()
            if now >= next_heartbeat:
                next_heartbeat = now + HEARTBEAT_SECONDS
                if not connection.is_waiting:  # else the last one has not even been accepted
                    self._send_heartbeat(connection, heartbeat_channel, now)
            for notification in connection.hear(max(0.0, next_heartbeat - self._clock())):
                if self._take(notification, heartbeat_channel, connection.backend_pid):
                    last_heard = self._clock()
                    self._failures = 0
            if self._clock() - last_heard > SILENCE_SECONDS:
                raise ListenerFault("silent")

    def _send_heartbeat(self, connection: ListenConnection, channel: str, read_before: float) -> None:
        self._sequence += 1
        self._cache.heartbeat_sent(self._sequence, read_before)
        connection.send(f"NOTIFY {channel}, '{self._sequence}'")

    def _take(self, notification: Notification, heartbeat_channel: str, backend_pid: int) -> bool:
        """Hand one notification to the cache; return whether it was a heartbeat that counted."""
        if notification.channel == CHANGE_CHANNEL:
            self._cache.notify(notification.payload)
            return False
        if notification.channel != heartbeat_channel:
            return False
        # A pooling proxy introduces itself with a number of its own. It may pass on our heartbeat together with
        # the end of its statement, and still swallow what comes while we are silent.
        if notification.backend_pid != backend_pid:
            raise ListenerFault("pooled")
        return self._cache.heartbeat_received(int(notification.payload), self._clock())

    def _note_failure(self, error: str, **details: str | None) -> None:
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:  # 1, 2, 4, 8, …: an outage of hours is not a log of hours
            logger.warning("listener_lost", error=error, failures=self._failures, **details)

    def _pause(self) -> None:
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 10))
        self._stopping.wait(longest * random.uniform(0.5, 1.0))  # all processes lost their server at once

    def _forked(self) -> None:
        self._start_lock = threading.Lock()
        self._thread = None
        self.is_connected = False
        self._failures = self.connections = 0
        self._cache.forked()


_listeners: "weakref.WeakSet[ChangeListener]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for listener in list(_listeners):
        listener._forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
