"""Making msgspec's structures safe for threads that use one for the first time at once."""

from __future__ import annotations

import threading
from typing import TypeVar

import msgspec

T = TypeVar("T")

_ready: set[object] = set()
_lock = threading.Lock()


def ready(shape: type[T]) -> type[T]:
    """Return the type, its definition read: to be asked before each use that is not through a decoder made at import.

    msgspec reads a structure's annotations when it is first decoded, and marks it as read before it has: a second
    thread that comes meanwhile finds types that are not there yet, and the process dies of it (msgspec 0.22).
    """
    if shape not in _ready:
        with _lock:
            msgspec.json.Decoder(shape)
            _ready.add(shape)
    return shape
