"""Signed forms: exactly the header that kits accept, and envelopes that our own reader opens."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from build_farm.signing import sign_envelope, sign_jws
from licensing.crypto import base64url, signatures
from licensing.crypto.authority import PluginAuthority, Purpose, certificate_to_der, generate_purpose_key
from licensing.crypto.signatures import SignatureInvalid, raw_to_der, verify_envelope, verify_text

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class OneKey:
    """A signer with one EC key for every text."""

    def __init__(self) -> None:
        authority = PluginAuthority.create(now=NOW - timedelta(days=1))
        key = generate_purpose_key(Purpose.KEYSLOTS)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.key, self._root = key, authority.certificate_der
        certificate = authority.issue(
            Purpose.KEYSLOTS, key.public_key(), not_before=NOW, not_after=NOW + timedelta(days=30)
        )
        self._der = certificate_to_der(certificate)

    def sign_binary(self, digest: bytes) -> bytes:
        raise NotImplementedError

    def sign_text(self, purpose: Purpose, text: bytes) -> bytes:
        return signatures.sign_text(self.key, text)

    def certificate(self, purpose: Purpose) -> bytes:
        return self._der

    def authority(self) -> bytes:
        return self._root


def test_a_jws_has_exactly_our_header_and_a_raw_signature() -> None:
    signer = OneKey()
    for _ in range(20):  # r and s are sometimes short
        header, payload, signature = sign_jws(signer, Purpose.KEYSLOTS, {"_type": "x"}, typ="keyslots+jws").split(".")
        encoded = base64.b64encode(signer.certificate(Purpose.KEYSLOTS)).decode()
        expected = f'{{"alg":"ES256","typ":"keyslots+jws","x5c":["{encoded}"]}}'
        assert base64url.decode(header).decode() == expected
        raw = base64url.decode(signature)
        assert len(raw) == 64
        verify_text(signer.key.public_key(), f"{header}.{payload}".encode(), raw_to_der(raw))


def test_an_envelope_opens_for_its_key_and_its_type_alone() -> None:
    signer, other = OneKey(), OneKey()
    envelope = sign_envelope(signer, Purpose.PROVENANCE, b"{}", payload_type="a/b")
    assert verify_envelope(envelope, signer.key.public_key(), payload_type="a/b") == b"{}"
    assert len(json.loads(envelope)["signatures"]) == 1
    with pytest.raises(SignatureInvalid):
        verify_envelope(envelope, signer.key.public_key(), payload_type="a/c")
    with pytest.raises(SignatureInvalid):
        verify_envelope(envelope, other.key.public_key(), payload_type="a/b")
