"""Signatures over files and JSON texts: RSA-3072 for binaries, ECDSA P-256 for texts, DSSE for attestations.

Verifiers check the signature before they parse. ECDSA signatures are DER, which `openssl dgst -verify`
and Go's `ecdsa.VerifyASN1` read. Every signed JSON text names its `_type`, so that no signed thing passes
for another. DSSE (v1.0.2, secure-systems-lab/dsse) does the same for attestations, by signing the payload
type with the payload.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from licensing.crypto import jwk
from licensing.crypto.strict_json import parse_object

BINARY_KEY_BITS = 3072
DIGEST_BYTES = 32
IN_TOTO_PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES = 4 * 1024 * 1024
MAX_ENVELOPE_SIGNATURES = 8
_RAW_SIGNATURE_BYTES = 64
_PREHASHED = Prehashed(hashes.SHA256())


class SignatureInvalid(Exception):
    """Not the signature of this text under this key, or a text that is not what it was signed as.

    `reason` is one of `signature malformed type`.
    """

    def __init__(self, reason: str = "signature") -> None:
        super().__init__(f"signed text refused: {reason}")
        self.reason = reason


def sign_binary(private_key: rsa.RSAPrivateKey, digest: bytes) -> bytes:
    """Sign the SHA-256 (32 bytes) of a binary by RSA-3072 PKCS#1 v1.5: 384 bytes, the same each time."""
    _require_rsa(private_key.public_key())
    return private_key.sign(_require_digest(digest), padding.PKCS1v15(), _PREHASHED)


def verify_binary(public_key: rsa.RSAPublicKey, digest: bytes, signature: bytes) -> None:
    """Verify what `sign_binary` made. Raises `SignatureInvalid`."""
    _require_rsa(public_key)
    try:
        public_key.verify(signature, _require_digest(digest), padding.PKCS1v15(), _PREHASHED)
    except InvalidSignature:
        raise SignatureInvalid from None


def sign_text(private_key: ec.EllipticCurvePrivateKey, text: bytes) -> bytes:
    """Sign bytes by ECDSA P-256 with SHA-256: a DER signature."""
    jwk.require_p256(private_key.public_key())
    return private_key.sign(text, ec.ECDSA(hashes.SHA256()))


def verify_text(public_key: ec.EllipticCurvePublicKey, text: bytes, signature: bytes) -> None:
    """Verify a DER signature. Raises `SignatureInvalid`, for another encoding of a right one too."""
    jwk.require_p256(public_key)
    # OpenSSL writes the signature anew and compares, so that BER and trailing bytes are refused (tested).
    try:
        public_key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise SignatureInvalid from None


def raw_to_der(signature: bytes) -> bytes:
    """Turn r ‖ s of P-256 (64 bytes, as JWS and some DSSE signers write it) into DER. Raises `SignatureInvalid`."""
    if len(signature) != _RAW_SIGNATURE_BYTES:
        raise SignatureInvalid
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def write_typed(members: Mapping[str, Any]) -> bytes:
    """Write a JSON text to be signed: UTF-8, `_type` first, the other members in their order, no white space.

    Raises:
        ValueError: `_type` is missing, or a number is not finite.
    """
    kind = members.get("_type")
    if not isinstance(kind, str) or not kind:
        raise ValueError("a signed JSON text needs its _type")
    ordered = {"_type": kind, **members}
    return json.dumps(ordered, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def read_typed(
    public_key: ec.EllipticCurvePublicKey, text: bytes, signature: bytes, *, expected_type: str
) -> dict[str, Any]:
    """Verify a signed JSON text, then parse it, then hold its `_type` against what is expected here.

    Raises:
        SignatureInvalid: `signature`, `malformed` (not one JSON object, or duplicate members) or `type`.
    """
    verify_text(public_key, text, signature)
    try:
        members = parse_object(text)
    except ValueError:
        raise SignatureInvalid("malformed") from None
    if members.get("_type") != expected_type:
        raise SignatureInvalid("type")
    return members


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """PAE: what is signed. Lengths are of bytes, in decimal."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_envelope(private_key: ec.EllipticCurvePrivateKey, payload: bytes, *, payload_type: str, keyid: str) -> bytes:
    """An envelope with one ECDSA P-256 signature in DER, as JSON in UTF-8. `keyid` is a hint, and is not signed."""
    signature = sign_text(private_key, pre_authentication_encoding(payload_type, payload))
    envelope = {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode("ascii"),
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode("ascii")}],
    }
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def verify_envelope(envelope: bytes, public_key: ec.EllipticCurvePublicKey, *, payload_type: str) -> bytes:
    """Return the payload, if any of the signatures is this key's over this payload type.

    `keyid` decides nothing. Signatures may be DER or r ‖ s, in either base64, as the specification leaves
    open.

    Raises:
        SignatureInvalid: `malformed`, `type` or `signature`.
    """
    members = _parse(envelope)
    if members.get("payloadType") != payload_type:
        raise SignatureInvalid("type")
    payload = _decode(members.get("payload"))
    encoded = pre_authentication_encoding(payload_type, payload)
    if not any(_is_signed(public_key, encoded, signature) for signature in _signatures(members)):
        raise SignatureInvalid
    return payload


def _require_rsa(public_key: rsa.RSAPublicKey) -> None:
    if public_key.key_size != BINARY_KEY_BITS:
        raise ValueError(f"binaries are signed by RSA-{BINARY_KEY_BITS}")


def _require_digest(digest: bytes) -> bytes:
    if len(digest) != DIGEST_BYTES:
        raise ValueError("expected a SHA-256 digest")
    return digest


def _parse(envelope: bytes) -> dict[str, Any]:
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise SignatureInvalid("malformed")
    try:
        return parse_object(envelope)
    except ValueError:
        raise SignatureInvalid("malformed") from None


def _signatures(members: dict[str, Any]) -> list[bytes]:
    entries = members.get("signatures")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_ENVELOPE_SIGNATURES:
        raise SignatureInvalid("malformed")
    if not all(isinstance(entry, dict) for entry in entries):
        raise SignatureInvalid("malformed")
    return [_decode(entry.get("sig")) for entry in entries]


def _is_signed(public_key: ec.EllipticCurvePublicKey, encoded: bytes, signature: bytes) -> bool:
    # A DER signature can be 64 bytes too, if r and s are short: then both readings are tried.
    readings = [signature, raw_to_der(signature)] if len(signature) == _RAW_SIGNATURE_BYTES else [signature]
    for reading in readings:
        try:
            verify_text(public_key, encoded, reading)
        except SignatureInvalid:
            continue
        return True
    return False


def _decode(text: object) -> bytes:
    if not isinstance(text, str):
        raise SignatureInvalid("malformed")
    alphabet = b"-_" if "-" in text or "_" in text else b"+/"
    try:
        return base64.b64decode(text, altchars=alphabet, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureInvalid("malformed") from None
