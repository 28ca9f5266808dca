"""Signed forms made of a signer's plain signatures: DSSE envelopes and compact JWS."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from build_farm.signing.interface import Signer
from licensing.crypto import base64url
from licensing.crypto.authority import Purpose
from licensing.crypto.signatures import pre_authentication_encoding

_HALF_BYTES = 32


def sign_envelope(signer: Signer, purpose: Purpose, payload: bytes, *, payload_type: str) -> bytes:
    """A DSSE v1.0.2 envelope with one signature, as JSON. `keyid`, a hint, is the certificate's SHA-256 in hex."""
    signature = signer.sign_text(purpose, pre_authentication_encoding(payload_type, payload))
    keyid = hashlib.sha256(signer.certificate(purpose)).hexdigest()
    envelope = {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode("ascii"),
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode("ascii")}],
    }
    return json.dumps(envelope, separators=(",", ":")).encode("ascii")


def sign_jws(signer: Signer, purpose: Purpose, payload: Mapping[str, Any], *, typ: str) -> str:
    """A compact JWS (RFC 7515, ES256) whose header holds the signer's certificate: `alg`, `typ`, `x5c`."""
    certificate = base64.b64encode(signer.certificate(purpose)).decode("ascii")
    header = json.dumps({"alg": "ES256", "typ": typ, "x5c": [certificate]}, separators=(",", ":")).encode("ascii")
    body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
    signed = f"{base64url.encode(header)}.{base64url.encode(body)}"
    r, s = decode_dss_signature(signer.sign_text(purpose, signed.encode("ascii")))
    signature = r.to_bytes(_HALF_BYTES, "big") + s.to_bytes(_HALF_BYTES, "big")
    return f"{signed}.{base64url.encode(signature)}"
