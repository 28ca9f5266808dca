"""The keys that web processes mint and verify with, from the catalogue's snapshot."""

from collections.abc import Mapping
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec

from accounts.keyrings import ring
from licensing.core.errors import ServiceUnavailable
from licensing.crypto import jwk
from licensing.crypto.sealing import SealError
from licensing.crypto.tokens import SigningKey
from licensing.rules.snapshot import Catalogue


def minting_key(catalogue: Catalogue, purpose: str) -> SigningKey:
    """Return the active key of `token` or `lease`.

    Raises:
        ServiceUnavailable: there is none, or it cannot be opened, or the signed key set that is out does not list it.
            A key that kits have no way to believe mints nothing.
    """
    for row in catalogue.signing_keys:
        if row.purpose == purpose and row.state == "active" and row.sealed_private_key is not None:
            if row.kid not in catalogue.key_set_kids:
                raise ServiceUnavailable(note=f"the {purpose} key is in no signed key set yet")
            return _unsealed(row.kid, row.sealed_private_key)
    raise ServiceUnavailable(note=f"there is no active {purpose} key")


def verifying_keys(catalogue: Catalogue, purpose: str) -> Mapping[str, ec.EllipticCurvePublicKey]:
    """Every key that a live token or lease may be signed by, by `kid`."""
    return {
        row.kid: _public(row.kid, row.public_jwk["x"], row.public_jwk["y"])
        for row in catalogue.signing_keys
        if row.purpose == purpose
    }


def published_jwks(catalogue: Catalogue) -> dict[str, list[dict[str, str]]]:
    """The JWKS (RFC 7517): token keys that sign, will sign, or have signed something that may be alive."""
    return {"keys": [dict(row.public_jwk) for row in catalogue.signing_keys if row.purpose == "token"]}


def sealing_identity(kid: str) -> str:
    """What a signing key's sealed private half is bound to."""
    return f"signing_key.private:{kid}"


@lru_cache(maxsize=16)
def _unsealed(kid: str, sealed: bytes) -> SigningKey:
    try:
        der = ring("tokens").unseal(sealed, identity=sealing_identity(kid))
    except SealError as exc:
        raise ServiceUnavailable(note=f"the signing key {kid}: {exc}") from exc
    return SigningKey(kid=kid, private_key=jwk.private_from_der(der))


@lru_cache(maxsize=64)
def _public(_kid: str, x: str, y: str) -> ec.EllipticCurvePublicKey:
    return jwk.public_from_jwk({"kty": "EC", "crv": "P-256", "x": x, "y": y})
