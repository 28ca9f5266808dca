"""Between the password and the second factor one is nobody: no page, no other flow and no old code leads past it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from tests.licensing.portal.test_matrix import PAGES, PUBLIC
from tests.portal_cast import PortalCast
from tests.signing_in import PASSWORD, code_for

NEW = "another horse battery staple"


@pytest.fixture
def pending(secret: str) -> Client:
    """A browser that has shown the password, and owes the code."""
    client = Client(raise_request_exception=False)
    answer = client.post("/account/login", {"login": "owner@acme.example", "password": PASSWORD})
    assert answer.headers["Location"] == "/account/factor"
    return client


def is_in(client: Client) -> bool:
    return client.get("/portal/acme_1").status_code == 200


def _url(entry: URLPattern, cast: PortalCast, **more: str) -> str:
    names = entry.pattern.regex.groupindex  # type: ignore[union-attr]
    return reverse(str(entry.name), kwargs={name: (cast.names | more).get(name, "x") for name in names})


def test_no_page_opens(pending: Client, cast: PortalCast) -> None:
    for entry in PAGES:
        if entry.name in PUBLIC:
            continue
        url = _url(entry, cast)
        for method in ("get", "post"):
            answer = getattr(pending, method)(url, {"password": PASSWORD, "name": "x"})
            assert answer.status_code == 302, (method, url)
            assert answer.headers["Location"].startswith("/account/login?next="), (method, url)
    assert not is_in(pending)


def test_no_api_answers(pending: Client, cast: PortalCast) -> None:
    for entry in get_resolver().url_patterns:
        if isinstance(entry, URLPattern) and str(entry.pattern).startswith("^api/account/"):
            url = _url(entry, cast, member_id=cast.names["number"])
            assert pending.get(url).status_code in (401, 405), url
            assert pending.post(url, {}, content_type="application/json").status_code in (401, 403, 405), url


def test_nothing_about_the_person_changes(pending: Client, owner: Any) -> None:
    """Neither what one signs in with, nor what else is asked for, nor who one is."""
    before = list(Authenticator.objects.filter(user=owner).values_list("pk", "type"))
    for path, form in (
        ("/account/password", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}),
        ("/account/password/set", {"password1": NEW, "password2": NEW}),
        ("/account/again", {"password": PASSWORD}),
        ("/account/factors/app/remove", {}),
        ("/account/factors/codes/new", {}),
        ("/account", {"name": "Mallory", "email": "mallory@evil.example"}),
        ("/account/sessions/end", {}),
    ):
        pending.post(path, form)
    owner.refresh_from_db()
    assert owner.check_password(PASSWORD)
    assert (owner.email, owner.name) == ("owner@acme.example", "")
    assert list(Authenticator.objects.filter(user=owner).values_list("pk", "type")) == before
    assert not is_in(pending)


def test_a_new_password_by_mail_is_no_way_past_it(pending: Client, owner: Any, mailoutbox: Any, secret: str) -> None:
    pending.post("/account/reset", {"email": "owner@acme.example"})
    (link,) = re.findall(r"http://testserver(/\S+)", mailoutbox[0].body)
    form = pending.get(link, follow=True).request["PATH_INFO"]
    assert pending.post(form, {"password1": NEW, "password2": NEW}).headers["Location"] == "/account/reset/done"
    assert not is_in(pending)
    assert pending.get("/account/reset/done").status_code == 200
    assert pending.post("/account/login", {"login": "owner@acme.example", "password": NEW}).headers["Location"] == (
        "/account/factor"
    )
    assert not is_in(pending)


def test_an_invitation_is_no_way_past_it(pending: Client, cast: PortalCast, owner: Any, settings: Any) -> None:
    from datetime import UTC, datetime

    from accounts.services.invitations import invitation_token, invite_member
    from tests.portal_cast import ACTOR

    invited = invite_member(customer=cast.globex, email=owner.email, role="viewer", actor=ACTOR, now=datetime.now(UTC))
    url = f"/account/invitation/{invitation_token(invited)}"
    for answer in (pending.get(url), pending.post(url, {"name": "Mallory", "password": NEW})):
        assert answer.headers["Location"].startswith("/account/login?next=/account/invitation/")
    owner.refresh_from_db()
    assert owner.check_password(PASSWORD)
    assert not cast.globex.memberships.filter(user=owner).exists()
    assert not is_in(pending)


@pytest.mark.parametrize(
    "form", [{}, {"code": ""}, {"code": "000000 000000"}, {"credential": "{}"}, {"credential": ""}]
)
def test_what_is_no_code_leads_nowhere(form: dict[str, str], pending: Client) -> None:
    assert pending.post("/account/factor", form).status_code == 200
    assert pending.post("/account/passkey", form).status_code in (200, 302)
    assert not is_in(pending)


def test_a_code_of_somebody_else_leads_nowhere(pending: Client, cast: PortalCast, secret: str) -> None:
    other, theirs = cast.people["admin"], generate_totp_secret()
    TOTP.activate(other, theirs)
    code = RecoveryCodes.activate(other).get_unused_codes()[0]
    for wrong in (code_for(theirs), code):
        if wrong != code_for(secret):
            assert pending.post("/account/factor", {"code": wrong}).status_code == 200
    assert not is_in(pending)


def test_the_step_does_not_wait_for_ever(pending: Client, secret: str) -> None:
    session = pending.session
    session["account_login"]["initiated_at"] -= 16 * 60
    session.save()
    assert pending.post("/account/factor", {"code": code_for(secret)}).headers["Location"].startswith("/account/login")
    assert not is_in(pending)


def test_each_step_has_a_session_of_its_own(secret: str) -> None:
    """Whoever planted or saw the cookie of an earlier step holds nothing when the last one is done."""
    client = Client(raise_request_exception=False)
    client.get("/account/login")
    client.cookies["session"] = "planted0planted0planted0planted0"
    cookies = [client.cookies["session"].value]
    client.post("/account/login", {"login": "owner@acme.example", "password": PASSWORD})
    cookies.append(client.cookies["session"].value)
    client.post("/account/factor", {"code": code_for(secret)})
    cookies.append(client.cookies["session"].value)
    assert len(set(cookies)) == 3
    assert is_in(client)
    for old in cookies[:2]:
        thief = Client(raise_request_exception=False)
        thief.cookies["session"] = old
        assert not is_in(thief)
        assert thief.get("/account/factor").status_code == 302


def test_a_code_that_signed_in_confirms_nothing_more(pending: Client, secret: str) -> None:
    code = code_for(secret)
    pending.post("/account/factor", {"code": code})
    assert is_in(pending)
    assert pending.post("/account/factors/again", {"code": code}).status_code == 200
    assert pending.get("/account/factors/app/remove").headers["Location"].startswith("/account/again")


def test_of_a_code_that_comes_many_times_at_once_one_is_good(secret: str, owner: Any) -> None:
    held, code = Authenticator.objects.get(user=owner, type=Authenticator.Type.TOTP), code_for(secret)
    held.user  # noqa: B018  read here: the threads have no database
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: TOTP(held).validate_code(code), range(32)))
    assert sum(results) <= 1  # none, if the half minute ended meanwhile
    if code_for(secret) == code:
        assert sum(results) == 1


def test_a_recovery_code_is_good_once(secret: str, owner: Any) -> None:
    code = RecoveryCodes.activate(owner).get_unused_codes()[0]
    for expected in (True, False):
        client = Client(raise_request_exception=False)
        client.post("/account/login", {"login": "owner@acme.example", "password": PASSWORD})
        client.post("/account/factor", {"code": code})
        assert is_in(client) is expected


def test_confirming_cannot_be_guessed_for_long(pending: Client, secret: str) -> None:
    pending.post("/account/factor", {"code": code_for(secret)})
    answers = [pending.post("/account/again", {"password": "not the password"}).status_code for _ in range(12)]
    assert answers[-1] == 429
    assert pending.post("/account/again", {"password": PASSWORD}).status_code == 429
