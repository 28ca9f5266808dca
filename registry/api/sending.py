"""Sending a file's bytes: whole or in ranges, piece by piece, and telling how far it came."""

import secrets
from collections.abc import Callable, Iterator, Sequence

import structlog
from django.db import DatabaseError, connections

from registry.api.byte_ranges import Span
from registry.storage import FileDamaged, StoreUnavailable, VerifiedFile

log = structlog.get_logger(__name__)

COMPLETE, CUT, DAMAGED, STORE_AWAY = "COMPLETE", "CUT", "DAMAGED", "STORE_AWAY"

Ended = Callable[[int, str], None]


class Plan:
    """What is sent, in order: pieces of the file, and for several ranges the text between them (RFC 9110, 14.6)."""

    def __init__(self, spans: Sequence[Span], size: int, content_type: str) -> None:
        self.boundary = secrets.token_hex(16) if len(spans) > 1 else ""
        self._parts: list[bytes | Span] = []
        for span in spans:
            if self.boundary:
                self._parts.append(self._head(span, size, content_type))
            self._parts.append(span)
        if self.boundary:
            self._parts.append(f"\r\n--{self.boundary}--\r\n".encode("ascii"))

    @property
    def length(self) -> int:
        """All bytes of the body: `Content-Length`."""
        return sum(part.length if isinstance(part, Span) else len(part) for part in self._parts)

    def pieces(self, file: VerifiedFile) -> Iterator[bytes]:
        """Yield the body."""
        for part in self._parts:
            if isinstance(part, Span):
                yield from file.chunks(part.start, part.length)
            else:
                yield part

    def _head(self, span: Span, size: int, content_type: str) -> bytes:
        lines = (f"--{self.boundary}", f"Content-Type: {content_type}", f"Content-Range: {span.content_range(size)}")
        return ("\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class Body:
    """The body of one answer: counts what it gives out, and tells when it is over, however it ends.

    Holds no database connection while a slow reader reads: the pool is for those who decide.
    """

    def __init__(self, file: VerifiedFile, plan: Plan, *, ended: Ended, damaged: Callable[[str], None]) -> None:
        self._file = file
        self._promised = plan.length
        self._pieces = plan.pieces(file)
        self._ended = ended
        self._damaged = damaged
        self._sent = 0
        self._outcome = CUT
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._sent == 0:
            let_go_of_connections()
        try:
            piece = next(self._pieces)
        except StopIteration:
            self._outcome = COMPLETE if self._sent == self._promised else CUT
            raise
        except FileDamaged as exc:
            # What was sent so far was right. The connection is cut: the reader sees fewer bytes than were announced.
            self._outcome = DAMAGED
            self._damaged(exc.reason)
            raise
        except StoreUnavailable:
            self._outcome = STORE_AWAY
            raise
        self._sent += len(piece)
        return piece

    def close(self) -> None:
        """Called once the answer is over, by the server or by Django."""
        if self._is_closed:
            return
        self._is_closed = True
        self._file.close()
        if self._outcome == CUT and self._sent == self._promised:
            self._outcome = COMPLETE  # a server that counts need not ask for the end
        try:
            self._ended(self._sent, self._outcome)
        except DatabaseError as exc:
            log.error("download.unsettled", error_type=type(exc).__name__, bytes_sent=self._sent)


def let_go_of_connections() -> None:
    """Give this thread's database connections back, unless a transaction is open on them (as in tests)."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
