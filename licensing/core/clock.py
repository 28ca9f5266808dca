"""Instants as the wire writes them. The current time is read once at the edge of a request and passed down."""

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

LAST_SECOND: Final = 253_402_300_799  # of the year 9999: nothing later can be written


def rfc3339(instant: datetime | float) -> str:
    """Write an instant as RFC 3339 in UTC with `Z`, to the second (rounded down).

    Takes an aware datetime or Unix seconds; what lies beyond the year 9999 is written as its last second.
    """
    if isinstance(instant, datetime):
        return _written(instant)
    return _of_second(math.floor(min(instant, LAST_SECOND)))


def from_epoch(seconds: float) -> datetime:
    """Return the aware UTC datetime of Unix `seconds`."""
    return datetime.fromtimestamp(seconds, UTC)


@lru_cache(maxsize=4096)  # many answers name the same few seconds
def _of_second(second: int) -> str:
    return _written(datetime.fromtimestamp(second, UTC))


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
