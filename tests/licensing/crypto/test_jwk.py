"""P-256 keys: storage, JWK and thumbprint."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from joserfc.jwk import ECKey

from licensing.crypto import base64url, jwk

# RFC 7515, appendix A.3.1.
RFC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}


def test_a_private_key_survives_storage() -> None:
    key = jwk.generate_private_key()
    der = jwk.private_to_der(key)
    assert jwk.private_from_der(der).private_numbers() == key.private_numbers()
    assert jwk.public_from_der(jwk.public_to_der(key.public_key())) == key.public_key()


def test_the_published_key_of_the_standard() -> None:
    assert jwk.public_jwk(jwk.public_from_jwk(RFC_KEY)) == RFC_KEY


def test_the_thumbprint_is_what_others_compute() -> None:
    for _ in range(20):
        public_key = jwk.generate_private_key().public_key()
        listed = jwk.verification_jwk(public_key)
        assert listed["kid"] == ECKey.import_key({**jwk.public_jwk(public_key)}).thumbprint()
        assert (listed["alg"], listed["use"]) == ("ES256", "sig")
    members = {"crv": "P-256", "kty": "EC", "x": RFC_KEY["x"], "y": RFC_KEY["y"]}
    text = json.dumps(members, separators=(",", ":"))
    expected = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    assert jwk.thumbprint(jwk.public_from_jwk(RFC_KEY)) == expected


def test_short_coordinates_are_padded() -> None:
    # 2^-8 of all points have one; the generator multiplied until it shows keeps the test exact.
    for scalar in range(1, 5000):
        public_key = ec.derive_private_key(scalar, ec.SECP256R1()).public_key()
        if public_key.public_numbers().x < 2**248:
            listed = jwk.public_jwk(public_key)
            assert len(listed["x"]) == 43
            assert jwk.public_from_jwk(listed) == public_key
            with pytest.raises(jwk.KeyInvalid, match="32 bytes"):
                jwk.public_from_jwk({**listed, "x": base64url.encode(base64url.decode(listed["x"])[1:])})
            return
    raise AssertionError("no short coordinate found")


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "RSA"},
        {"crv": "P-384"},
        {"crv": None},
        {"x": None},
        {"x": 5},
        {"x": ""},
        {"x": RFC_KEY["x"] + "="},
        {"x": RFC_KEY["x"][:-1]},
        {"x": RFC_KEY["x"][:-1] + "V"},
        {"x": "A" + RFC_KEY["x"]},
        {"x": base64url.encode(b"\0" + base64url.decode(RFC_KEY["x"]))},
        {"x": RFC_KEY["y"]},
        {"y": base64url.encode(b"\xff" * 32)},
    ],
)
def test_a_jwk_that_is_not_a_point(change: dict[str, object]) -> None:
    with pytest.raises(jwk.KeyInvalid):
        jwk.public_from_jwk({**RFC_KEY, **change})


def test_other_kinds_of_keys_are_refused() -> None:
    p384 = ec.generate_private_key(ec.SECP384R1())
    ed = ed25519.Ed25519PrivateKey.generate()
    for der in (jwk.private_to_der(p384), jwk.private_to_der(ed), b"", b"junk"):
        with pytest.raises(jwk.KeyInvalid):
            jwk.private_from_der(der)
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for der in (p384.public_key().public_bytes(*spki), ed.public_key().public_bytes(*spki), b"junk"):
        with pytest.raises(jwk.KeyInvalid):
            jwk.public_from_der(der)
    with pytest.raises(jwk.KeyInvalid):
        jwk.thumbprint(p384.public_key())


def test_an_error_does_not_repeat_a_private_key() -> None:
    der = jwk.private_to_der(ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(jwk.KeyInvalid) as caught:
        jwk.private_from_der(der[:-1])
    assert json.dumps(str(caught.value)) == '"not a PKCS#8 private key"'


@pytest.mark.parametrize("text", ["=", "YQ==", "YR", "Y", "Y Q", "YQ\n", "Y+", "Y/", "é", "\ud800"])
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        base64url.decode(text)


def test_base64url_round_trip() -> None:
    for raw in (b"", b"a", b"ab", b"abc", bytes(range(256))):
        assert base64url.decode(base64url.encode(raw)) == raw
