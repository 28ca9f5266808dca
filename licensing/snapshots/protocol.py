"""The words of the snapshot protocol: what is said on the wire, what a fill and an answer are, how long they hold.

The promise: from the COMMIT of a change, no answer is given by the older state later than `PROMISE_SECONDS`. It rests
on one fact of PostgreSQL: a database has one queue of notifications, in commit order. A heartbeat that this process
sent at `s` and got back proves that every change committed before `s` has been heard, so what is cached held at `s`.

All instants are seconds of the boot clock (see `boot_clock`), which never goes back and goes on while a machine sleeps.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Generic, NamedTuple, TypeVar

from licensing.core.errors import ServiceUnavailable

CHANGE_CHANNEL: Final = "keywright_change"
ALL: Final = "all"
CATALOGUE: Final = "catalogue"
# A payload and a cache key are a customer's id or one of these words, so no customer may be called so.
RESERVED_CUSTOMER_IDS: Final = frozenset({ALL, CATALOGUE})

PROMISE_SECONDS: Final = 1.0
# How long state is believed after the last instant at which it is known to have held. The tenth of a second left of
# the promise is for what happens between the last look at the clock and the answer.
BOUND_SECONDS: Final = 0.9
HEARTBEAT_SECONDS: Final = 0.25

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class Ticket(NamedTuple, Generic[V_co]):
    """A value and the instant from which it may no longer be answered by.

    The deadline is fixed when the ticket is handed out: later heartbeats vouch for what is cached then, and this value
    may have been evicted by then.
    """

    value: V_co
    deadline: float


@dataclass(slots=True, eq=False)
class Fill:
    """One question to the database in flight, registered before it is asked.

    `begun` is read before the question, so the answer is no older than that. `dirty` is set by any change of the
    key that is heard in the meantime: the answer may or may not have seen it.
    """

    key: str
    begun: float
    dirty: bool = field(default=False)


class Outcome(Enum):
    """What became of the answer of a fill."""

    STORED = "stored"
    UNCACHED = "uncached"  # good for this one decision
    ASK_AGAIN = "ask again"  # too old to decide by


class FillResult(NamedTuple, Generic[V_co]):
    """The outcome of a fill, with a ticket unless the question has to be asked again."""

    outcome: Outcome
    ticket: Ticket[V_co] | None


class FreshnessUnknown(ServiceUnavailable):
    """No answer came that was young enough to decide by. We cannot know, and never guess."""


@dataclass(slots=True)
class Counters:
    """What a cache has done since the process started, as plain numbers for the metrics.

    `misses` are reads of an absent entry, `stale_bypasses` reads while nothing was trusted; `evictions` are entries
    dropped for room, `invalidations` entries dropped by a change; `oversized` values were too large to keep.
    """

    hits: int = 0
    misses: int = 0
    stale_bypasses: int = 0
    fills: int = 0
    dirty_fills: int = 0
    expired_fills: int = 0
    evictions: int = 0
    invalidations: int = 0
    oversized: int = 0
    heartbeats: int = 0
