"""EC P-256 keys: made, stored, and their public half shown as a JWK (RFC 7517, RFC 7518 §6.2)."""

import hashlib
import json
from collections.abc import Mapping

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from licensing.crypto import base64url

COORDINATE_BYTES = 32


class KeyInvalid(ValueError):
    """Bytes or members that are no P-256 key. The text never repeats them."""


def generate_private_key() -> ec.EllipticCurvePrivateKey:
    """A new random P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def private_to_der(private_key: PrivateKeyTypes) -> bytes:
    """PKCS#8 DER, unencrypted: only ever to be sealed. Takes RSA keys too, for the binary signer."""
    return private_key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def private_from_der(der: bytes) -> ec.EllipticCurvePrivateKey:
    """Load a P-256 private key from PKCS#8 DER. Raises `KeyInvalid`."""
    try:
        key = serialization.load_der_private_key(der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyInvalid("not a PKCS#8 private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyInvalid("not a P-256 private key")
    return key


def public_to_der(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """SubjectPublicKeyInfo DER: what a kit pins."""
    return public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_from_der(der: bytes) -> ec.EllipticCurvePublicKey:
    """Load a P-256 public key from SubjectPublicKeyInfo DER. Raises `KeyInvalid`."""
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyInvalid("not a public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise KeyInvalid("not a P-256 public key")
    return require_p256(key)


def require_p256(public_key: ec.EllipticCurvePublicKey) -> ec.EllipticCurvePublicKey:
    """The key itself, if its curve is P-256. Raises `KeyInvalid`."""
    if not isinstance(public_key.curve, ec.SECP256R1):
        raise KeyInvalid("not a P-256 public key")
    return public_key


def public_jwk(public_key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """The members that are the key: `kty`, `crv`, `x`, `y`."""
    numbers = require_p256(public_key).public_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": base64url.encode(numbers.x.to_bytes(COORDINATE_BYTES, "big")),
        "y": base64url.encode(numbers.y.to_bytes(COORDINATE_BYTES, "big")),
    }


def thumbprint(public_key: ec.EllipticCurvePublicKey) -> str:
    """RFC 7638 SHA-256 thumbprint in base64url, 43 characters: the `kid`."""
    canonical = json.dumps(public_jwk(public_key), separators=(",", ":"), sort_keys=True)
    return base64url.encode(hashlib.sha256(canonical.encode("ascii")).digest())


def verification_jwk(public_key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """The key as a JWKS lists it: with `kid`, `alg` ES256 and `use` sig."""
    return {**public_jwk(public_key), "kid": thumbprint(public_key), "alg": "ES256", "use": "sig"}


def public_from_jwk(members: Mapping[str, object]) -> ec.EllipticCurvePublicKey:
    """Load `kty`, `crv`, `x`, `y`; members beside them are for the caller to judge.

    Raises:
        KeyInvalid: another kind of key, a coordinate that is not exactly 32 bytes, or a point off the curve.
    """
    if members.get("kty") != "EC" or members.get("crv") != "P-256":
        raise KeyInvalid("not a P-256 JWK")
    numbers = ec.EllipticCurvePublicNumbers(
        x=_coordinate(members.get("x")), y=_coordinate(members.get("y")), curve=ec.SECP256R1()
    )
    try:
        return numbers.public_key()
    except ValueError:
        raise KeyInvalid("the point is not on the curve") from None


def _coordinate(text: object) -> int:
    if not isinstance(text, str):
        raise KeyInvalid("a coordinate is a string")
    try:
        raw = base64url.decode(text)
    except ValueError:
        raise KeyInvalid("a coordinate is canonical base64url") from None
    if len(raw) != COORDINATE_BYTES:
        raise KeyInvalid(f"a coordinate is {COORDINATE_BYTES} bytes")
    return int.from_bytes(raw, "big")
