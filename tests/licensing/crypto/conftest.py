"""Fixtures of the crypto tests: keys made once, and the frozen vectors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from licensing.crypto import jwk
from licensing.crypto.authority import Purpose, generate_purpose_key
from licensing.crypto.claims import LeaseClaims, PluginClaims
from licensing.crypto.tokens import SigningKey

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
NOW = 1_704_067_200


@pytest.fixture(scope="session")
def vector() -> Callable[[str], dict[str, Any]]:
    def load(name: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((VECTORS / name).read_text("utf-8"))
        return loaded

    return load


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return SigningKey.from_private_key(jwk.generate_private_key())


@pytest.fixture(scope="session")
def other_key() -> SigningKey:
    return SigningKey.from_private_key(jwk.generate_private_key())


@pytest.fixture(scope="session")
def public_keys(signing_key: SigningKey) -> dict[str, ec.EllipticCurvePublicKey]:
    return {signing_key.kid: signing_key.private_key.public_key()}


@pytest.fixture(scope="session")
def binary_key() -> rsa.RSAPrivateKey:
    key = generate_purpose_key(Purpose.BINARY)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def common_claims() -> dict[str, Any]:
    return {
        "iss": "https://licensing.example.com",
        "aud": "api-logger",
        "sub": "ins_1",
        "client_id": "cust_123",
        "customer_id": "cust_123",
        "ver": "2.1.0",
        "bld": None,
        "key": "key_1",
        "mode": "live",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 900,
        "jti": "tok_1",
    }


@pytest.fixture
def plugin_claims() -> PluginClaims:
    return PluginClaims(
        **common_claims(),
        auth_time=NOW,
        subscription_tier="Pro",
        authorized_features=("console_logging", "api_logging"),
        plugin_permissions={"api-logger": {"allowed": True, "rate_limit": 1000, "quota": None}},
        nonce=None,
        gen=(0, 1, 2),
    )


@pytest.fixture
def lease_claims() -> LeaseClaims:
    return LeaseClaims(
        **{**common_claims(), "aud": "lease"},
        plugin="api-logger",
        features={"api_logging": NOW + 600},
        offline_until=NOW + 900,
    )
