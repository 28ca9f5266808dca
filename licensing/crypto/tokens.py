"""JWS in compact form (RFC 7515), the strict way. The only module that touches PyJWT.

PyJWT gives the signature algorithm; the envelope is ours, because ours is narrower than the standard: a
header must be one of the few strings that we write for the keys we know. That alone ends the games with
`alg`, `crit`, `jku`, `x5u`, `jwk` and duplicate members, since no header is ever parsed. One token has
one spelling: base64url is canonical and of the two signatures (r, s) and (r, n - s) that ECDSA accepts
only the lower is.

A token is opened in this order: size, shape, header, signature, payload, issuer, audience, times. Nothing
is decoded that has not been verified.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from licensing.crypto import base64url, jwk
from licensing.crypto.claims import MAX_INSTANT, Claims
from licensing.crypto.strict_json import parse_object

MAX_TOKEN_CHARS = 16 * 1024
DEFAULT_LEEWAY_SECONDS = 5
SIGNATURE_BYTES = 64

# The order of the group of P-256 (SEC 2 §2.4.2).
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF_ORDER = _P256_ORDER // 2
_ES256 = ECAlgorithm(ECAlgorithm.SHA256, ec.SECP256R1)
_ALGORITHMS = {"ES256": _ES256}
_TIMES = ("iat", "nbf", "exp")

AnyClaims = TypeVar("AnyClaims", bound=Claims)


class TokenError(Exception):
    """A token was refused. `reason` is a word for logs and metrics; no text here repeats the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"token refused: {reason}")
        self.reason = reason


class TokenInvalid(TokenError):
    """Not a token of ours, not for this use, or not valid yet.

    `reason` is one of `size shape header signature payload claims issuer audience not_yet_valid`.
    """


class TokenExpired(TokenError):
    """A token of ours, in order but for its time. The instant `exp` itself is already too late."""

    def __init__(self) -> None:
        super().__init__("expired")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the name it is published under. The algorithm is a property of the key.

    Raises:
        ValueError: an unknown algorithm, or a key that does not fit it.
    """

    kid: str
    private_key: ec.EllipticCurvePrivateKey = field(repr=False)
    alg: str = "ES256"

    def __post_init__(self) -> None:
        if self.alg not in _ALGORITHMS:
            raise ValueError("unknown signature algorithm")
        jwk.require_p256(self.private_key.public_key())

    @classmethod
    def from_private_key(cls, private_key: ec.EllipticCurvePrivateKey) -> "SigningKey":
        """Name the key by its RFC 7638 thumbprint."""
        return cls(kid=jwk.thumbprint(private_key.public_key()), private_key=private_key)


@lru_cache(maxsize=256)
def header_segment(alg: str, kid: str, typ: str) -> str:
    """The only header that a token under this key and of this type can have, in base64url."""
    return base64url.encode(msgspec.json.encode({"alg": alg, "kid": kid, "typ": typ}))


def sign_jws(payload: Mapping[str, Any], *, key: SigningKey, typ: str) -> str:
    """Sign JSON members as they are, in their order. For claim sets use `sign_claims`.

    Raises:
        ValueError: the token would be larger than anyone accepts.
    """
    return sign_compact(header_segment(key.alg, key.kid, typ), msgspec.json.encode(payload), key.private_key)


def sign_claims(claims: Claims, *, key: SigningKey) -> str:
    """Mint a token or a lease.

    Raises:
        ValueError: a claim is not of its type, or the token would be larger than anyone accepts.
    """
    payload = claims.to_json()
    # Constructing a claim set checks no types. What would be refused when it comes back must not go out.
    type(claims).from_json(payload)
    return sign_compact(header_segment(key.alg, key.kid, claims.TYP), payload, key.private_key)


def verify_claims(
    token: str,
    claims_type: type[AnyClaims],
    *,
    keys: Mapping[str, ec.EllipticCurvePublicKey],
    issuer: str,
    audience: str | None,
    now: int,
    leeway: int = DEFAULT_LEEWAY_SECONDS,
) -> AnyClaims:
    """Verify a token (`PluginClaims`) or a lease (`LeaseClaims`) and return what it claims.

    `keys` are public keys by `kid`. With `audience` None any audience is accepted, and the caller takes
    it from `aud`. `now` is epoch seconds. `leeway` is how far the clock of the machine that signed may be
    ahead of ours: it softens `iat` and `nbf`, never `exp`.

    Raises:
        TokenInvalid, TokenExpired
    """
    payload = open_jws(token, keys=keys, typ=claims_type.TYP)
    try:
        claims = claims_type.from_json(payload)
    except ValueError:
        raise TokenInvalid("claims") from None
    _require_names(claims.iss, claims.aud, issuer=issuer, audience=audience)
    _require_current(claims.iat, claims.nbf, claims.exp, now=now, leeway=leeway)
    return claims


def verify_jws(
    token: str,
    *,
    keys: Mapping[str, ec.EllipticCurvePublicKey],
    typ: str,
    issuer: str,
    audience: str | None,
    now: int,
    leeway: int = DEFAULT_LEEWAY_SECONDS,
    required: Mapping[str, type] | None = None,
) -> dict[str, Any]:
    """Verify a token of any other type; arguments as `verify_claims`.

    `iss`, `aud` (a string, never a list), `iat`, `nbf` and `exp` are always required; `required` names
    further claims with their exact JSON types (`str`, `int`, `bool`, `list`, `dict`).

    Raises:
        TokenInvalid, TokenExpired
    """
    try:
        claims = parse_object(open_jws(token, keys=keys, typ=typ))
    except ValueError:
        raise TokenInvalid("payload") from None
    _require_types(claims, {"iss": str, "aud": str, **dict.fromkeys(_TIMES, int), **(required or {})})
    _require_names(claims["iss"], claims["aud"], issuer=issuer, audience=audience)
    if not all(0 <= claims[name] <= MAX_INSTANT for name in _TIMES):
        raise TokenInvalid("claims")
    _require_current(claims["iat"], claims["nbf"], claims["exp"], now=now, leeway=leeway)
    return claims


def open_jws(token: str, *, keys: Mapping[str, ec.EllipticCurvePublicKey], typ: str) -> bytes:
    """Verify header and signature, and return the payload. Its claims are not looked at.

    Raises:
        TokenInvalid
    """
    header, payload, signature = split_compact(token)
    for kid, public_key in keys.items():
        if header == header_segment("ES256", kid, typ):
            return open_compact(header, payload, signature, public_key)
    raise TokenInvalid("header")


def sign_compact(
    header: str, payload: bytes, private_key: ec.EllipticCurvePrivateKey, *, max_chars: int = MAX_TOKEN_CHARS
) -> str:
    """Sign a payload under a header segment that is already in base64url."""
    signing_input = f"{header}.{base64url.encode(payload)}"
    signature = _lower_s(_ES256.sign(signing_input.encode("ascii"), private_key))
    token = f"{signing_input}.{base64url.encode(signature)}"
    if len(token) > max_chars:
        raise ValueError(f"a signed text of {len(token)} characters is over the limit of {max_chars}")
    return token


def split_compact(token: str, *, max_chars: int = MAX_TOKEN_CHARS) -> tuple[str, str, str]:
    """Take a compact JWS apart without believing any of it: header, payload, signature."""
    if len(token) > max_chars:
        raise TokenInvalid("size")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise TokenInvalid("shape")
    return parts[0], parts[1], parts[2]


def open_compact(header: str, payload: str, signature: str, public_key: ec.EllipticCurvePublicKey) -> bytes:
    """Verify the three segments under one key and return the decoded payload."""
    try:
        raw_signature = base64url.decode(signature)
    except ValueError:
        raise TokenInvalid("signature") from None
    if len(raw_signature) != SIGNATURE_BYTES or int.from_bytes(raw_signature[32:], "big") > _HALF_ORDER:
        raise TokenInvalid("signature")
    jwk.require_p256(public_key)
    if not _ES256.verify(f"{header}.{payload}".encode("ascii"), public_key, raw_signature):
        raise TokenInvalid("signature")
    try:
        return base64url.decode(payload)
    except ValueError:
        raise TokenInvalid("payload") from None


def _lower_s(signature: bytes) -> bytes:
    s = int.from_bytes(signature[32:], "big")
    return signature if s <= _HALF_ORDER else signature[:32] + (_P256_ORDER - s).to_bytes(32, "big")


def _require_types(claims: Mapping[str, Any], types: Mapping[str, type]) -> None:
    for name, expected in types.items():
        # Exact types: to Python, True is an int.
        if type(claims.get(name)) is not expected:
            raise TokenInvalid("claims")


def _require_names(iss: str, aud: str, *, issuer: str, audience: str | None) -> None:
    if iss != issuer:
        raise TokenInvalid("issuer")
    if not aud or (audience is not None and aud != audience):
        raise TokenInvalid("audience")


def _require_current(iat: int, nbf: int, exp: int, *, now: int, leeway: int) -> None:
    if now + leeway < max(iat, nbf):
        raise TokenInvalid("not_yet_valid")
    if now >= exp:
        raise TokenExpired
