"""Bodies that are too large, or of no told length, where Django would read them as a form: refused unread."""

import json
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from accounts.portal.middleware import MAX_FORM_BYTES
from tests.portal_cast import PortalCast

FORM = "multipart/form-data; boundary=cut"
PAGES = [
    "/account/login",
    "/account",
    "/account/theme",
    "/portal/acme_1/keys/new",
    "/operator/lockdown",
    "/admin/login/",
]
SESSION_API = "/api/account/api-keys/"


class Unread:
    """A body that must not be read."""

    def __init__(self) -> None:
        self.was_read = False

    def read(self, *_size: int) -> bytes:
        self.was_read = True
        return b""

    readline = read


def post(client: Client, path: str, **environ: Any) -> tuple[HttpResponse, bool]:
    """POST a form whose bytes nobody may ask for; the answer, and whether somebody did."""
    body = Unread()
    environ = {"CONTENT_TYPE": FORM, "wsgi.input": body, **environ}
    return client.generic("POST", path, **environ), body.was_read


@pytest.mark.parametrize("path", PAGES)
def test_a_form_of_more_than_a_megabyte_is_refused_unread(path: str, cast: PortalCast) -> None:
    client = cast.client(cast.superuser if path.startswith(("/operator", "/admin")) else cast.people["owner"])
    answer, was_read = post(client, path, CONTENT_LENGTH=str(MAX_FORM_BYTES + 1))
    assert (answer.status_code, was_read) == (413, False)
    assert b"That is too large" in answer.content
    assert answer["Cache-Control"] == "no-store"
    assert "Content-Security-Policy" in answer


@pytest.mark.parametrize("path", PAGES[:2])
def test_strangers_are_no_exception(path: str, cast: PortalCast) -> None:
    answer, was_read = post(cast.client(None), path, CONTENT_LENGTH="9" * 11)
    assert (answer.status_code, was_read) == (413, False)


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 411),
        ({"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "5"}, 411),
        ({"CONTENT_LENGTH": "-1"}, 400),
        ({"CONTENT_LENGTH": "9" * 400}, 413),
    ],
)
def test_a_body_of_no_told_length_is_refused_unread(environ: dict[str, str], status: int, cast: PortalCast) -> None:
    answer, was_read = post(cast.client(None), "/account/login", **environ)
    assert (answer.status_code, was_read) == (status, False)
    assert answer["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("environ", "status", "code"),
    [
        ({"CONTENT_LENGTH": str(MAX_FORM_BYTES + 1)}, 413, "BODY_TOO_LARGE"),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 411, "LENGTH_REQUIRED"),
    ],
)
def test_the_account_api_too_where_a_session_asks(
    environ: dict[str, str], status: int, code: str, cast: PortalCast
) -> None:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(cast.people["owner"], backend="allauth.account.auth_backends.AuthenticationBackend")
    answer, was_read = post(client, SESSION_API, **environ)
    assert (answer.status_code, json.loads(answer.content)["code"], was_read) == (status, code, False)
    assert answer["Content-Type"] == "application/problem+json"


def test_a_form_of_exactly_a_megabyte_is_read(cast: PortalCast) -> None:
    head = b'--cut\r\nContent-Disposition: form-data; name="name"\r\n\r\nAda\r\n'
    head += b'--cut\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    tail = b"\r\n--cut--\r\n"
    body = head + b"x" * (MAX_FORM_BYTES - len(head) - len(tail)) + tail
    answer = cast.role("owner").post("/account", body, content_type=FORM)
    assert answer.status_code == 302
    cast.people["owner"].refresh_from_db()
    assert cast.people["owner"].name == "Ada"
