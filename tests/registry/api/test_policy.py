"""A customer's policy: answered in discovery, signed by `sign`, enforced on download."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from licensing.core.actor import system
from licensing.core.errors import InvalidValue
from licensing.core.models import OutboxEvent
from licensing.crypto.authority import Purpose, verify_certificate
from licensing.crypto.signatures import SignatureInvalid, read_typed
from licensing.models import Certificate
from licensing.services.key_lifecycle import CertificateLapsed, bootstrap, load_authority
from registry.models import Artifact, SignedPolicy
from registry.services.policies import TYPE, is_pinned, set_policy, sign_due_policies
from registry.storage import ArtifactStore
from registry.tasks import sign_due
from tests.registry import cast
from tests.registry.cast import ACTOR, PUBLIC, Cast, Host, body_of, json_of, now

pytestmark = pytest.mark.django_db


def change(loaded: Cast, **changes: Any) -> None:
    set_policy(customer=loaded.acme.customer, changes=changes, actor=ACTOR, now=now())


def policy_of(loaded: Cast) -> dict[str, Any]:
    found: dict[str, Any] = json_of(Host(loaded.acme.key).get("/api/registry/plugins"))["policy"]
    return found


def test_without_one_the_strict_defaults_hold(loaded: Cast) -> None:
    assert policy_of(loaded) == {
        "version": 0,
        "plugin_verification": "strict",
        "allow_unsigned": False,
        "allowed_sources": [],
        "blocked_plugins": [],
        "auto_update": False,
        "version_pins": {},
        "signed": None,
    }


def test_a_policy_is_signed_under_the_authority(loaded: Cast) -> None:
    bootstrap(actor=system("tests"), now=now())
    change(loaded, blocked_plugins=["old-plugin"], auto_update=True)
    assert policy_of(loaded)["signed"] is None
    assert sign_due_policies(now=now()) == 1
    signed = policy_of(loaded)["signed"]
    certificate = x509.load_pem_x509_certificate(signed["certificate"].encode())
    checked = verify_certificate(
        certificate.public_bytes(Encoding.DER), authority=load_authority().public_key, purpose=Purpose.POLICY, at=now()
    )
    public_key = checked.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    text, signature = signed["text"].encode(), base64.b64decode(signed["signature"])
    members = read_typed(public_key, text, signature, expected_type=TYPE)
    assert (members["customer_id"], members["version"]) == ("cust_123", 1)
    assert members["plugins"]["blocked_plugins"] == ["old-plugin"]
    assert members["security"] == {"plugin_verification": "strict", "allow_unsigned": False}
    with pytest.raises(SignatureInvalid):
        read_typed(public_key, text.replace(b"old-plugin", b"new-plugin"), signature, expected_type=TYPE)


def test_signing_again_changes_nothing_and_a_change_is_signed_anew(loaded: Cast) -> None:
    bootstrap(actor=system("tests"), now=now())
    change(loaded, auto_update=True)
    assert sign_due_policies(now=now()) == 1
    assert sign_due_policies(now=now()) == 0
    first = SignedPolicy.objects.get()
    change(loaded, auto_update=True)
    assert sign_due_policies(now=now()) == 0
    change(loaded, auto_update=False)
    assert policy_of(loaded)["signed"]["version"] == 1
    assert sign_due_policies(now=now()) == 1
    assert SignedPolicy.objects.get().version == first.version + 1


def test_nothing_is_signed_with_a_lapsed_certificate_and_the_rest_all_the_same(
    loaded: Cast, store: ArtifactStore
) -> None:
    bootstrap(actor=system("tests"), now=now())
    Certificate.objects.filter(purpose=Purpose.POLICY.value).update(not_after=now() - timedelta(seconds=1))
    change(loaded, auto_update=True)
    with pytest.raises(CertificateLapsed):
        sign_due_policies(now=now())
    release = cast.draft(store, PUBLIC, "3.0.0")
    waiting = cast.add(store, release, b"\x7fELF of 3.0.0", signature=None, certificate=None)
    sign_due()
    assert not SignedPolicy.objects.exists()
    waiting.refresh_from_db()
    assert waiting.signature is not None


def test_a_removed_customers_policy_goes_with_it(loaded: Cast) -> None:
    from accounts.services.customers import remove_customer

    bootstrap(actor=system("tests"), now=now())
    change(loaded, auto_update=True)
    sign_due_policies(now=now())
    remove_customer(customer=loaded.acme.customer, actor=ACTOR)
    assert not SignedPolicy.objects.exists()


@pytest.mark.parametrize(
    ("changes", "is_refused"),
    [
        ({"blocked_plugins": [PUBLIC]}, True),
        ({"blocked_plugins": ["another"]}, False),
        ({"version_pins": {PUBLIC: "2.0"}}, True),
        ({"version_pins": {PUBLIC: "2.1"}}, False),
        ({"version_pins": {PUBLIC: "2"}}, False),
        ({"version_pins": {PUBLIC: "2.1.0"}}, False),
        ({"version_pins": {PUBLIC: "2.1.1"}}, True),
        ({"allowed_sources": ["https://elsewhere.example"]}, True),
        ({"allowed_sources": ["https://elsewhere.example", "http://testserver"]}, False),
        ({"allowed_sources": ["http://testserver/"]}, False),
        ({"allowed_sources": ["http://testserver/other"]}, True),
        ({"allowed_sources": ["http://testserver.evil.example"]}, True),
        ({"plugin_verification": "warn"}, False),
    ],
)
def test_a_violation_is_refused_and_told(
    store: ArtifactStore, loaded: Cast, changes: dict[str, Any], is_refused: bool
) -> None:
    cast.publish(store, PUBLIC, "2.1.0")
    host = Host(loaded.acme.key)
    url = host.url(PUBLIC, "2.1.0")
    change(loaded, **changes)
    asked, fetched = host.ask(PUBLIC, "2.1.0"), host.fetch(url)
    if not is_refused:
        assert (asked.status_code, fetched.status_code) == (200, 200)
        assert body_of(fetched) == cast.content_of(PUBLIC, "2.1.0")
        return
    for response in (asked, fetched):
        assert (response.status_code, response.headers["X-Allowlist-Violation"]) == (403, "1")
        assert json_of(response)["code"] == "ALLOWLIST_VIOLATION"
    events = OutboxEvent.objects.filter(name="plugin.denied")
    assert [event.payload["reason"] for event in events] == ["allowlist", "allowlist"]


@pytest.mark.parametrize(
    ("changes", "is_refused"),
    [
        ({}, True),
        ({"allow_unsigned": True}, False),
        ({"plugin_verification": "warn"}, False),
        ({"plugin_verification": "off"}, False),
    ],
)
def test_unsigned_files_are_for_those_who_allow_them(
    store: ArtifactStore, loaded: Cast, changes: dict[str, Any], is_refused: bool
) -> None:
    artifact = cast.publish(store, PUBLIC, "2.1.0")
    Artifact.objects.filter(pk=artifact.pk).update(signature=None, certificate=None)
    change(loaded, **changes)
    response = Host(loaded.acme.key).ask(PUBLIC, "2.1.0")
    assert response.status_code == (403 if is_refused else 200)
    if not is_refused:
        assert json_of(response)["signature"] is None


def test_pins_and_blocks_shape_what_is_offered(store: ArtifactStore, loaded: Cast) -> None:
    for version in ("1.9.0", "2.0.0", "2.0.3", "2.1.0"):
        cast.publish(store, PUBLIC, version)
    host = Host(loaded.acme.key)
    change(loaded, version_pins={PUBLIC: "2.0"})
    assert json_of(host.get(f"/api/registry/plugins/{PUBLIC}"))["latest_version"] == "2.0.3"
    change(loaded, blocked_plugins=[PUBLIC])
    assert json_of(host.get("/api/registry/plugins"))["plugins"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"plugin_verification": "lax"},
        {"allow_unsigned": "yes"},
        {"allowed_sources": ["not a url"]},
        {"allowed_sources": ["https://user:password@x.example"]},
        {"allowed_sources": ["javascript:alert(1)"]},
        {"blocked_plugins": ["../x"]},
        {"version_pins": {PUBLIC: "latest"}},
        {"version_pins": {PUBLIC: "01"}},
        {"version_pins": {PUBLIC: "2.1\n"}},
        {"version_pins": {PUBLIC: "2.1.0\n"}},
        {"version_pins": {PUBLIC: "v2.1.0"}},
        {"version_pins": {f"{PUBLIC}\n": "2.1"}},
        {"blocked_plugins": [f"{PUBLIC}\n"]},
        {"allowed_sources": ["https://x.example\n"]},
        {"allowed_sources": ["https://x.ex\tample"]},
        {"blocked_plugins": [f"p{number}" for number in range(501)]},
        {"version": 7},
    ],
)
def test_what_cannot_be_a_policy_is_refused(loaded: Cast, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        change(loaded, **changes)


@pytest.mark.parametrize(
    ("pin", "version", "matches"),
    [
        ("2", "2.9.9", True),
        ("2", "20.0.0", False),
        ("2.1", "2.1.5", True),
        ("2.1", "2.10.0", False),
        ("2.1.0", "2.1.0", True),
        ("2.1.0-rc.1", "2.1.0-rc.1", True),
        ("2.1.0-rc.1", "2.1.0", False),
        ("2.1", "not a version", False),
    ],
)
def test_what_a_pin_means(pin: str, version: str, matches: bool) -> None:
    assert is_pinned(pin, version) is matches
