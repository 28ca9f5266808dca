"""The snapshot cache as a state machine: what is known, until when it is believed, and what is being asked.

Pure: it reads no clock, asks no database and knows no Django; instants and notifications are passed in. What holds,
whatever the interleaving of fills, changes, deliveries, reconnections, stalls and pauses: a decision made between
`read` (or `finish_fill`) and a later `still_trusted` that says yes does not rest on state superseded longer ago than
`BOUND_SECONDS`; and a `read` or fill begun after `notify` returned never rests on the state before that change.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Generic, TypeAlias

from licensing.snapshots.protocol import (
    ALL,
    BOUND_SECONDS,
    Counters,
    Fill,
    FillResult,
    Outcome,
    Ticket,
    V,
)
from licensing.snapshots.store import BoundedStore

_NEVER = float("-inf")
Discarded: TypeAlias = OrderedDict[str, Any]


class SnapshotCache(Generic[V]):
    """Snapshots by customer id, and the catalogue by `CATALOGUE`, shared by the threads of one process.

    `weigh` tells the approximate bytes of a value; it is called outside the lock. One small lock guards everything,
    so that "is it dirty" and "store it" cannot be separated by a notification.
    """

    def __init__(self, *, max_entries: int, max_bytes: int, weigh: Callable[[V], int]) -> None:
        self._weigh = weigh
        self._lock = threading.Lock()
        self._store: BoundedStore[V] = BoundedStore(max_entries=max_entries, max_bytes=max_bytes)
        self._fills: dict[str, set[Fill]] = {}
        self._sent: OrderedDict[int, float] = OrderedDict()
        self._listening = False
        self._trusted_until = _NEVER
        self._heard_sent_at = _NEVER
        self._counters = Counters()

    # Decisions

    def read(self, key: str, now: float) -> Ticket[V] | None:
        """Return what is cached and trusted, or None: then ask the database (`begin_fill`)."""
        with self._lock:
            if now >= self._trusted_until:
                self._counters.stale_bypasses += 1
                return None
            entry = self._store.get(key)
            if entry is None:
                self._counters.misses += 1
                return None
            self._counters.hits += 1
            return Ticket(entry.value, self._trusted_until)

    @staticmethod
    def still_trusted(ticket: Ticket[Any], now: float) -> bool:
        """Tell, after deciding, whether the answer may still be given; if not, decide again.

        A thread can be stopped for any time between reading and answering.
        """
        return now < ticket.deadline

    def trusted(self, now: float) -> bool:
        """Tell whether anything cached is believed at all."""
        with self._lock:
            return now < self._trusted_until

    # Fills

    def begin_fill(self, key: str, now: float) -> Fill:
        """Register a question *before* it is asked, so that no change can pass between the answer and the registration.

        `now` has to be read before this call. Every fill ends with `finish_fill` or `abandon_fill`.
        """
        fill = Fill(key, now)
        with self._lock:
            self._fills.setdefault(key, set()).add(fill)
            self._counters.fills += 1
        return fill

    def finish_fill(self, fill: Fill, value: V | None, now: float) -> FillResult[V | None]:
        """Take the answer of a fill: keep it if nothing changed meanwhile, and tell whether it can be decided by.

        None says that the database knows no such key; that is answered but never remembered. An answer that may
        have missed a change is good once, as long as its question is younger than the bound.
        """
        weight = 0 if value is None else self._weigh(value)
        with self._lock:
            self._forget_fill(fill)
            deadline = fill.begun + BOUND_SECONDS
            stored = False
            if fill.dirty:
                self._counters.dirty_fills += 1
            else:
                # Heartbeats vouch for a clean answer as they do for any entry.
                deadline = max(deadline, self._trusted_until)
                stored = value is not None and self._listening and self._keep(fill.key, value, weight)
            if now >= deadline:
                self._counters.expired_fills += 1
                return FillResult(Outcome.ASK_AGAIN, None)
            return FillResult(Outcome.STORED if stored else Outcome.UNCACHED, Ticket(value, deadline))

    def abandon_fill(self, fill: Fill) -> None:
        """Forget a question that got no answer."""
        with self._lock:
            self._forget_fill(fill)

    # What the listener hears, and local commits

    def notify(self, payload: str) -> None:
        """Evict what changed and mark the questions in flight for it: a customer's id, `catalogue`, or `all`.

        Called for every notification, and after every commit of this process for what it changed itself.
        An empty payload names nothing, so it stands for everything.
        """
        if payload == ALL or not payload:
            with self._lock:
                self._mark_all_dirty()
                discarded = self._take_all()
            _free(discarded)
            return
        with self._lock:
            self._mark_dirty(self._fills.get(payload, ()))
            if self._store.discard(payload):
                self._counters.invalidations += 1

    def listener_connected(self) -> None:
        """Begin anew: call after LISTEN has committed, before the first notification is handed over.

        Whatever was committed in the gap before LISTEN was not heard: no question begun in it may be kept and no
        entry survives. Nothing is trusted until the first heartbeat of this connection comes back.
        """
        with self._lock:
            self._mark_all_dirty()
            discarded = self._take_all()
            self._sent.clear()
            self._trusted_until = _NEVER
            self._listening = True
        _free(discarded)

    def listener_lost(self) -> None:
        """Keep nothing new and expect no more heartbeats. Trust already earned runs out by itself."""
        with self._lock:
            self._listening = False
            self._sent.clear()

    def heartbeat_sent(self, seq: int, at: float) -> None:
        """Remember when a heartbeat left: `at` has to be read *before* it is sent. `seq` rises."""
        with self._lock:
            self._sent[seq] = at

    def heartbeat_received(self, seq: int, at: float) -> bool:
        """Extend the trust by a heartbeat that came back; return whether it was one of this connection's.

        It proves that everything committed before it was *sent* has been heard, and nothing about the time
        since, so the instant `at` of its return counts for nothing (a late one must not buy time).
        """
        with self._lock:
            sent_at = self._sent.pop(seq, None)
            if sent_at is None or sent_at > at:
                return False
            while self._sent and next(iter(self._sent)) < seq:
                self._sent.popitem(last=False)
            self._heard_sent_at = max(self._heard_sent_at, sent_at)
            self._trusted_until = max(self._trusted_until, sent_at + BOUND_SECONDS)
            self._counters.heartbeats += 1
            return True

    def forked(self) -> None:
        """Start empty in a forked child: the lock may be held, and the listener belongs to the parent."""
        self._lock = threading.Lock()
        self._fills.clear()
        self._store.take_all()
        self._sent.clear()
        self._listening = False
        self._trusted_until = self._heard_sent_at = _NEVER

    # Metrics

    def counters(self) -> Counters:
        """Return a copy of the counters."""
        with self._lock:
            return replace(self._counters)

    def heartbeat_age(self, now: float) -> float:
        """Return the seconds since the sending of the last heartbeat that came back; infinite if none has."""
        with self._lock:
            return now - self._heard_sent_at

    def size(self) -> tuple[int, int]:
        """Return the number of entries and their approximate bytes."""
        with self._lock:
            return len(self._store), self._store.size_bytes

    # Under the lock

    def _mark_dirty(self, fills: Iterable[Fill]) -> None:
        for fill in fills:
            fill.dirty = True

    def _mark_all_dirty(self) -> None:
        for fills in self._fills.values():
            self._mark_dirty(fills)

    def _take_all(self) -> Discarded:
        taken = self._store.take_all()
        self._counters.invalidations += len(taken)
        return taken

    def _keep(self, key: str, value: V, weight: int) -> bool:
        dropped = self._store.put(key, value, weight)
        if dropped is None:
            self._counters.oversized += 1
            return False
        self._counters.evictions += dropped
        return True

    def _forget_fill(self, fill: Fill) -> None:
        fills = self._fills.get(fill.key)
        if fills is not None:
            fills.discard(fill)
            if not fills:
                del self._fills[fill.key]


def _free(discarded: Discarded) -> None:
    """Free values one by one, outside the lock: clearing 100,000 at once would hold up every thread for long."""
    while discarded:
        discarded.popitem()
