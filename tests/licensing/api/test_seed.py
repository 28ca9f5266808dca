"""The requests of the seed (plugin-authentication.md), as written there, and what they promise.

The demo has the seed's names; only its placeholders (`km_live_customer_api_key`, `sig_abc123...`) are real values here.
"""

import base64
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet
from pytest_django import DjangoDbBlocker

from licensing.crypto.keys import generate_key
from licensing.demo import DemoCustomerSecrets, DemoSecrets, load_demo
from licensing.services.key_lifecycle import bootstrap
from tests.licensing.api.driver import claims
from tests.licensing.cast import ACTOR, T0, empty_tables
from tests.licensing.conftest import Clock

pytestmark = [pytest.mark.django_db]

SEED_CLAIMS = ("customer_id", "subscription_tier", "authorized_features", "plugin_permissions", "exp", "iat")


@dataclass(frozen=True)
class Demo:
    """The demo's secrets."""

    secrets: DemoSecrets

    def of(self, customer_id: str) -> DemoCustomerSecrets:
        """One customer's."""
        return self.secrets.customers[customer_id]


@pytest.fixture(scope="module")
def demo(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Demo]:
    made = DemoSecrets(
        operator_password=secrets.token_urlsafe(),
        operator_key=generate_key("kmop"),
        customers={
            customer_id: DemoCustomerSecrets(
                api_key=generate_key("km_live"),
                build_secret=secrets.token_bytes(32),
                admin_password=secrets.token_urlsafe(),
            )
            for customer_id in ("cust_123", "enterprise_456")
        },
    )
    with django_db_blocker.unblock():
        load_demo(secrets=made, now=datetime.fromtimestamp(T0, UTC))
        bootstrap(actor=ACTOR, now=datetime.fromtimestamp(T0, UTC))
    yield Demo(made)
    with django_db_blocker.unblock():
        empty_tables()


def _post(client: Client, path: str, credential: str, body: dict[str, Any] | None) -> dict[str, Any]:
    raw = b"" if body is None else json.dumps(body, indent=2).encode()
    response = client.generic(
        "POST", path, raw, content_type="application/json", headers={"Authorization": f"Bearer {credential}"}
    )
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "application/json"
    answered: dict[str, Any] = json.loads(response.content)
    return answered


def _authenticate(client: Client, demo: Demo, customer_id: str = "cust_123") -> dict[str, Any]:
    """The seed's authentication request."""
    return _post(
        client,
        "/api/plugins/authenticate",
        demo.of(customer_id).api_key,
        {
            "plugin_name": "api-logger",
            "plugin_version": "2.1.0",
            "plugin_signature": demo.of(customer_id).signature.hex(),
            "customer_id": customer_id,
        },
    )


def _validate(client: Client, token: str) -> dict[str, Any]:
    """The seed's validation request."""
    return _post(client, "/api/plugins/validate", token, {"plugin_name": "api-logger", "plugin_token": token})


def _instant(text: str) -> float:
    assert text.endswith("Z")
    return datetime.fromisoformat(text).timestamp()


def test_authenticate_gives_the_seeds_members_and_the_designs(client: Client, demo: Demo, clock: Clock) -> None:
    body = _authenticate(client, demo)
    assert body.keys() == {
        "success",
        "token",
        "token_type",
        "expires_at",
        "next_refresh",
        "customer_id",
        "subscription_tier",
        "authorized_features",
        "plugin_permissions",
        "rate_limits",
        "installation_id",
        "grace_until",
        "offline_lease",
        "private_registry",
    }
    assert body["success"] is True
    assert body["token_type"] == "Bearer"
    assert _instant(body["expires_at"]) == T0 + 900
    assert body["customer_id"] == "cust_123"
    assert body["subscription_tier"] == "Pro"
    assert body["authorized_features"] == ["console_logging", "api_logging", "batch_processing"]
    assert body["plugin_permissions"] == {"api-logger": {"allowed": True, "rate_limit": 1000, "quota": 1_000_000}}
    assert body["rate_limits"] == {"requests_per_minute": 1000, "events_per_day": 1_000_000}
    assert body["grace_until"] is None
    assert body["private_registry"] == {"enabled": False, "url": None, "allowed_plugins": []}


def test_the_refresh_is_due_in_about_five_minutes_and_never_in_step(client: Client, demo: Demo, clock: Clock) -> None:
    ahead = [_instant(_authenticate(client, demo)["next_refresh"]) - T0 for _ in range(20)]
    token = _authenticate(client, demo)["token"]
    ahead += [_instant(_validate(client, token)["next_refresh"]) - T0 for _ in range(20)]
    assert all(270 <= seconds <= 330 for seconds in ahead)
    assert len(set(ahead)) > 10


def test_validate_says_what_the_seed_says(client: Client, demo: Demo, clock: Clock) -> None:
    body = _validate(client, _authenticate(client, demo)["token"])
    assert 270 <= _instant(body.pop("next_refresh")) - T0 <= 330
    assert body == {
        "valid": True,
        "code": "VALID",
        "detail": "",
        "customer_id": "cust_123",
        "subscription_active": True,
        "features_active": True,
        "authorized_features": ["console_logging", "api_logging", "batch_processing"],
    }


def test_refresh_gives_a_new_token_of_the_same_installation(client: Client, demo: Demo, clock: Clock) -> None:
    first = _authenticate(client, demo)
    clock.now = T0 + 290
    second = _post(client, "/api/plugins/refresh", first["token"], None)
    assert second.keys() == first.keys()
    assert second["installation_id"] == first["installation_id"]
    before, after = claims(first["token"]), claims(second["token"])
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"iat", "nbf", "exp", "jti"}
    assert (after["auth_time"], after["iat"], after["exp"]) == (T0, T0 + 290, T0 + 290 + 900)
    assert _validate(client, second["token"])["code"] == "VALID"
    assert _validate(client, first["token"])["code"] == "VALID"


def test_refresh_echoes_its_own_nonce(client: Client, demo: Demo, clock: Clock) -> None:
    token = _authenticate(client, demo)["token"]
    assert claims(token)["nonce"] is None
    body = _post(client, "/api/plugins/refresh", token, {"nonce": "0123456789abcdef"})
    assert claims(body["token"])["nonce"] == "0123456789abcdef"


def test_the_token_verifies_with_nothing_but_the_jwks_in_another_implementation(
    client: Client, demo: Demo, clock: Clock
) -> None:
    body = _authenticate(client, demo)
    key_set = KeySet.import_key_set(json.loads(client.get("/.well-known/jwks.json").content))
    token = jwt.decode(body["token"], key_set, algorithms=["ES256"])
    assert token.header == {"alg": "ES256", "kid": token.header["kid"], "typ": "at+jwt"}
    jwt.JWTClaimsRegistry(
        now=lambda: T0,
        iss={"essential": True, "value": "http://testserver"},
        aud={"essential": True, "value": "api-logger"},
        exp={"essential": True},
        sub={"essential": True, "value": body["installation_id"]},
    ).validate(token.claims)
    assert token.claims == {
        "iss": "http://testserver",
        "aud": "api-logger",
        "sub": body["installation_id"],
        "client_id": "cust_123",
        "customer_id": "cust_123",
        "subscription_tier": "Pro",
        "authorized_features": body["authorized_features"],
        "plugin_permissions": body["plugin_permissions"],
        "ver": "2.1.0",
        "bld": token.claims["bld"],
        "key": token.claims["key"],
        "mode": "live",
        "iat": T0,
        "nbf": T0,
        "exp": T0 + 900,
        "auth_time": T0,
        "jti": token.claims["jti"],
        "nonce": None,
        "gen": [0, 0, 0],
    }
    assert set(SEED_CLAIMS) <= token.claims.keys()
    with pytest.raises(BadSignatureError):
        jwt.decode(body["token"][:-4] + "AAAA", key_set, algorithms=["ES256"])


def test_the_lease_does_not_verify_with_the_jwks(client: Client, demo: Demo, clock: Clock) -> None:
    lease = _authenticate(client, demo)["offline_lease"]
    key_set = KeySet.import_key_set(json.loads(client.get("/.well-known/jwks.json").content))
    listed = {key.kid for key in key_set.keys}
    assert jws.extract_compact(lease.encode()).headers()["kid"] not in listed
    said = claims(lease)
    assert said["aud"] == "lease"
    assert said["exp"] == said["offline_until"] == T0 + 72 * 3600
    assert said["features"] == dict.fromkeys(["console_logging", "api_logging", "batch_processing"], T0 + 72 * 3600)


def test_the_enterprise_customers_private_registry(client: Client, demo: Demo, clock: Clock) -> None:
    body = _authenticate(client, demo, "enterprise_456")
    assert body["subscription_tier"] == "Enterprise"
    assert body["private_registry"] == {
        "enabled": True,
        "url": "http://testserver/private/enterprise_456",
        "allowed_plugins": ["custom-compliance-reporter"],
    }


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("header", ["Authorization", "authorization", "X-API-Key", "x-api-key"])
def test_the_key_in_either_header_and_the_path_in_either_form(
    client: Client, demo: Demo, clock: Clock, header: str, slash: str
) -> None:
    key = demo.of("cust_123").api_key
    response = client.generic(
        "POST",
        f"/api/plugins/authenticate{slash}",
        json.dumps({"plugin_name": "console-logger", "plugin_version": "2.1.0", "customer_id": "cust_123"}).encode(),
        content_type="application/json; charset=UTF-8",
        headers={header: f"Bearer {key}" if header.lower() == "authorization" else key},
    )
    assert response.status_code == 200


def test_metadata_of_the_seeds_go_client(client: Client, demo: Demo, clock: Clock) -> None:
    key = demo.of("cust_123").api_key
    asked = {"plugin_name": "console-logger", "plugin_version": "2.1.0", "customer_id": "cust_123"}
    metadata = {"customer_id": "cust_123", "required_tier": "Pro", "anything": "else"}
    assert _post(client, "/api/plugins/authenticate", key, asked | {"metadata": metadata})["success"] is True
    for name, value, code in (
        ("customer_id", "enterprise_456", "CUSTOMER_MISMATCH"),
        ("required_tier", "Enterprise", "TIER_TOO_LOW"),
        ("required_tier", "Platinum", "TIER_TOO_LOW"),
    ):
        response = client.post(
            "/api/plugins/authenticate",
            asked | {"metadata": metadata | {name: value}},
            content_type="application/json",
            headers={"Authorization": f"Bearer {key}"},
        )
        assert (response.status_code, json.loads(response.content)["code"]) == (403, code)


@pytest.mark.parametrize("encode", ["hex", "HEX", "base64", "base64url"])
def test_the_signature_in_hex_or_base64(client: Client, demo: Demo, clock: Clock, encode: str) -> None:
    raw = demo.of("cust_123").signature
    text = {
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "base64": base64.b64encode(raw).decode(),
        "base64url": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(),
    }[encode]
    body = _post(
        client,
        "/api/plugins/authenticate",
        demo.of("cust_123").api_key,
        {
            "plugin_name": "api-logger",
            "plugin_version": "2.1.0",
            "plugin_signature": text,
            "customer_id": "cust_123",
        },
    )
    assert claims(body["token"])["bld"].startswith("bld_")
