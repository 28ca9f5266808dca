"""The id of the request being served: ours, on every answer and every log line."""

import os
from collections import deque
from contextvars import ContextVar, Token

from structlog.typing import EventDict, WrappedLogger

_ID_BYTES = 12
# Random bytes for ids, fetched for many at a time: the system call costs more than the rest. No secret is made of them.
_POOL_IDS = 256
_pool: deque[str] = deque()
os.register_at_fork(after_in_child=_pool.clear)

_current: ContextVar[tuple[str, str]] = ContextVar("request_id", default=("", ""))


def begin_request(client_request_id: str = "") -> Token[tuple[str, str]]:
    """Give the request that begins here its id; `client_request_id` is the caller's own, for the log."""
    return _current.set((_new_id(), client_request_id))


def _new_id() -> str:
    while True:
        try:
            return _pool.popleft()
        except IndexError:
            random = os.urandom(_POOL_IDS * _ID_BYTES).hex()
            width = 2 * _ID_BYTES
            _pool.extend(f"req_{random[at : at + width]}" for at in range(0, len(random), width))


def end_request(token: Token[tuple[str, str]]) -> None:
    """Forget it again."""
    _current.reset(token)


def request_id() -> str:
    """The id of the current request; empty outside of one."""
    return _current.get()[0]


def add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put the ids on a log line (a structlog processor)."""
    ours, theirs = _current.get()
    if ours:
        event.setdefault("request_id", ours)
    if theirs:
        event.setdefault("client_request_id", theirs)
    return event
