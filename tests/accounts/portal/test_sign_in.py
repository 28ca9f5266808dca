"""Sign-in and what surrounds it: sessions, forged forms, redirects, headers, and what strangers can learn."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from accounts.models import Membership, User
from licensing.core.models import AuditEvent
from licensing.core.outbox import dispatch_pending
from tests.portal_cast import PortalCast
from tests.signing_in import PASSWORD, sign_in

CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


def same(first: HttpResponse, second: HttpResponse) -> bool:
    """Whether two pages are the same but for what is random in each."""
    changing = re.compile(rb'(nonce|value)="[^"]*"|<code>req_[^<]*</code>')
    bodies = {
        changing.sub(b"", answer.content.replace(b"nobody@acme.example", b"owner@acme.example"))
        for answer in (first, second)
    }
    return first.status_code == second.status_code and len(bodies) == 1


def test_a_session_that_was_handed_over_is_not_the_one_signed_in(client: Client, owner: Any) -> None:
    client.get("/account/login")
    client.session.save()
    before = client.session.session_key
    sign_in(client)
    assert client.session.session_key != before
    thief = Client()
    thief.cookies["session"] = before
    assert thief.get("/account").status_code == 302


def test_signing_out_ends_the_session_on_the_server(client: Client, owner: Any) -> None:
    sign_in(client)
    kept = client.cookies["session"].value
    client.post("/account/logout")
    client.cookies["session"] = kept
    assert client.get("/account").status_code == 302


def test_signing_out_everywhere(owner: Any) -> None:
    here, there = Client(), Client()
    sign_in(here)
    sign_in(there)
    assert there.get("/account").status_code == 200
    assert here.get("/account/sessions").content.count(b"127.0.0.1") == 2
    here.post("/account/sessions/end")
    assert here.get("/account").status_code == there.get("/account").status_code == 302


def test_a_new_password_ends_other_sessions(owner: Any) -> None:
    here, there = Client(), Client()
    sign_in(here)
    sign_in(there)
    new = "another horse battery staple"
    here.post("/account/password", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 302


@pytest.mark.parametrize(
    "path",
    ["/account/login", "/account/logout", "/account/reset", "/account/theme", "/account/sessions/end",
     "/portal/acme_1/keys/new", "/portal/acme_1/people/invite", "/portal/acme_1/security", "/operator/lockdown"],
)  # fmt: skip
def test_a_form_of_another_site_does_nothing(path: str, cast: PortalCast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(
        cast.superuser if path.startswith("/operator") else cast.people["owner"],
        backend="allauth.account.auth_backends.AuthenticationBackend",
    )
    answer = client.post(path, {"name": "x"}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert b"no longer good" in answer.content
    page = client.get("/account")
    token = CSRF.search(page.content.decode())
    assert token is not None
    assert client.post("/account", {"name": "Ada", "csrfmiddlewaretoken": token[1]}).status_code == 302


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "http:///evil.example", "/\\evil.example", "javascript:alert(1)",
     "https://testserver.evil.example/", "\thttps://evil.example"],
)  # fmt: skip
def test_no_redirect_leads_away(target: str, client: Client, owner: Any) -> None:
    assert sign_in(client, next=target).headers["Location"] == "/"
    assert client.post("/account/theme", {"theme": "dark", "next": target}).headers["Location"] == "/"
    answer = client.post("/account/logout", {"next": target})
    assert answer.headers["Location"].startswith("/account/login")


def test_one_is_sent_on_to_the_page_one_came_for(client: Client, owner: Any) -> None:
    assert sign_in(client, next="/portal/acme_1/keys").headers["Location"] == "/portal/acme_1/keys"


def test_pages_cannot_be_framed_sniffed_or_kept(client: Client, owner: Any) -> None:
    sign_in(client)
    for path in ("/account/login", "/account", "/portal/acme_1", "/portal/nobody_1", "/nothing", "/operator"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        # A redirect has no scripts, and so no nonce: then none may run at all.
        assert re.search(r"script-src( 'nonce-[A-Za-z0-9+/=]{20,}')?(;|$)", policy)
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in headers["Cache-Control"]


def test_no_page_has_inline_scripts_or_styles(client: Client, owner: Any) -> None:
    sign_in(client)
    for path in ("/account/login", "/account", "/portal/acme_1", "/portal/acme_1/usage", "/account/factors"):
        body = client.get(path).content.decode()
        assert not re.search(r"<script(?![^>]*(src=|application/json))", body)
        assert not re.search(r"\s(style|on[a-z]+)=", body)
        assert "<style" not in body


def test_nonces_are_never_used_twice(client: Client, cast: PortalCast) -> None:
    pages = [client.get("/account/login").headers["Content-Security-Policy"] for _ in range(3)]
    assert len(set(pages)) == 3


@pytest.mark.parametrize(
    "host", ["evil.example", "testserver.evil.example", "testserver:80@evil.example", "evil.example:80"]
)
def test_a_foreign_host_is_refused(host: str, client: Client, cast: PortalCast) -> None:
    for path in ("/account/login", "/portal/acme_1", "/nothing"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 400
        assert b"evil.example" not in answer.content


def test_the_link_of_a_mail_leads_to_our_own_address(
    client: Client, owner: Any, mailoutbox: Any, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "other.example"]
    client.post("/account/reset", {"email": "owner@acme.example"}, headers={"Host": "other.example"})
    (mail,) = mailoutbox
    assert "http://testserver/account/reset/" in mail.body
    assert "other.example" not in mail.body


def test_signing_in_tells_nothing_about_who_there_is(owner: Any) -> None:
    known = sign_in(Client(), "owner@acme.example", "wrong password")
    unknown = sign_in(Client(), "nobody@acme.example", "wrong password")
    assert known.status_code == 200
    assert same(known, unknown)


def test_asking_for_a_reset_tells_nothing_about_who_there_is(owner: Any, mailoutbox: Any) -> None:
    known = Client().post("/account/reset", {"email": "owner@acme.example"}, follow=True)
    unknown = Client().post("/account/reset", {"email": "nobody@acme.example"}, follow=True)
    assert same(known, unknown)
    assert [mail.to for mail in mailoutbox] == [["owner@acme.example"]]


def test_a_reset_link_is_good_once_and_not_in_the_address_of_the_form(
    client: Client, owner: Any, mailoutbox: Any
) -> None:
    client.post("/account/reset", {"email": "OWNER@acme.example"})
    (link,) = re.findall(r"http://testserver(/\S+)", mailoutbox[0].body)
    redirected = client.get(link)
    form = redirected.headers["Location"]
    assert form.endswith("/set-password")
    new = "another horse battery staple"
    assert client.post(form, {"password1": new, "password2": new}).status_code == 302
    assert sign_in(Client(), password=new).headers["Location"] == "/"
    assert b"no longer good" in Client().get(link).content
    assert any("changed" in mail.subject for mail in mailoutbox[1:])


def test_passwords_cannot_be_guessed_for_long(client: Client, owner: Any) -> None:
    for _ in range(6):
        sign_in(client, password="a wrong password")
    assert sign_in(client).status_code in (200, 429)
    assert client.get("/portal/acme_1").status_code == 302


def test_weak_passwords_are_refused(client: Client, owner: Any) -> None:
    sign_in(client)
    for weak in ("short", "password12345", "owner@acme.example"):
        answer = client.post("/account/password", {"oldpassword": PASSWORD, "password1": weak, "password2": weak})
        assert answer.status_code == 200
    owner.refresh_from_db()
    assert owner.check_password(PASSWORD)
    assert owner.password.startswith("argon2$argon2id")


def test_cookies_hold_to_this_site(client: Client, owner: Any) -> None:
    answer = sign_in(client)
    cookie = answer.cookies["session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert not cookie["domain"]


def test_nobody_signs_up(client: Client, cast: PortalCast) -> None:
    for path in ("/account/signup", "/accounts/signup/", "/account/signup/"):
        assert client.get(path).status_code == 404


def test_who_was_shut_out_stays_out(client: Client, owner: Any) -> None:
    sign_in(client)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert client.get("/portal/acme_1").status_code == 302
    assert sign_in(Client()).headers.get("Location", "") in ("", "/account/inactive")


def test_a_member_who_was_removed_loses_the_pages_at_once(client: Client, owner: Any) -> None:
    sign_in(client)
    assert client.get("/portal/acme_1").status_code == 200
    Membership.objects.filter(user=owner).delete()
    assert client.get("/portal/acme_1").status_code == 404


def test_the_portal_keeps_to_the_addresses_it_was_bound_to(client: Client, cast: PortalCast, owner: Any) -> None:
    sign_in(client)
    answer = client.post("/portal/acme_1/security", {"portal_cidrs": "192.0.2.0/24"})
    assert b"would shut you out" in answer.content
    cast.acme.portal_cidrs = ["192.0.2.0/24"]
    cast.acme.save()
    assert client.get("/portal/acme_1").status_code == 403
    assert client.post("/portal/acme_1/keys/new", {"name": "x"}).status_code == 403


def test_an_invitation_is_for_one_address_and_once(cast: PortalCast, client: Client, mailoutbox: Any) -> None:
    dispatch_pending(now=datetime.now(UTC))
    (mail,) = mailoutbox
    (link,) = re.findall(r"http://testserver(/\S+)", mail.body)
    other = cast.client(cast.outsider)
    assert b"another address" in other.post(link).content
    assert client.post(link, {"name": "New", "password": PASSWORD}).headers["Location"] == "/account/login"
    assert Membership.objects.get(user__email="new@acme.example").role == "viewer"
    assert client.get(link).status_code == 404
    assert client.get(f"{link}x").status_code == 404


def test_reports_of_refusals_are_taken_and_tell_nothing(client: Client, cast: PortalCast) -> None:
    report = {"csp-report": {"document-uri": "http://testserver/x?key=secret", "violated-directive": "script-src"}}
    for body in (json.dumps(report), json.dumps([{"body": {"blockedURL": "inline"}}]), "[", "1", "x" * 20_000):
        answer = client.post("/account/reports", body, content_type="application/csp-report")
        assert (answer.status_code, answer.content) == (204, b"")


def test_keys_show_once_and_every_change_is_on_record(client: Client, cast: PortalCast, owner: Any) -> None:
    sign_in(client)
    answer = client.post("/portal/acme_1/keys/new", {"name": "CI", "mode": "live", "scopes": ["usage"]})
    assert answer.status_code == 201
    shown = re.search(r"km_live_[0-9A-Za-z]{36}", answer.content.decode())
    assert shown is not None
    for path in ("/portal/acme_1/keys", "/portal/acme_1/audit", "/portal/acme_1/audit/export"):
        page = client.get(path)
        body = b"".join(page.streaming_content) if page.streaming else page.content
        assert shown[0].encode() not in body
    assert AuditEvent.objects.filter(customer_id="acme_1", action="api_key.created", actor_id=str(owner.pk)).exists()


def test_without_valkey_nobody_signs_in_and_the_page_says_so(client: Client, owner: Any, settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "unix:///nonexistent/valkey.sock?db=0",
        }
    }
    answer = sign_in(client)
    assert answer.status_code == 503
    assert b"Try again in a moment" in answer.content
    assert client.get("/portal/acme_1").status_code == 302
