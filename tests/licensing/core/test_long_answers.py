"""Exports and other answers that are made while they are sent: none of them keeps the threads that decide."""

from collections.abc import Iterator

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from licensing.core import long_answers
from licensing.core.errors import Overloaded
from licensing.core.long_answers import MAX_WHOLE_BYTES, held_to_one_thread

LONG = MAX_WHOLE_BYTES // 1000 + 10


def pieces(count: int, made: list[int] | None = None) -> Iterator[bytes]:
    for number in range(count):
        if made is not None:
            made.append(number)
        yield b"x" * 1000


def end(response: HttpResponseBase) -> None:
    """What the server's close() does for the answer itself; it is the end of a request too, of which there is none."""
    for close in response._resource_closers:  # type: ignore[attr-defined]
        close()


def test_a_short_one_is_made_whole_and_keeps_what_it_says() -> None:
    closed: list[bool] = []
    response = StreamingHttpResponse(pieces(3), status=203, headers={"Content-Disposition": "attachment"})
    response.set_cookie("seen", "yes")
    response._resource_closers.append(lambda: closed.append(True))
    whole = held_to_one_thread(response)
    assert isinstance(whole, HttpResponse)
    assert (whole.status_code, whole.content) == (203, b"x" * 3000)
    assert (whole["Content-Disposition"], whole["Content-Length"]) == ("attachment", "3000")
    assert whole.cookies["seen"].value == "yes"
    assert closed == []
    end(whole)
    assert closed == [True]


def test_an_answer_that_is_whole_stays_as_it_is() -> None:
    response = HttpResponse(b"x")
    assert held_to_one_thread(response) is response


def test_one_long_one_at_a_time() -> None:
    made: list[int] = []
    first = held_to_one_thread(StreamingHttpResponse(pieces(LONG, made)))
    assert first.streaming
    assert len(made) < LONG
    with pytest.raises(Overloaded) as refused:
        held_to_one_thread(StreamingHttpResponse(pieces(LONG)))
    assert refused.value.headers == {"Retry-After": "30"}
    assert not held_to_one_thread(StreamingHttpResponse(pieces(3))).streaming
    assert sum(map(len, first)) == LONG * 1000  # type: ignore[call-overload]
    second = held_to_one_thread(StreamingHttpResponse(pieces(LONG)))
    end(second)
    end(first)
    third = held_to_one_thread(StreamingHttpResponse(pieces(LONG)))
    with pytest.raises(Overloaded):
        held_to_one_thread(StreamingHttpResponse(pieces(LONG)))
    end(third)


def test_one_that_breaks_off_gives_its_turn_back() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * (MAX_WHOLE_BYTES + 1)
        raise RuntimeError("broken")

    first = held_to_one_thread(StreamingHttpResponse(broken()))
    with pytest.raises(RuntimeError):
        list(first)  # type: ignore[call-overload]
    end(held_to_one_thread(StreamingHttpResponse(pieces(LONG))))
    assert not long_answers._turn.locked()
