"""Tokens whose signature this process has already verified: the costliest step of a request, not done twice.

Only what can never change of a token is remembered: that a key signed it, and what it claims. Whether the key is still
published, and whether the time has come, is asked each time; whether the token is revoked is nobody's business here.
Tokens are kept by their SHA-256, so that the memory of a process holds none that it is not serving.
"""

import hashlib
import threading
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from licensing.core import metrics
from licensing.crypto.claims import PluginClaims
from licensing.crypto.tokens import DEFAULT_LEEWAY_SECONDS, TokenExpired, TokenInvalid, header_segment, verify_claims
from licensing.rules.tokens import Token

MAX_TOKENS: Final = 32_768
_MAX_SHARED: Final = 4096


class _Seen(NamedTuple):
    token: Token
    issuer: str
    kid: str
    not_before: int
    expires: int


_lock = threading.Lock()
_seen: dict[bytes, _Seen] = {}
_shared: dict[bytes, Any] = {}


def verified_token(text: str, *, keys: Mapping[str, ec.EllipticCurvePublicKey], issuer: str, now: int) -> Token:
    """Verify a plugin token, from memory where its signature has been verified before.

    Raises:
        TokenInvalid, TokenExpired
    """
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    seen = _seen.get(digest)
    if seen is None:
        seen = _verify(text, keys=keys, issuer=issuer, now=now)
        _remember(digest, seen)
        return seen.token
    if seen.kid not in keys or seen.issuer != issuer:
        raise TokenInvalid("header")
    if now >= seen.expires:
        raise TokenExpired
    if now + DEFAULT_LEEWAY_SECONDS < seen.not_before:  # our clock was set back
        raise TokenInvalid("not_yet_valid")
    return seen.token


def _verify(text: str, *, keys: Mapping[str, ec.EllipticCurvePublicKey], issuer: str, now: int) -> _Seen:
    with metrics.token_verified.time():
        claims = verify_claims(text, PluginClaims, keys=keys, issuer=issuer, audience=None, now=now)
    header = text.partition(".")[0]
    kid = next(kid for kid in keys if header_segment("ES256", kid, PluginClaims.TYP) == header)
    return _Seen(_token(claims), issuer, kid, max(claims.nbf, claims.iat), claims.exp)


def _remember(digest: bytes, seen: _Seen) -> None:
    with _lock:
        while len(_seen) >= MAX_TOKENS:
            # The oldest first: a token lives for minutes, so what came first is of least use.
            del _seen[next(iter(_seen))]
        _seen[digest] = seen


def _token(claims: PluginClaims) -> Token:
    return Token(
        customer_id=claims.customer_id,
        plugin=claims.aud,
        version=claims.ver,
        installation_id=claims.sub,
        key_id=claims.key,
        build_id=claims.bld,
        mode=claims.mode,
        auth_time=claims.auth_time,
        generations=claims.gen,
        tier=claims.subscription_tier,
        features=_one_of(claims.authorized_features),
        permissions=_one_of(claims.plugin_permissions),
        expires_at=claims.exp,
    )


def _one_of(value: Any) -> Any:
    """The first equal value seen: a whole fleet is granted the same few sets of features and permissions."""
    written = msgspec.json.encode(value)
    with _lock:
        if len(_shared) >= _MAX_SHARED:
            _shared.clear()
        return _shared.setdefault(written, value)
