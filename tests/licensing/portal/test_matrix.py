"""Every page × every role × another organisation, from the URL table itself: a new page cannot escape."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import Role
from accounts.permissions import OPERATOR_READS, OPERATOR_WRITES, SUPERUSER_WRITES, TABLE, is_allowed
from accounts.portal.access import READS, VIEWING
from licensing.core.middleware import MACHINE_PREFIXES
from tests.portal_cast import PortalCast

PUBLIC = {
    "account_login", "account_logout", "account_inactive", "account_reset_password", "account_reset_password_done",
    "account_reset_password_from_key_done", "account_reset_password_from_key", "mfa_login_webauthn",
    "mfa_authenticate", "invitation", "theme", "browser-reports",
}  # fmt: skip
"""The only pages for whoever is not signed in. Adding one here is a decision."""


def _patterns(found: list[Any] | None = None) -> Iterator[URLPattern]:
    for entry in get_resolver().url_patterns if found is None else found:
        if isinstance(entry, URLResolver):
            if str(entry.pattern) != "admin/":  # Django's own; see test_admin.py
                yield from _patterns(entry.url_patterns)
        else:
            yield entry


def _is_page(entry: URLPattern) -> bool:
    path = "/" + str(entry.pattern).removeprefix("^").replace("\\", "")
    return not path.startswith((*MACHINE_PREFIXES, "/files", "/download"))


PAGES = [entry for entry in _patterns() if _is_page(entry)]
CUSTOMER_PAGES = [p for p in PAGES if getattr(getattr(p.callback, "access", None), "kind", "") == "customer"]
OPERATOR_PAGES = [p for p in PAGES if getattr(getattr(p.callback, "access", None), "kind", "") == "operator"]


def _url(entry: URLPattern, cast: PortalCast, **other: str) -> str:
    names = entry.pattern.regex.groupindex  # type: ignore[union-attr]
    return reverse(str(entry.name), kwargs={name: (cast.names | other)[name] for name in names})


def _named(pages: list[URLPattern]) -> Any:
    return pytest.mark.parametrize("entry", pages, ids=[str(entry.name) for entry in pages])


def test_there_are_pages_of_every_kind() -> None:
    assert len(CUSTOMER_PAGES) > 20
    assert len(OPERATOR_PAGES) > 10


@_named(PAGES)
def test_every_page_says_who_it_is_for(entry: URLPattern) -> None:
    access = getattr(entry.callback, "access", None)
    assert access is not None, f"{entry.name} has no access"
    assert (access.kind == "public") == (entry.name in PUBLIC)
    match access.kind:
        case "customer":
            assert access.action in TABLE
            assert str(entry.pattern).startswith("^portal/(?P<customer_id>")
        case "operator":
            assert access.action in OPERATOR_READS | OPERATOR_WRITES | SUPERUSER_WRITES
            assert str(entry.pattern).startswith("^operator")


@_named([entry for entry in PAGES if entry.name not in PUBLIC])
def test_a_stranger_is_sent_to_sign_in(entry: URLPattern, cast: PortalCast) -> None:
    url = _url(entry, cast)
    for method in ("get", "post"):
        answer = getattr(cast.client(None), method)(url)
        assert answer.status_code == 302, (method, answer.status_code)
        assert answer.headers["Location"].startswith("/account/login?next=")


@_named(CUSTOMER_PAGES)
def test_a_role_sees_what_the_table_allows(entry: URLPattern, cast: PortalCast) -> None:
    action = entry.callback.access.action  # type: ignore[attr-defined]
    for role in Role:
        answer = cast.role(role).get(_url(entry, cast))
        expected = 200 if is_allowed(role, action) else 403
        assert answer.status_code == expected, (role, answer.status_code)
        if not is_allowed(role, action):
            assert cast.role(role).post(_url(entry, cast)).status_code in (403, 405)


@_named(CUSTOMER_PAGES)
def test_another_organisation_learns_nothing(entry: URLPattern, cast: PortalCast) -> None:
    """Neither of the organisation, nor of its things under one's own organisation."""
    outsider = cast.client(cast.outsider)
    url, absent = _url(entry, cast), _url(entry, cast, customer_id="nobody_1")
    for method in ("get", "post"):
        there, not_there = getattr(outsider, method)(url), getattr(outsider, method)(absent)
        assert there.status_code == not_there.status_code == 404
        assert cast.acme.name.encode() not in there.content
    own = outsider.get(_url(entry, cast, customer_id="globex_1"))
    if set(entry.pattern.regex.groupindex) - {"customer_id", "plugin", "version"}:  # type: ignore[union-attr]
        assert own.status_code == 404


@_named(CUSTOMER_PAGES)
def test_an_operator_looks_on_and_changes_nothing(entry: URLPattern, cast: PortalCast) -> None:
    client, url = cast.client(cast.operator), _url(entry, cast)
    assert client.get(url).status_code == 404
    session = client.session
    session[VIEWING] = {"customer_id": cast.acme.pk, "until": (datetime.now(UTC) + timedelta(hours=1)).timestamp()}
    session.save()
    action = entry.callback.access.action  # type: ignore[attr-defined]
    assert client.get(url).status_code == (200 if action in READS else 403)
    assert client.post(url).status_code in (403, 405)
    session[VIEWING] = {"customer_id": cast.acme.pk, "until": datetime.now(UTC).timestamp() - 1}
    session.save()
    assert client.get(url).status_code == 404


@_named(OPERATOR_PAGES)
def test_operators_pages_exist_for_operators_alone(entry: URLPattern, cast: PortalCast) -> None:
    url = _url(entry, cast)
    for person in (*cast.people.values(), cast.outsider):
        client = cast.client(person)
        assert client.get(url).status_code == 404
        assert client.post(url).status_code == 404
    is_for_superusers = entry.callback.access.action in SUPERUSER_WRITES  # type: ignore[attr-defined]
    assert cast.client(cast.operator).get(url).status_code == (403 if is_for_superusers else 200)
    if is_for_superusers:
        assert cast.client(cast.operator).post(url).status_code == 403
    assert cast.client(cast.superuser).get(url).status_code == 200


@_named([entry for entry in PAGES if entry.callback.access.kind != "public"])  # type: ignore[attr-defined]
def test_nothing_that_others_named_becomes_markup(entry: URLPattern, cast: PortalCast) -> None:
    for person in (cast.people["owner"], cast.superuser):
        answer = cast.client(person).get(_url(entry, cast))
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            assert b"<img src=x" not in body
            assert b"<script>alert" not in body
            assert b"<b>Corp" not in body
