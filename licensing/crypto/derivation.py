"""HKDF-SHA-256, the one way a key is derived from another key."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


def derive_key(key_material: bytes, *, info: bytes) -> bytes:
    """Derive 32 bytes from strong key material (RFC 5869, empty salt).

    `info` says what the key is for and what it is bound to; it must be unambiguous, so a variable part
    comes last and is set off by a NUL. Not for passwords: HKDF does nothing to slow a guesser down.
    """
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key_material)
