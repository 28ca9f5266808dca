"""What holds of every page, from the URL table itself: forged forms, redirects, frames, foreign hosts."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, reverse
from django.urls.resolvers import get_resolver

from tests.licensing.portal.test_matrix import PAGES
from tests.portal_cast import BACKEND, PortalCast
from tests.signing_in import PASSWORD

EVIL = "https://evil.example/"
AWAY = (EVIL, "//evil.example", "http:///evil.example", "/\\evil.example", "javascript:alert(1)",
        "https://testserver.evil.example/", "\thttps://evil.example", "https:evil.example")  # fmt: skip
UNPROTECTED = {"browser-reports"}
"""Browsers send reports without a token; nothing changes by them."""


def _everything() -> Any:
    return pytest.mark.parametrize("entry", PAGES, ids=[str(entry.name) for entry in PAGES])


def _url(entry: URLPattern, cast: PortalCast) -> str:
    names = entry.pattern.regex.groupindex  # type: ignore[union-attr]
    return reverse(str(entry.name), kwargs={name: cast.names[name] for name in names})


def _person(entry: URLPattern, cast: PortalCast) -> Any:
    return cast.superuser if entry.callback.access.kind == "operator" else cast.people["owner"]  # type: ignore[attr-defined]


def leads_away(location: str) -> bool:
    """Whether a browser that follows this would leave the site."""
    return not re.match(r"(/(?![/\\])|\?|\Z)", location) or any(sign in location for sign in "\t\r\n")


def _body(answer: HttpResponse) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined, arg-type]


@_everything()
def test_a_form_of_another_site_changes_nothing(entry: URLPattern, cast: PortalCast) -> None:
    """Whatever the page, the method and the pretext: it is refused before the page is asked."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(_person(entry, cast), backend=BACKEND)
    client.cookies["csrf"] = "x" * 32
    url = _url(entry, cast)
    pretexts: list[dict[str, Any]] = [
        {"headers": {"Origin": EVIL.rstrip("/")}},
        {"headers": {"Origin": "null"}},
        {"data": {"csrfmiddlewaretoken": "y" * 32}},
        {"headers": {"X-CSRFToken": "y" * 32, "HX-Request": "true"}},
        {"REQUEST_METHOD": "DELETE"},
    ]
    for pretext in pretexts:
        answer = client.post(url, **pretext)
        if entry.name in UNPROTECTED:
            assert (answer.status_code, answer.content) == (204, b"")
        else:
            assert answer.status_code == 403, (pretext, answer.status_code)
            assert b"This form is no longer good" in answer.content
            _hold_headers(answer)


def test_nothing_but_reports_goes_without_a_token() -> None:
    exempt = {str(entry.name) for entry in PAGES if getattr(entry.callback, "csrf_exempt", False)}
    assert exempt == UNPROTECTED


def test_a_session_asks_the_account_api_for_nothing_without_a_token(cast: PortalCast) -> None:
    """Keys need no token and browsers have no keys; a session that changes something needs one."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(cast.people["owner"], backend=BACKEND)
    values = {**cast.names, "member_id": cast.names["number"]}
    tried = 0
    for entry in get_resolver().url_patterns:
        if not (isinstance(entry, URLPattern) and str(entry.pattern).startswith("^api/account/")):
            continue
        names = entry.pattern.regex.groupindex  # type: ignore[union-attr]
        url = reverse(str(entry.name), kwargs={name: values.get(name, "x") for name in names})
        for method in ("post", "put", "patch", "delete"):
            answer = getattr(client, method)(url, content_type="application/json", headers={"Origin": EVIL.rstrip("/")})
            assert answer.status_code == 403, (method, url, answer.status_code)
            tried += 1
    assert tried > 40


@_everything()
def test_no_page_leads_away_nor_can_be_framed(entry: URLPattern, cast: PortalCast) -> None:
    """Neither by a redirect nor by a link or a form's target, whatever `next` says; and nobody puts it into theirs."""
    for client in (cast.client(None), cast.client(_person(entry, cast))):
        answer = client.get(_url(entry, cast), {"next": EVIL})
        assert not leads_away(answer.headers.get("Location", "")), answer.headers["Location"]
        _hold_headers(answer)
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            body = _body(answer).decode()
            for place in re.findall(r'(?:href|src)="([^"]*)"', body):
                assert not leads_away(place) or "evil.example" not in place
                assert not place.strip().lower().startswith("javascript:")
            for place in re.findall(r'action="([^"]*)"', body):
                assert not leads_away(place), place


def _hold_headers(answer: HttpResponse) -> None:
    headers = answer.headers
    parts = headers["Content-Security-Policy"].split(";")
    directives = dict(part.strip().partition(" ")[::2] for part in parts)
    assert directives["frame-ancestors"] == "'none'"
    assert directives["default-src"] == directives["base-uri"] == "'none'"
    assert directives["form-action"] == directives["style-src"] == "'self'"
    assert directives["require-trusted-types-for"] == "'script'"
    assert re.fullmatch(r"('nonce-[A-Za-z0-9+/=]{20,}')?", directives["script-src"])
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cache-Control"] != ""
    assert "public" not in headers["Cache-Control"]
    assert headers["Referrer-Policy"] in ("same-origin", "strict-origin")


@pytest.mark.parametrize("target", AWAY)
def test_whoever_signs_in_is_not_sent_away(target: str, cast: PortalCast) -> None:
    person = cast.people["owner"]
    person.set_password(PASSWORD)
    person.save()
    client = Client(raise_request_exception=False)
    sign_in = {"login": person.email, "password": PASSWORD}
    for url in ("/account/login", f"/account/login?{urlencode({'next': target})}"):
        answer = client.post(url, {**sign_in, "next": target})
        assert answer.headers["Location"] == "/"
        again = client.post(url)  # who is signed in already is sent on at once
        assert not leads_away(again.headers.get("Location", ""))
        client.post("/account/logout")
    client.post("/account/login", sign_in)
    for url, form in (
        ("/account/again", {"password": PASSWORD}),
        ("/account/theme", {"theme": "dark"}),
        ("/account/logout", {}),
    ):
        answer = client.post(url, {**form, "next": target})
        assert answer.status_code == 302, (url, answer.status_code)
        assert not leads_away(answer.headers["Location"]), (url, answer.headers["Location"])
        assert "evil" not in answer.headers["Location"]


@_everything()
def test_no_page_answers_to_a_foreign_host(entry: URLPattern, cast: PortalCast) -> None:
    client, url = cast.client(_person(entry, cast)), _url(entry, cast)
    assert client.get(url, headers={"Host": "evil.example"}).status_code == 400
    # Nor does what a stranger says of a proxy count for anything.
    answer = client.get(url, headers={"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"})
    assert answer.status_code != 400
    assert b"evil.example" not in _body(answer)
    assert "evil.example" not in answer.headers.get("Location", "")
