"""Answers that are made while they are sent, such as exports: each holds a thread for as long as its reader takes.

A web process has few threads, and those decide. So what is not long is made whole first, which the server then sends
without a thread; of what is long, one at a time in each process is sent piece by piece.
"""

import threading
from collections.abc import Iterator
from itertools import chain
from typing import Final, cast

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from licensing.core.errors import Overloaded

MAX_WHOLE_BYTES: Final = 4 * 1024 * 1024
_RETRY_SECONDS: Final = 30

_turn = threading.Lock()


def held_to_one_thread(response: HttpResponseBase) -> HttpResponseBase:
    """Return the answer so that, with all others, it holds up one thread at most.

    Raises:
        Overloaded: it is long, and another long one is being sent.
    """
    if not response.streaming:
        return response
    streaming = cast(StreamingHttpResponse, response)
    pieces = iter(cast("Iterator[bytes]", streaming.streaming_content))
    made: list[bytes] = []
    size = 0
    for piece in pieces:
        made.append(piece)
        size += len(piece)
        if size > MAX_WHOLE_BYTES:
            return _in_turn(streaming, made, pieces)
    whole = HttpResponse(b"".join(made), status=streaming.status_code, headers=dict(streaming.headers))
    whole.cookies = streaming.cookies
    whole.headers.setdefault("Content-Length", str(size))
    # Not its close(), which is the end of a request: files that it has open are closed with the answer.
    whole._resource_closers += streaming._resource_closers  # type: ignore[attr-defined]
    return whole


def _in_turn(response: StreamingHttpResponse, made: list[bytes], rest: Iterator[bytes]) -> StreamingHttpResponse:
    if not _turn.acquire(blocking=False):
        for close in response._resource_closers:  # type: ignore[attr-defined]
            close()
        raise Overloaded("Another long answer is being sent; ask again later.", retry_after_seconds=_RETRY_SECONDS)
    response.streaming_content = _Turn(chain(made, rest))
    return response


class _Turn:
    """The pieces of a long answer; the turn ends with the last of them, or when the server closes the answer."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._is_over = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the turn, once however often it is called."""
        if self._is_over.acquire(blocking=False):
            _turn.release()
