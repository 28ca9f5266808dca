"""The signed key set: which keys a kit may believe, vouched for by PluginAuthority.

One compact JWS (`typ: keyset+jws`) whose header carries the key-set certificate, issued directly by the
authority that kits pin. A kit remembers the newest version and the newest certificate it has seen, so
that neither an old key set nor a stolen old certificate can be played to it again. A customer who
controls DNS and trust store can still not make a server that is believed.
"""

import base64
import binascii
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from licensing.crypto import base64url, jwk, tokens
from licensing.crypto.authority import AuthorityError, Purpose, load_certificate, verify_certificate
from licensing.crypto.claims import MAX_INSTANT
from licensing.crypto.strict_json import parse_object

TYPE = "keywright-keyset/v1"
TYP = "keyset+jws"
CONTENT_TYPE = "application/jose"
LIFETIME_SECONDS = 7 * 24 * 3600
MAX_CHARS = 64 * 1024
MAX_VERSION = 2**53 - 1
_MEMBERS = {"_type": str, "iss": str, "version": int, "issued_at": int, "expires_at": int, "keys": list}


class KeyPurpose(enum.StrEnum):
    """What a listed key signs."""

    TOKEN = "token"  # noqa: S105  (a name, no secret)
    LEASE = "lease"


class KeySetInvalid(Exception):
    """A key set was refused.

    `reason` is one of `size shape header signature payload type issuer keys lifetime not_yet_valid expired
    version_back certificate_older`, or `certificate_` and the reason of `AuthorityError`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"key set refused: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A public key and what it signs; its `kid` is its RFC 7638 thumbprint."""

    public_key: ec.EllipticCurvePublicKey
    purpose: KeyPurpose

    @property
    def kid(self) -> str:
        """The name it is published under."""
        return jwk.thumbprint(self.public_key)


@dataclass(frozen=True, slots=True)
class VerifiedKeySet:
    """A key set that may be believed. Times are epoch seconds.

    `version` and `certificate_not_before` are what to remember as the newest seen.
    """

    issuer: str
    version: int
    issued_at: int
    expires_at: int
    keys: tuple[ListedKey, ...]
    certificate_not_before: int

    def public_keys(self, purpose: KeyPurpose) -> dict[str, ec.EllipticCurvePublicKey]:
        """The keys of one purpose by `kid`, as `tokens.verify_claims` takes them."""
        return {key.kid: key.public_key for key in self.keys if key.purpose is purpose}


def sign_key_set(
    *,
    keys: Sequence[ListedKey],
    issuer: str,
    version: int,
    issued_at: int,
    certificate_der: bytes,
    private_key: ec.EllipticCurvePrivateKey,
) -> str:
    """Sign the list of keys; it is valid for seven days from `issued_at` (epoch seconds).

    `certificate_der` is the key-set certificate and `private_key` the key it certifies.

    Raises:
        ValueError: the certificate is not of this key, a key is listed twice, or a number is out of range.
    """
    if not issuer or not 1 <= version <= MAX_VERSION or not 0 <= issued_at <= MAX_INSTANT - LIFETIME_SECONDS:
        raise ValueError("a key set has an issuer, a version from 1 and an instant")
    if load_certificate(certificate_der).public_key() != private_key.public_key():
        raise ValueError("the certificate is not of this key")
    payload = {
        "_type": TYPE,
        "iss": issuer,
        "version": version,
        "issued_at": issued_at,
        "expires_at": issued_at + LIFETIME_SECONDS,
        "keys": [_listing(key) for key in keys],
    }
    if len({key.kid for key in keys}) != len(keys):
        raise ValueError("a key is listed twice")
    header = _header_segment(certificate_der)
    return tokens.sign_compact(header, msgspec.json.encode(payload), private_key, max_chars=MAX_CHARS)


def verify_key_set(
    jws: str,
    *,
    authority: ec.EllipticCurvePublicKey,
    issuer: str,
    now: int,
    newest_version_seen: int = 0,
    newest_certificate_seen: int = 0,
    leeway: int = tokens.DEFAULT_LEEWAY_SECONDS,
) -> VerifiedKeySet:
    """Verify a key set with nothing but the pinned public key and what was seen before.

    In this order: size and shape; the header is exactly ours around one certificate; the certificate is
    under the authority, for key sets, of at most 90 days, valid now, and not older (`not_before`) than
    the newest seen; the signature; `_type`, issuer and members; seven days at most, issued and not
    expired; a version that does not go back; well-formed keys, each named by its thumbprint.

    Raises:
        KeySetInvalid: with its reason.
    """
    try:
        header, payload, signature = tokens.split_compact(jws, max_chars=MAX_CHARS)
        certificate_key, not_before = _certified_key(header, authority, now, newest_certificate_seen)
        text = tokens.open_compact(header, payload, signature, certificate_key)
    except tokens.TokenInvalid as exc:
        raise KeySetInvalid(exc.reason) from None
    members = _parse(text)
    _require_members(members, issuer)
    _require_current(members, now=now, leeway=leeway)
    if members["version"] < newest_version_seen:
        raise KeySetInvalid("version_back")
    return VerifiedKeySet(
        issuer=members["iss"],
        version=members["version"],
        issued_at=members["issued_at"],
        expires_at=members["expires_at"],
        keys=_read_keys(members["keys"]),
        certificate_not_before=not_before,
    )


def _header_segment(certificate_der: bytes) -> str:
    chain = [base64.b64encode(certificate_der).decode("ascii")]
    return base64url.encode(msgspec.json.encode({"alg": "ES256", "typ": TYP, "x5c": chain}))


def _certified_key(
    header: str, authority: ec.EllipticCurvePublicKey, now: int, newest_seen: int
) -> tuple[ec.EllipticCurvePublicKey, int]:
    certificate_der = _certificate_in(header)
    at = datetime.fromtimestamp(now, UTC)
    try:
        certificate = verify_certificate(certificate_der, authority=authority, purpose=Purpose.KEYSET, at=at)
    except AuthorityError as exc:
        raise KeySetInvalid(f"certificate_{exc.reason}") from None
    not_before = int(certificate.not_valid_before_utc.timestamp())
    if not_before < newest_seen:
        raise KeySetInvalid("certificate_older")
    public_key = certificate.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise KeySetInvalid("certificate_key")
    return public_key, not_before


def _certificate_in(header: str) -> bytes:
    """Take the certificate out of a header, which must then be exactly the one we write around it."""
    try:
        (encoded,) = parse_object(base64url.decode(header))["x5c"]
        certificate_der = base64.b64decode(encoded, validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise KeySetInvalid("header") from None
    if _header_segment(certificate_der) != header:
        raise KeySetInvalid("header")
    return certificate_der


def _parse(text: bytes) -> dict[str, Any]:
    try:
        return parse_object(text)
    except ValueError:
        raise KeySetInvalid("payload") from None


def _require_members(members: dict[str, Any], issuer: str) -> None:
    if members.get("_type") != TYPE:
        raise KeySetInvalid("type")
    if set(members) != set(_MEMBERS):
        raise KeySetInvalid("payload")
    # Exact types: to Python, True is an int.
    if any(type(members[name]) is not kind for name, kind in _MEMBERS.items()):
        raise KeySetInvalid("payload")
    if members["iss"] != issuer:
        raise KeySetInvalid("issuer")


def _require_current(members: dict[str, Any], *, now: int, leeway: int) -> None:
    issued_at, expires_at, version = members["issued_at"], members["expires_at"], members["version"]
    if not 0 <= issued_at < expires_at <= MAX_INSTANT or not 1 <= version <= MAX_VERSION:
        raise KeySetInvalid("payload")
    if expires_at - issued_at > LIFETIME_SECONDS:
        raise KeySetInvalid("lifetime")
    if now + leeway < issued_at:
        raise KeySetInvalid("not_yet_valid")
    if now >= expires_at:
        raise KeySetInvalid("expired")


def _listing(key: ListedKey) -> dict[str, str]:
    return {**jwk.verification_jwk(key.public_key), "purpose": key.purpose.value}


def _read_keys(entries: list[Any]) -> tuple[ListedKey, ...]:
    try:
        keys = tuple(ListedKey(jwk.public_from_jwk(entry), KeyPurpose(entry["purpose"])) for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KeySetInvalid("keys") from None
    # Written back, each entry must be what was read: that checks kid, alg, use and foreign members in one go.
    if [_listing(key) for key in keys] != entries or len({key.kid for key in keys}) != len(keys):
        raise KeySetInvalid("keys")
    return keys
