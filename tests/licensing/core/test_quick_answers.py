"""What the hot path does in a shorter way than Django comes to the same."""

from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import override_settings

from licensing.core.clock import LAST_SECOND, rfc3339
from licensing.core.hot_settings import hot_settings
from licensing.core.problems import CodedResponse, json_response
from licensing.rules.once import once


def coded() -> CodedResponse:
    return CodedResponse(b"{}", status=403, content_type="application/problem+json", headers={"Retry-After": "5"})


def test_an_answer_has_all_that_django_gives_its_own() -> None:
    # One that a later Django adds would be missed by whoever handles the answer.
    assert set(vars(HttpResponse(b"{}"))) - set(vars(coded())) == {"cookies"}


def test_an_answer_says_what_it_was_made_with() -> None:
    answer = coded()
    assert (answer.status_code, answer.reason_phrase, answer.content) == (403, "Forbidden", b"{}")
    assert dict(answer.headers.items()) == {
        "Content-Type": "application/problem+json",
        "Content-Length": "2",
        "Cache-Control": "no-store",
        "Retry-After": "5",
    }
    assert answer.headers["content-type"] == answer.headers["Content-Type"]
    assert json_response({}, headers={"Cache-Control": "public"}).headers["Cache-Control"] == "public"


def test_cookies_of_an_answer_are_its_own() -> None:
    first, second = coded(), coded()
    first.set_cookie("name", "value")
    assert first.cookies["name"].value == "value"
    assert not second.cookies


@pytest.mark.parametrize("value", ["one\r\nSet-Cookie: two", "one\ntwo"])
def test_no_header_holds_a_line_break(value: str) -> None:
    with pytest.raises(ValueError, match="newlines"):
        json_response({}, headers={"X-Name": value})


def test_a_setting_is_read_anew_when_a_test_has_changed_it() -> None:
    assert hot_settings.GRACE_SECONDS == settings.GRACE_SECONDS
    with override_settings(GRACE_SECONDS=7):
        assert hot_settings.GRACE_SECONDS == 7
    assert hot_settings.GRACE_SECONDS == settings.GRACE_SECONDS


def test_a_setting_that_there_is_not() -> None:
    with pytest.raises(AttributeError):
        _ = hot_settings.NO_SUCH_SETTING


def test_a_value_is_worked_out_once_for_each() -> None:
    calls: list[object] = []

    class Thing:
        @once
        def value(self) -> int:
            calls.append(self)
            return len(calls)

    one, other = Thing(), Thing()
    assert (one.value, one.value, other.value) == (1, 1, 2)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1.999_999_9, "1970-01-01T00:00:01Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 999_999, UTC), "2026-01-02T03:04:05Z"),
        (LAST_SECOND + 0.5, "9999-12-31T23:59:59Z"),
        (float("inf"), "9999-12-31T23:59:59Z"),
    ],
)
def test_instants_are_written_rounded_down(instant: datetime | float, text: str) -> None:
    assert rfc3339(instant) == text
