"""The operator's page about keys that sign: states and ends, and rotating by the same service as the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from kombu.exceptions import OperationalError

from licensing.core.actor import system
from licensing.core.models import AuditEvent
from licensing.crypto.sealing import new_versioned_key
from licensing.models import Certificate, SigningKey
from licensing.services.key_lifecycle import bootstrap
from licensing.tasks import rotate_signing_key
from tests.portal_cast import PortalCast

PAGE = "/operator/signing-keys"


@pytest.fixture
def client(cast: PortalCast) -> Client:
    """A superuser's browser."""
    return cast.client(cast.superuser)


@pytest.fixture
def keys(cast: PortalCast) -> None:
    bootstrap(actor=system("tests"), now=datetime.now(UTC))


@pytest.fixture
def sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `sign` worker that takes every order at once."""
    monkeypatch.setattr(rotate_signing_key, "apply_async", lambda args, **_options: rotate_signing_key(*args))


@pytest.fixture
def nobody_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are taken, and nobody carries them out."""
    monkeypatch.setattr("licensing.portal.operator_keys.SIGN_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(rotate_signing_key, "apply_async", lambda *_args, **_options: None)


def states(purpose: str) -> list[str]:
    return sorted(SigningKey.objects.filter(purpose=purpose).values_list("state", flat=True))


def asked(cast: PortalCast) -> dict[str, Any]:
    """What the audit log keeps of the one order, which the superuser gave."""
    row = AuditEvent.objects.get(action="signing_key.rotation_asked")
    assert (row.actor_kind, row.actor_id, row.subject_id) == ("operator", str(cast.superuser.pk), "token")
    return dict(row.detail)


def test_keys_and_certificates_are_shown_with_what_comes_next(client: Client, keys: None) -> None:
    page = client.get(PAGE)
    (line,) = [line for line in page.context["keys"] if line.key.purpose == "token"]
    assert line.key.state == "active"
    assert line.at == line.key.activated_at + timedelta(days=30)
    standings = {line.certificate.purpose: line.standing for line in page.context["certificates"]}
    assert standings["keyset"] == standings["authority"] == "active"
    assert page.context["url_keys"] == (1,)
    assert "in time" in page.content.decode()
    assert b"sealed_private_key" not in page.content


def test_what_runs_out_is_marked(client: Client, keys: None) -> None:
    now = datetime.now(UTC)
    for purpose, left in (("keyset", timedelta(days=20)), ("policy", timedelta(seconds=-1))):
        Certificate.objects.filter(purpose=purpose).update(not_after=now + left)
    standings = {line.certificate.purpose: line for line in client.get(PAGE).context["certificates"]}
    assert (standings["keyset"].standing, standings["keyset"].days_left) == ("expiring", 19)
    assert (standings["policy"].standing, standings["policy"].days_left) == ("expired", 0)
    assert standings["manifest"].standing == "active"


def test_all_versions_of_url_keys_are_shown(client: Client, settings: Any) -> None:
    both = f"{new_versioned_key(2)},{settings.KEY_ENCRYPTION_KEYS['tokens']}"
    settings.KEY_ENCRYPTION_KEYS = {**settings.KEY_ENCRYPTION_KEYS, "tokens": both}
    assert client.get(PAGE).context["url_keys"] == (2, 1)
    settings.KEY_ENCRYPTION_KEYS = {**settings.KEY_ENCRYPTION_KEYS, "tokens": ""}
    assert "does not hold KEK_TOKENS" in client.get(PAGE).content.decode()


def test_without_keys_the_page_says_what_to_do(client: Client) -> None:
    shown = client.get(PAGE).content.decode()
    assert "bootstrap_keys" in shown
    assert "The signed key set is late" in shown


def test_a_key_is_rotated_in_good_order(client: Client, cast: PortalCast, keys: None, sign: None) -> None:
    before = SigningKey.objects.get(purpose="token").kid
    assert "Nobody notices anything" in client.get(f"{PAGE}/token/rotate").content.decode()
    assert states("token") == ["active"]
    done = client.post(f"{PAGE}/token/rotate", follow=True).content.decode()
    made = SigningKey.objects.get(purpose="token", state="pending")
    assert f"The key {made.kid} is published" in done
    assert SigningKey.objects.get(purpose="token", state="active").kid == before
    assert states("lease") == ["active"]
    assert asked(cast) == {"emergency": False}


def test_a_key_is_replaced_at_once_for_a_reason(client: Client, cast: PortalCast, keys: None, sign: None) -> None:
    before = SigningKey.objects.get(purpose="token").kid
    effect = client.get(f"{PAGE}/token/replace").content.decode()
    assert "refused within a second" in effect
    assert client.post(f"{PAGE}/token/replace", {"reason": ""}).status_code == 200
    assert states("token") == ["active"]  # no reason, no order
    done = client.post(f"{PAGE}/token/replace", {"reason": "a laptop was stolen"}, follow=True).content.decode()
    active = SigningKey.objects.get(purpose="token", state="active").kid
    assert f"The key {before}" not in done
    assert active in done
    assert active != before
    assert SigningKey.objects.get(kid=before).state == "retired"
    assert asked(cast) == {"emergency": True, "reason": "a laptop was stolen"}


def test_leases_tell_of_another_effect(client: Client, keys: None) -> None:
    assert "nobody can take them back" in client.get(f"{PAGE}/lease/replace").content.decode()


def test_while_sign_is_away_the_order_waits_and_the_page_says_so(
    client: Client, cast: PortalCast, keys: None, nobody_signs: None
) -> None:
    done = client.post(f"{PAGE}/token/rotate", follow=True).content.decode()
    assert "The order waits in its queue" in done
    assert states("token") == ["active"]
    assert asked(cast) == {"emergency": False}


def test_without_valkey_there_is_no_order(client: Client, keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(rotate_signing_key, "apply_async", refuse)
    done = client.post(f"{PAGE}/token/replace", {"reason": "x"}, follow=True).content.decode()
    assert "Valkey does not answer" in done


def test_operators_who_are_no_superusers_look_only(cast: PortalCast, keys: None) -> None:
    operator = cast.client(cast.operator)
    assert "Emergency" not in operator.get(PAGE).content.decode()
    for path in (f"{PAGE}/token/rotate", f"{PAGE}/token/replace"):
        assert operator.get(path).status_code == 403
        assert operator.post(path, {"reason": "x"}).status_code == 403
    assert states("token") == ["active"]


def test_there_are_two_purposes(client: Client, keys: None) -> None:
    for path in (f"{PAGE}/url/rotate", f"{PAGE}/binary/replace"):
        assert client.get(path).status_code == 404
        assert client.post(path, {"reason": "x"}).status_code == 404
