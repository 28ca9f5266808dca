"""What a stranger can learn by trying: whether an address has an account, at sign-in, reset and invitation. Nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.core import signing
from django.http import HttpResponse
from django.test import Client

from accounts.models import User
from tests.portal_cast import PortalCast
from tests.signing_in import PASSWORD

KNOWN, UNKNOWN = "owner@acme.example", "nobody@acme.example"
RANDOM = re.compile(rb'(nonce|value)="[^"]*"|<code>req_[^<]*</code>')
CHANGING = {"X-Request-ID", "Date", "Expires"}


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often a password was hashed, which is what an answer's time consists of."""
    made: list[str] = []
    encode, verify = Argon2PasswordHasher.encode, Argon2PasswordHasher.verify

    def counted(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            return original(*args, **kwargs)

        return call

    monkeypatch.setattr(Argon2PasswordHasher, "encode", counted(encode, "encode"))
    monkeypatch.setattr(Argon2PasswordHasher, "verify", counted(verify, "verify"))
    return made


def seen(answer: HttpResponse) -> tuple[Any, ...]:
    """All that a stranger sees of an answer, but for what is random in each."""
    headers = {name: value for name, value in answer.headers.items() if name not in CHANGING}
    headers["Content-Security-Policy"] = re.sub(r"'nonce-[^']*'", "", headers["Content-Security-Policy"])
    cookies = {
        name: {key: value for key, value in cookie.items() if key != "expires"}
        for name, cookie in answer.cookies.items()
    }
    body = RANDOM.sub(b"", answer.content.replace(UNKNOWN.encode(), KNOWN.encode()))
    headers.pop("Content-Length", None)  # the addresses differ in length; the body is compared itself
    return answer.status_code, headers, cookies, body


def sign_in(email: str, password: str = "not the password", client: Client | None = None) -> HttpResponse:
    return (client or Client()).post("/account/login", {"login": email, "password": password})


def test_sign_in(owner: Any, hashes: list[str]) -> None:
    known, at_known = seen(sign_in(KNOWN)), hashes.copy()
    hashes.clear()
    unknown, at_unknown = seen(sign_in(UNKNOWN)), hashes.copy()
    assert known == unknown
    assert known[0] == 200
    # As much work for both: hashing takes a hundred times as long as all the rest.
    assert len(at_known) == len(at_unknown) == 1


def test_sign_in_of_who_has_no_password(cast: PortalCast, owner: Any, hashes: list[str]) -> None:
    """People who were invited and use passkeys alone, and people who were shut out."""
    User.objects.filter(pk=owner.pk).update(is_active=False)
    shut_out, at_shut_out = seen(sign_in(KNOWN)), hashes.copy()
    hashes.clear()
    unknown, at_unknown = seen(sign_in(UNKNOWN)), hashes.copy()
    assert shut_out == unknown
    assert len(at_shut_out) == len(at_unknown) == 1


def test_sign_in_tried_too_often(owner: Any) -> None:
    def last(email: str) -> tuple[Any, ...]:
        client = Client()
        return seen([sign_in(email, client=client) for _ in range(6)][-1])

    assert last(KNOWN) == last(UNKNOWN)
    # A right password then tells nothing either.
    assert seen(sign_in(KNOWN, PASSWORD)) == seen(sign_in(UNKNOWN, PASSWORD))


def test_reset(owner: Any, mailoutbox: Any, hashes: list[str]) -> None:
    def asked(email: str) -> list[tuple[Any, ...]]:
        client = Client()
        return [seen(client.post("/account/reset", {"email": email})), seen(client.get("/account/reset/sent"))]

    assert asked(KNOWN) == asked(UNKNOWN)
    assert [mail.to for mail in mailoutbox] == [[KNOWN]]
    assert hashes == []


def test_reset_asked_too_often(owner: Any) -> None:
    def answers(email: str) -> list[tuple[Any, ...]]:
        return [seen(Client().post("/account/reset", {"email": email})) for _ in range(7)]

    known = answers(KNOWN)
    assert known == answers(UNKNOWN)
    assert known[-1][0] == 429
    assert b"Wait a few minutes" in known[-1][3]
    assert known[-1][1]["Retry-After"] == "60"


def test_reset_links_that_are_no_good(owner: Any) -> None:
    """A wrong key for somebody that there is, and a key for nobody."""
    from allauth.account.utils import user_pk_to_url_str

    there = f"/account/reset/{user_pk_to_url_str(owner)}/bv2m0v-2f4b0c33ba8b0bd1f0bfd1bd2a1b07d2"
    nobody = "/account/reset/zzzzz/bv2m0v-2f4b0c33ba8b0bd1f0bfd1bd2a1b07d2"
    assert seen(Client().get(there)) == seen(Client().get(nobody))


def test_inviting(cast: PortalCast, mailoutbox: Any) -> None:
    """Whoever invites learns whether an address is a member of theirs, and not whether it is somebody elsewhere."""
    client = cast.role("owner")

    def invited(email: str) -> tuple[Any, ...]:
        answer = client.post("/portal/acme_1/people/invite", {"email": email, "role": "viewer"})
        page = client.get("/portal/acme_1/people").content.decode()
        row = next(line for line in page.split("<tr>") if email in line)
        return seen(answer), re.sub(r"inv[a-z]*_[0-9a-z]+", "", row.replace(email, ""))

    somebody, nobody = invited(cast.outsider.email), invited("nobody@elsewhere.example")
    assert somebody[0] == nobody[0]
    assert re.sub(r"<time.*?</time>", "", somebody[1]) == re.sub(r"<time.*?</time>", "", nobody[1])


def test_invitations_that_are_no_good(cast: PortalCast) -> None:
    """One that was never made, one that was forged, one that was withdrawn: all alike."""
    good = f"/account/invitation/{cast.names['token']}"
    assert Client().get(good).status_code == 200
    forged = signing.TimestampSigner(key="another").sign(cast.names["invitation_id"])
    answers = [seen(Client().get(f"/account/invitation/{token}")) for token in ("x", "a.b:c", forged, good[20:-1])]
    cast.role("owner").post(f"/portal/acme_1/people/invitations/{cast.names['invitation_id']}/withdraw")
    answers.append(seen(Client().get(good)))
    assert answers[0][0] == 404
    assert all(answer == answers[0] for answer in answers)


def test_signed_in_to_nothing_of_others(cast: PortalCast) -> None:
    """An organisation that one is no member of, and one that is not there, in everything that is answered."""
    client = cast.client(cast.outsider)
    for path in ("", "/keys", "/people/invite", "/no/such/page"):
        assert seen(client.get(f"/portal/acme_1{path}")) == seen(client.get(f"/portal/nobody_1{path}"))
