"""Reading through the cache: from memory while it is trusted, else from the database, boundedly."""

from collections.abc import Callable

from licensing.snapshots.cache import SnapshotCache
from licensing.snapshots.protocol import FreshnessUnknown, Ticket, V

MAX_QUESTIONS = 3


def read_through(
    cache: SnapshotCache[V], key: str, *, ask: Callable[[], V | None], clock: Callable[[], float]
) -> Ticket[V | None]:
    """Return a value to decide by; after deciding, ask `cache.still_trusted(ticket, clock())` before answering.

    `ask` is one autocommit statement on a connection to the primary, outside any transaction, so that its snapshot
    is taken after the call. It returns None for what does not exist. Its errors pass through.

    Raises:
        FreshnessUnknown: every answer was too old when it came.
    """
    ticket = cache.read(key, clock())
    if ticket is not None:
        return ticket
    for _ in range(MAX_QUESTIONS):
        answer = _ask_once(cache, key, ask, clock)
        if answer is not None:
            return answer
    raise FreshnessUnknown


def _ask_once(
    cache: SnapshotCache[V], key: str, ask: Callable[[], V | None], clock: Callable[[], float]
) -> Ticket[V | None] | None:
    fill = cache.begin_fill(key, clock())
    try:
        value = ask()
    except BaseException:
        cache.abandon_fill(fill)
        raise
    return cache.finish_fill(fill, value, clock()).ticket
