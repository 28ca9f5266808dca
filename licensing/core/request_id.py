"""The id of the request being served: ours, on every answer and every log line."""

import secrets
from contextvars import ContextVar, Token

from structlog.typing import EventDict, WrappedLogger

_current: ContextVar[tuple[str, str]] = ContextVar("request_id", default=("", ""))


def begin_request(client_request_id: str = "") -> Token[tuple[str, str]]:
    """Give the request that begins here its id; `client_request_id` is the caller's own, for the log."""
    return _current.set((f"req_{secrets.token_hex(12)}", client_request_id))


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
