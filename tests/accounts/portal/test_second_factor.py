"""Second factors: set up, asked for, used once, and not to be walked around."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.test import Client

from tests.portal_cast import PortalCast
from tests.signing_in import PASSWORD, code_for, sign_in


def test_an_app_is_set_up_and_its_secret_is_sealed(client: Client, owner: Any) -> None:
    sign_in(client)
    # Whoever finds a session open still needs the password to change how it is signed in to.
    assert client.get("/account/factors/app").headers["Location"].startswith("/account/again?next=")
    client.post("/account/again", {"password": PASSWORD, "next": "/account/factors/app"})
    page = client.get("/account/factors/app")
    secret = page.context["form"].secret
    answer = client.post("/account/factors/app", {"code": code_for(secret)})
    assert answer.headers["Location"] == "/account/factors/codes"
    for row in Authenticator.objects.filter(user=owner):
        assert secret not in str(row.data)


def test_a_password_alone_does_not_sign_in(client: Client, secret: str) -> None:
    answer = sign_in(client)
    assert answer.headers["Location"] == "/account/factor"
    for path in ("/portal/acme_1", "/portal/acme_1/keys", "/account", "/account/factors"):
        assert client.get(path).headers["Location"].startswith("/account/login")
    assert client.get("/api/account/customer").status_code == 401


def test_a_code_signs_in(client: Client, secret: str) -> None:
    sign_in(client)
    assert client.post("/account/factor", {"code": code_for(secret)}).headers["Location"] == "/"
    assert client.get("/portal/acme_1").status_code == 200


def test_a_code_is_good_once(secret: str) -> None:
    code = code_for(secret)
    first, second = Client(), Client()
    sign_in(first)
    sign_in(second)
    assert first.post("/account/factor", {"code": code}).status_code == 302
    if code_for(secret) != code:
        pytest.skip("the half minute ended between the two")
    assert second.post("/account/factor", {"code": code}).status_code == 200
    assert second.get("/portal/acme_1").status_code == 302


def test_codes_cannot_be_guessed_for_long(client: Client, secret: str) -> None:
    sign_in(client)
    wrong = "000000" if code_for(secret) != "000000" else "000001"
    for _ in range(6):
        client.post("/account/factor", {"code": wrong})
    answer = client.post("/account/factor", {"code": code_for(secret)})
    assert answer.status_code in (200, 302, 429)
    assert client.get("/portal/acme_1").status_code == 302


def test_a_new_password_does_not_stand_in_for_the_factor(client: Client, secret: str, mailoutbox: Any) -> None:
    client.post("/account/reset", {"email": "owner@acme.example"})
    (mail,) = mailoutbox
    link = next(line for line in mail.body.splitlines() if line.startswith("http://testserver"))
    form = client.get(link.removeprefix("http://testserver"), follow=True)
    new = "another horse battery staple"
    client.post(form.request["PATH_INFO"], {"password1": new, "password2": new})
    assert client.get("/portal/acme_1").status_code == 302
    assert sign_in(client, password=new).headers["Location"] == "/account/factor"


def test_an_organisation_that_requires_a_factor_lets_nobody_in_without(
    client: Client, cast: PortalCast, owner: Any
) -> None:
    cast.acme.require_mfa = True
    cast.acme.save()
    sign_in(client)
    for path in ("/portal/acme_1", "/portal/acme_1/keys", "/portal/acme_1/audit/export"):
        assert client.get(path).headers["Location"] == "/account/factors"
    assert client.post("/portal/acme_1/keys/new", {"name": "x"}).headers["Location"] == "/account/factors"
    TOTP.activate(owner, generate_totp_secret())
    # Having one is not enough: this session was opened without.
    assert client.get("/portal/acme_1").headers["Location"] == "/account/factors"


def test_operators_can_be_held_to_a_factor(cast: PortalCast, settings: Any) -> None:
    settings.OPERATORS_REQUIRE_MFA = True
    client = cast.client(cast.superuser)
    assert client.get("/operator").headers["Location"] == "/account/factors"
    assert client.get("/admin/").status_code == 302


def test_the_admin_has_no_sign_in_of_its_own(client: Client, secret: str) -> None:
    assert client.get("/admin/").headers["Location"].startswith("/admin/login/")
    for answer in (client.get("/admin/login/"), client.post("/admin/login/", {"username": "x", "password": "y"})):
        assert answer.headers["Location"].startswith("/account/login?next=")
