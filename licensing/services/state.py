"""Where decisions get their snapshots: from memory while that is trusted, else from the database (DESIGN §7).

A decision runs inside `decide`, which gives it one `State` and, when it is made, looks whether everything it rested
on may still be believed. If not it is made again; if that does not help the answer is 503, never a guess.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Final, TypeVar, cast

from django.conf import settings
from django.db import connection
from psycopg.conninfo import make_conninfo

from licensing import selectors
from licensing.core.changes import CATALOGUE, on_change
from licensing.core.errors import ServiceUnavailable
from licensing.core.hot_settings import hot_settings
from licensing.core.own_connection import own_connection
from licensing.rules.snapshot import Catalogue, CustomerSnapshot
from licensing.snapshots.boot_clock import boot_seconds
from licensing.snapshots.cache import SnapshotCache
from licensing.snapshots.listener import ChangeListener, database_identity
from licensing.snapshots.protocol import RESERVED_CUSTOMER_IDS
from licensing.snapshots.reading import read_through

T = TypeVar("T")
# A customer is kept as JSON: a process holds many thousands of them, and as objects they take five times the room.
Kept = bytes | Catalogue

_MAX_DECISIONS: Final = 3
_LONGEST_ID: Final = 63
_ALLOCATION_BYTES: Final = 16


class Snapshots:
    """This process's cache of snapshots and the listener that keeps it true."""

    def __init__(self, *, max_entries: int, max_bytes: int, listen_url: str, fill_url: str) -> None:
        self.cache: SnapshotCache[Kept] = SnapshotCache(max_entries=max_entries, max_bytes=max_bytes, weigh=weigh)
        # Who listens in another database than fills are asked of hears its own heartbeats and no change.
        is_elsewhere = listen_url != fill_url
        self.listener = ChangeListener(
            cache=self.cache,
            url=listen_url,
            expected_identity=(lambda: database_identity(fill_url)) if is_elsewhere else None,
        )

    def stop(self) -> None:
        """End the listener; what is cached is trusted for less than a second more."""
        self.listener.stop()


class State:
    """The state one decision rests on, and until when it may be answered by."""

    def __init__(self, snapshots: "Snapshots | None") -> None:
        self._snapshots = snapshots
        self._connection = own_connection()
        if snapshots is not None:
            snapshots.listener.ensure_started()
        self._deadline = float("inf")
        self._catalogue: Catalogue | None = None

    def catalogue(self) -> Catalogue:
        """The catalogue; the same one throughout a decision."""
        if self._catalogue is None:
            self._catalogue = cast(Catalogue, self._read(CATALOGUE, selectors.load_catalogue))
        return self._catalogue

    def customer(self, customer_id: str) -> CustomerSnapshot | None:
        """The customer; None if there is none."""
        if not 0 < len(customer_id) <= _LONGEST_ID or customer_id in RESERVED_CUSTOMER_IDS:
            return None
        packed = cast("bytes | None", self._read(customer_id, lambda: selectors.read_customer(customer_id)))
        return None if packed is None else selectors.open_customer(packed)

    def is_trusted(self) -> bool:
        """Whether all that was read may still be answered by."""
        return boot_seconds() < self._deadline

    def _read(self, key: str, ask: Callable[[], Kept | None]) -> Kept | None:
        # Inside a transaction what was read may be what only this transaction sees: not for others' eyes.
        if self._snapshots is None or self._connection.in_atomic_block:
            return ask()
        ticket = read_through(self._snapshots.cache, key, ask=ask, clock=boot_seconds)
        self._deadline = min(self._deadline, ticket.deadline)
        return ticket.value


def decide(decision: Callable[[State], T]) -> T:
    """Make a decision by state that is still trusted when it has been made.

    What a decision writes must be safe to write again.

    Raises:
        ServiceUnavailable: it cannot be known.
    """
    for _ in range(_MAX_DECISIONS):
        state = State(process_snapshots())
        result = decision(state)
        if state.is_trusted():
            return result
    raise ServiceUnavailable(note="decisions outlived the state they rested on", retry_after_seconds=1)


_snapshots: dict[int, Snapshots] = {}
_lock = threading.Lock()


def process_snapshots() -> Snapshots | None:
    """This process's snapshots; None where caching is off."""
    if hot_settings.SNAPSHOT_CACHE_ENTRIES == 0:
        return None
    found = _snapshots.get(os.getpid())
    return found if found is not None else _start_snapshots()


def _start_snapshots() -> Snapshots:
    with _lock:
        found = _snapshots.get(os.getpid())
        if found is None:
            found = Snapshots(
                max_entries=hot_settings.SNAPSHOT_CACHE_ENTRIES,
                max_bytes=settings.SNAPSHOT_CACHE_MEGABYTES * 1024 * 1024,
                listen_url=settings.DATABASE_LISTEN_URL or _database_url(),
                fill_url=_database_url(),
            )
            _snapshots[os.getpid()] = found
        return found


def _database_url() -> str:
    """Where this process's connections lead: what DATABASE_URL says, in the database that they really use."""
    return make_conninfo(settings.DATABASE_URL, dbname=str(connection.settings_dict["NAME"]))


def _forget(subject: str) -> None:
    found = _snapshots.get(os.getpid())
    if found is not None:
        found.cache.notify(subject)


on_change(_forget)


def weigh(kept: Kept) -> int:
    """About how many bytes a snapshot takes, with what the allocator adds (measured on CPython 3.11)."""
    if isinstance(kept, Catalogue):
        return 4096 * (len(kept.plugins) + len(kept.tiers))
    return sys.getsizeof(kept) + _ALLOCATION_BYTES
