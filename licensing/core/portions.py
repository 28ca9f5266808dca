"""Much work done little at a time, so that whoever waits for an answer meanwhile does not notice."""

import threading
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

PAUSE_SECONDS: Final = 0.02
_hurry: Final = threading.Event()


def in_portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Give out `items`, at most `size` at once, with a pause after each portion but the last."""
    for start in range(0, len(items), size):
        if start:
            _hurry.wait(PAUSE_SECONDS)
        yield items[start : start + size]


def hurry() -> None:
    """Make no more pauses: the process ends, and nobody waits for an answer any more."""
    _hurry.set()
