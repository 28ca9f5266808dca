"""What anyone may know: cacheable, and enough to verify everything with."""

import json
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from licensing.core.clock import from_epoch
from licensing.crypto.keyset import KeyPurpose, verify_key_set
from licensing.models import Certificate, SignedKeySet, SigningKey
from licensing.services.key_lifecycle import rotate
from tests.licensing.api.driver import answer
from tests.licensing.cast import ACTOR, T0, Cast, without_secret

pytestmark = [pytest.mark.django_db]

PATHS = [
    "/.well-known/jwks.json",
    "/.well-known/keywright",
    "/.well-known/keywright-keys",
    "/.well-known/keywright-authority",
]


@pytest.mark.parametrize("path", PATHS)
def test_public_documents_may_be_cached(client: Client, cast: Cast, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response["Cache-Control"] == "public, max-age=300"
    assert response["X-Request-ID"].startswith("req_")
    assert client.head(path)["Content-Type"] == response["Content-Type"]
    assert client.head(path).content == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", [*PATHS, "/livez", "/readyz"])
def test_other_methods_are_not_allowed(client: Client, path: str, method: str) -> None:
    response = client.generic(method, path)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
    assert answer(response)["code"] == "METHOD_NOT_ALLOWED"
    assert response["Cache-Control"] == "no-store"


def test_the_jwks_has_the_token_keys_alone(client: Client, cast: Cast) -> None:
    active = SigningKey.objects.get(purpose="token")
    pending = rotate(purpose="token", emergency=False, actor=ACTOR, now=from_epoch(T0))
    response = client.get("/.well-known/jwks.json")
    assert response["Content-Type"] == "application/jwk-set+json"
    keys = json.loads(response.content)["keys"]
    assert {key["kid"] for key in keys} == {active.kid, pending.kid}
    assert all(key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"} for key in keys)
    SigningKey.objects.filter(pk=active.kid).update(state="retired")
    keys = json.loads(client.get("/.well-known/jwks.json").content)["keys"]
    assert [key["kid"] for key in keys] == [pending.kid]


def test_discovery_names_the_issuer_and_where_things_are(client: Client) -> None:
    body = json.loads(client.get("/.well-known/keywright").content)
    assert body["issuer"] == "http://testserver"
    assert body["jwks_uri"] == "http://testserver/.well-known/jwks.json"
    assert body["key_set_uri"] == "http://testserver/.well-known/keywright-keys"
    assert body["authenticate_endpoint"] == "http://testserver/api/plugins/authenticate"
    assert (body["refresh_interval_seconds"], body["token_lifetime_seconds"]) == (300, 900)
    assert all(
        value.startswith("http://testserver/") for name, value in body.items() if name.endswith(("uri", "point"))
    )


def test_the_key_set_verifies_under_the_pinned_authority_alone(client: Client, cast: Cast) -> None:
    response = client.get("/.well-known/keywright-keys")
    assert response["Content-Type"] == "application/jose"
    der = client.get("/.well-known/keywright-authority").content
    authority = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(authority, ec.EllipticCurvePublicKey)
    verified = verify_key_set(
        response.content.decode(), authority=authority, issuer="http://testserver", now=T0, newest_version_seen=1
    )
    assert verified.version == 1
    assert {key.purpose for key in verified.keys} == {KeyPurpose.TOKEN, KeyPurpose.LEASE}
    assert verified.expires_at == T0 + 7 * 86400


@pytest.mark.parametrize(
    ("path", "remove"),
    [
        ("/.well-known/keywright-keys", lambda: SignedKeySet.objects.all().delete()),
        ("/.well-known/keywright-authority", lambda: Certificate.objects.all().delete()),
    ],
)
def test_what_is_not_there_yet_is_503(client: Client, cast: Cast, path: str, remove: Callable[[], object]) -> None:
    remove()
    response = client.get(path)
    assert (response.status_code, response["Cache-Control"]) == (503, "no-store")
    assert int(response["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/api/nothing", "/api/plugins/nothing", "/.well-known/nothing"])
def test_no_such_path(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"
    assert answer(response)["code"] == "NOT_FOUND"
    assert (answer(response).get("success") is False) == path.startswith("/api/plugins/")


def test_alive_means_alive_and_asks_nobody(client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        response = client.get("/livez")
    assert (response.status_code, answer(response)) == (200, {"status": "ok"})


class TestReady:
    """`/readyz` names what is not ready, and nothing more."""

    def test_all_is_well(self, client: Client, cast: Cast) -> None:
        response = client.get("/readyz")
        assert (response.status_code, answer(response)) == (200, {"status": "ok", "not_ready": []})

    def test_no_signing_keys(self, client: Client, cast: Cast) -> None:
        SigningKey.objects.all().delete()
        response = client.get("/readyz")
        assert (response.status_code, answer(response)) == (
            503,
            {"status": "not_ready", "not_ready": ["signing_keys"]},
        )

    def test_valkey_away_is_told_and_tolerated(self, client: Client, cast: Cast, dead_valkey: None) -> None:
        response = client.get("/readyz")
        assert (response.status_code, answer(response)) == (200, {"status": "ok", "not_ready": ["valkey"]})

    @pytest.mark.parametrize("missing", ["API_KEY_PEPPERS", "auth", "tokens", "builds"])
    def test_a_secret_is_missing(self, client: Client, cast: Cast, settings: Settings, missing: str) -> None:
        without_secret(settings, missing)
        response = client.get("/readyz")
        assert response.status_code == 503
        assert "secrets" in answer(response)["not_ready"]
        assert missing not in response.content.decode()
