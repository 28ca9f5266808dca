"""Sealing keys and peppers: old ones still open what they sealed; a missing one is a 503, never something weaker."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from pytest_django import Settings

from accounts.models import ApiKey
from licensing.crypto.sealing import KeyRing, new_versioned_key
from licensing.models import BuildCredential, SigningKey
from licensing.services import proofs, signing_keys
from tests.licensing.api.driver import PluginApi, answer, asked, code_of, proof_headers, signed
from tests.licensing.cast import T0, Build, Cast, make_build, make_key, without_secret

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock", "empty_valkey")]


@pytest.fixture(autouse=True)
def nothing_opened_yet() -> Iterator[None]:
    """A process that has just started: no key or build secret is in its memory."""
    _forget_opened()
    yield
    _forget_opened()


def _forget_opened() -> None:
    signing_keys._unsealed.cache_clear()
    proofs.build_secret.cache_clear()


def with_keys(settings: Settings, purpose: str, text: str) -> None:
    settings.KEY_ENCRYPTION_KEYS = {**settings.KEY_ENCRYPTION_KEYS, purpose: text}


def rotated(settings: Settings, purpose: str) -> str:
    """The configured keys of a purpose with a new one before them."""
    return f"{new_versioned_key(2)},{settings.KEY_ENCRYPTION_KEYS[purpose]}"


def with_proof(api: PluginApi, cast: Cast, build: Build, *, nonce: str) -> HttpResponse:
    body = asked(cast.acme, **signed(cast.acme, plugin_signature=build.signature.hex()))
    key = cast.acme.key
    headers = proof_headers(build, "authenticate", body, credential=key, now=T0, nonce=nonce)
    return api.post("authenticate", body, credential=key, headers=headers)


def assert_unavailable(response: HttpResponse) -> None:
    """503, and nothing about what is missing."""
    assert (response.status_code, code_of(response)) == (503, "SERVICE_UNAVAILABLE")
    assert response["Content-Type"] == "application/problem+json"
    assert int(response["Retry-After"]) > 0
    told = response.content.decode()
    assert not any(word in told for word in ("KEK", "PEPPER", "pepper", "sealed", "version", "bld_"))


class TestRotatedSealingKeys:
    @pytest.mark.parametrize("purpose", ["auth", "tokens", "builds"])
    def test_what_the_old_key_sealed_still_opens(
        self, api: PluginApi, cast: Cast, settings: Settings, purpose: str
    ) -> None:
        with_keys(settings, purpose, rotated(settings, purpose))
        response = with_proof(api, cast, cast.acme.build, nonce="0123456789abcdef")
        assert response.status_code == 200
        assert code_of(api.validate(answer(response)["token"], plugin="api-logger")) == "VALID"

    def test_what_is_new_is_sealed_by_the_new_key(self, api: PluginApi, cast: Cast, settings: Settings) -> None:
        for purpose in ("auth", "builds"):
            with_keys(settings, purpose, rotated(settings, purpose))
        build = make_build(cast.acme.customer)
        issued = make_key(cast.acme.customer)
        sealed = BuildCredential.objects.get(pk=build.id).sealed_secret, issued.api_key.sealed_root
        assert [KeyRing.version_of(bytes(each)) for each in sealed] == [2, 2]
        assert with_proof(api, cast, build, nonce="0123456789abcdef").status_code == 200


class TestMissingSealingKeys:
    @pytest.fixture(params=["missing", "another version", "another key of the version", "unreadable"])
    def spoiled(self, request: pytest.FixtureRequest) -> str:
        """What this process has instead of the key that sealed what it must open."""
        texts = {
            "missing": "",
            "another version": new_versioned_key(2),
            "another key of the version": new_versioned_key(1),
            "unreadable": "not-a-key",
        }
        return texts[str(request.param)]

    def test_of_signing_keys(self, api: PluginApi, cast: Cast, settings: Settings, spoiled: str) -> None:
        token = api.token(cast.acme)
        _forget_opened()
        with_keys(settings, "tokens", spoiled)
        assert_unavailable(api.authenticate(cast.acme))
        assert_unavailable(api.refresh(token))
        # What needs no private key is answered all the same.
        assert code_of(api.validate(token)) == "VALID"

    def test_of_build_secrets(self, api: PluginApi, cast: Cast, settings: Settings, spoiled: str) -> None:
        with_keys(settings, "builds", spoiled)
        assert_unavailable(with_proof(api, cast, cast.acme.build, nonce="0123456789abcdef"))
        assert api.authenticate(cast.acme, **signed(cast.acme)).status_code == 200

    def test_a_failure_is_not_remembered(self, api: PluginApi, cast: Cast, settings: Settings) -> None:
        good = settings.KEY_ENCRYPTION_KEYS
        with_keys(settings, "builds", "")
        assert_unavailable(with_proof(api, cast, cast.acme.build, nonce="0123456789abcdef"))
        settings.KEY_ENCRYPTION_KEYS = good
        assert with_proof(api, cast, cast.acme.build, nonce="0123456789abcdef").status_code == 200

    def test_a_sealed_value_of_another_row_does_not_open(self, api: PluginApi, cast: Cast) -> None:
        theirs = BuildCredential.objects.get(pk=cast.globex.build.id).sealed_secret
        BuildCredential.objects.filter(pk=cast.acme.build.id).update(sealed_secret=theirs)
        assert_unavailable(with_proof(api, cast, cast.acme.build, nonce="0123456789abcdef"))

    def test_a_signing_key_whose_bytes_were_changed_signs_nothing(self, api: PluginApi, cast: Cast) -> None:
        row = SigningKey.objects.get(purpose="token")
        sealed = bytearray(bytes(row.sealed_private_key))
        sealed[-1] ^= 1
        SigningKey.objects.filter(pk=row.pk).update(sealed_private_key=bytes(sealed))
        assert_unavailable(api.authenticate(cast.acme))


class TestPeppers:
    def test_keys_of_an_old_pepper_are_found(self, api: PluginApi, cast: Cast, settings: Settings) -> None:
        settings.API_KEY_PEPPERS = f"{new_versioned_key(2)},{settings.API_KEY_PEPPERS}"
        issued = make_key(cast.acme.customer)
        assert issued.api_key.pepper_version == 2
        assert ApiKey.objects.get(pk=cast.acme.api_key.pk).pepper_version == 1
        for key in (cast.acme.key, issued.key):
            assert api.authenticate(cast.acme, key=key).status_code == 200

    @pytest.mark.parametrize("text", ["", "not-a-key", "1:AAAA", "0:" + "A" * 43 + "="])
    def test_without_a_pepper_no_key_is_good_or_bad(
        self, api: PluginApi, cast: Cast, settings: Settings, text: str
    ) -> None:
        token = api.token(cast.acme)
        settings.API_KEY_PEPPERS = text
        assert_unavailable(api.authenticate(cast.acme))
        assert code_of(api.validate(token)) == "VALID"

    def test_a_key_of_the_wrong_form_needs_no_pepper(self, api: PluginApi, cast: Cast, settings: Any) -> None:
        without_secret(settings, "API_KEY_PEPPERS")
        assert code_of(api.authenticate(cast.acme, key="nonsense")) == "API_KEY_INVALID"

    def test_while_stored_keys_have_a_pepper_that_is_not_here_no_key_is_unknown(
        self, api: PluginApi, cast: Cast, settings: Settings
    ) -> None:
        """The key may be one of those: a no would be a guess, and would cost its plugins their leases."""
        settings.API_KEY_PEPPERS = new_versioned_key(2)
        assert_unavailable(api.authenticate(cast.acme))
        issued = make_key(cast.acme.customer)
        assert api.authenticate(cast.acme, key=issued.key).status_code == 200
