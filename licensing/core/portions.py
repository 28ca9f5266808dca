"""Much work done little at a time, so that whoever waits for an answer meanwhile does not notice."""

import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

PAUSE_SECONDS: Final = 0.02
_hurry: Final = threading.Event()


def in_portions(items: Sequence[T], size: int, *, over_seconds: float = 0.0) -> Iterator[Sequence[T]]:
    """Give out `items`, at most `size` at once, with a pause after each portion but the last.

    With `over_seconds` the portions begin evenly spread over so long. Of more items than so many portions have time
    for, with half of it for the work, each portion is larger.
    """
    if over_seconds > 0:
        size = max(size, math.ceil(len(items) / max(1, int(over_seconds / (2 * PAUSE_SECONDS)))))
    began, starts = time.monotonic(), range(0, len(items), size)
    for number, start in enumerate(starts):
        if number:
            due = began + over_seconds * number / len(starts)
            _hurry.wait(max(PAUSE_SECONDS, due - time.monotonic()))
        yield items[start : start + size]


def hurry() -> None:
    """Make no more pauses: the process ends, and nobody waits for an answer any more."""
    _hurry.set()
