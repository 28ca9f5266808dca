"""`rotate_kek web`: second factors come under the new key, and go on working without the old one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client, override_settings

from accounts.keyrings import ring
from accounts.sealed_columns import declared_columns
from accounts.services import rotation
from accounts.services.rotation import reseal, sealed_versions
from licensing.core.actor import system
from licensing.crypto.sealing import new_versioned_key
from tests.portal_cast import PortalCast
from tests.signing_in import PASSWORD, code_for

ACTOR = system("tests")


@contextmanager
def kek_web(text: str) -> Iterator[None]:
    """This process as it is after a restart with another list of keys."""
    with override_settings(KEY_ENCRYPTION_KEYS={**settings.KEY_ENCRYPTION_KEYS, "web": text}):
        yield


def left_under_old() -> Counter[int]:
    """What the check counts: members under another version than the current one."""
    keys = ring("web")
    return sum((sealed_versions(column, keys) for column in declared_columns("web")), Counter[int]())


@pytest.fixture
def secret(cast: PortalCast) -> str:
    """The owner's password, authenticator app and recovery codes."""
    owner = cast.people["owner"]
    owner.set_password(PASSWORD)
    owner.save()
    made = generate_totp_secret()
    TOTP.activate(owner, made)
    RecoveryCodes.activate(owner)
    return made


@pytest.fixture
def new_key() -> str:
    return new_versioned_key(2)


@pytest.fixture
def both(new_key: str) -> str:
    return f"{new_key},{settings.KEY_ENCRYPTION_KEYS['web']}"


def signs_in(code: str) -> bool:
    """Whether the owner gets in by password and code."""
    client = Client(raise_request_exception=False)
    client.post("/account/login", {"login": "owner@acme.example", "password": PASSWORD})
    client.post("/account/factor", {"code": code})
    return client.get("/portal/acme_1").status_code == 200


def recovery_codes(cast: PortalCast) -> RecoveryCodes:
    row = Authenticator.objects.get(user=cast.people["owner"], type=Authenticator.Type.RECOVERY_CODES)
    return RecoveryCodes(row)


def test_both_kinds_of_factor_outlive_the_old_key(cast: PortalCast, secret: str, both: str, new_key: str) -> None:
    codes = recovery_codes(cast).get_unused_codes()
    with kek_web(both):
        assert left_under_old() == {1: 2}
        output = StringIO()
        call_command("rotate_kek", "web", stdout=output)
        assert "2 rows were brought under the current version of KEK_WEB" in output.getvalue()
        assert not left_under_old()
    with kek_web(new_key):
        assert signs_in(code_for(secret))
        assert recovery_codes(cast).get_unused_codes() == codes
        assert signs_in(codes[0])
        assert recovery_codes(cast).get_unused_codes() == codes[1:]


def test_what_is_not_sealed_stays_as_it_was(cast: PortalCast, secret: str, both: str) -> None:
    passkey = Authenticator.objects.create(
        user=cast.people["owner"], type=Authenticator.Type.WEBAUTHN, data={"name": "key", "credential": {"seed": "x"}}
    )
    held = recovery_codes(cast)
    held.mark_as_viewed()
    held._mark_code_used(3)
    before = dict(recovery_codes(cast).instance.data)
    with kek_web(both):
        assert reseal(purpose="web", actor=ACTOR).is_complete
    after = dict(recovery_codes(cast).instance.data)
    assert before.pop("seed") != after.pop("seed")
    assert before == after
    passkey.refresh_from_db()
    assert passkey.data == {"name": "key", "credential": {"seed": "x"}}


def test_a_run_that_was_stopped_is_taken_up(
    cast: PortalCast, secret: str, both: str, new_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("admin", "developer"):
        TOTP.activate(cast.people[role], secret)
    monkeypatch.setattr(rotation, "BATCH_ROWS", 1)

    def stop(_column: str, rows: int) -> None:
        if rows == 2:
            raise KeyboardInterrupt

    with kek_web(both):
        with pytest.raises(KeyboardInterrupt):
            reseal(purpose="web", actor=ACTOR, progress=stop)
        assert left_under_old() == {1: 2}
        report = reseal(purpose="web", actor=ACTOR)
        assert (report.rewritten, report.is_complete) == (2, True)
    with kek_web(new_key):
        assert signs_in(code_for(secret))


@pytest.mark.parametrize("damage", ["not base64", "AAEA", "", None, 7])
def test_a_secret_that_does_not_open_is_named_and_holds_up_no_other(
    cast: PortalCast, secret: str, both: str, damage: Any
) -> None:
    row = TOTP.activate(cast.people["admin"], secret).instance
    row.data = {"secret": damage}
    row.save()
    is_there = damage not in ("", None)
    with kek_web(both):
        if is_there:
            with pytest.raises(CommandError, match="Keep the old versions of KEK_WEB"):
                call_command("rotate_kek", "web", stdout=StringIO())
        report = reseal(purpose="web", actor=ACTOR)
        assert report.unreadable == ([f"mfa_authenticator.data.secret {row.pk}"] if is_there else [])
        assert report.is_complete != is_there
        assert signs_in(code_for(secret))


def test_codes_that_are_shown_are_held_meanwhile(cast: PortalCast, secret: str, both: str) -> None:
    """Showing them writes the row back: `rotate_kek` must not come between reading and writing."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = Client()
    client.post("/account/login", {"login": "owner@acme.example", "password": PASSWORD})
    client.post("/account/factor", {"code": code_for(secret)})
    client.post("/account/again", {"password": PASSWORD})
    for path in ("/account/factors/codes", "/account/factors/codes/download"):
        with CaptureQueriesContext(connection) as queries:
            page = client.get(path)
            assert page.status_code == 200
            assert all(code in page.content.decode() for code in recovery_codes(cast).get_unused_codes())
        touching = [each["sql"] for each in queries if '"mfa_authenticator"' in each["sql"]]
        held = next(index for index, sql in enumerate(touching) if sql.endswith("FOR UPDATE"))
        read = next(index for index, sql in enumerate(touching) if '"data"' in sql)
        assert held < read
