"""The build secret as it stands inside a binary: sealed for one API key, one build and one target.

`encrypted:` + base64 of nonce (12) ‖ AES-256-GCM ciphertext and tag. The slot key is derived from the API
key's root and the build id; customer, plugin, version and target are the associated data. Whoever holds
the API key can open the slots of that key's builds, and nobody else can.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from licensing.crypto.derivation import KEY_BYTES, derive_key

PREFIX = "encrypted:"
SECRET_BYTES = 32
NONCE_BYTES = 12
_TAG_BYTES = 16
_SEALED_BYTES = NONCE_BYTES + SECRET_BYTES + _TAG_BYTES
_SLOT_INFO = b"keywright/build-slot/v1\0"


class SlotBroken(Exception):
    """A slot that does not open: altered, of another key, or of another build."""

    def __init__(self) -> None:
        super().__init__("build slot does not open")


@dataclass(frozen=True, slots=True)
class SlotIdentity:
    """What a slot is bound to; `target` is `os/arch`.

    Raises:
        ValueError: a part is empty, or holds the NUL that separates them.
    """

    build_id: str
    customer: str
    plugin: str
    version: str
    target: str

    def __post_init__(self) -> None:
        parts = (self.build_id, self.customer, self.plugin, self.version, self.target)
        if any(not part or "\0" in part for part in parts):
            raise ValueError("a part of a slot's identity is empty or holds a NUL")

    def associated_data(self) -> bytes:
        """Customer, plugin, version and target, separated by NUL."""
        return "\0".join((self.customer, self.plugin, self.version, self.target)).encode()


def seal_secret(key_root: bytes, secret: bytes, identity: SlotIdentity, *, nonce: bytes | None = None) -> str:
    """Seal a 32-byte build secret for the API key with this root (32 bytes).

    `nonce` is given only to make the same build again; it belongs to this secret and identity alone,
    since a nonce used for two secrets under one slot key would give both away.

    Raises:
        ValueError: a length is wrong.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a build secret is {SECRET_BYTES} bytes")
    if nonce is None:
        nonce = secrets.token_bytes(NONCE_BYTES)
    elif len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce is {NONCE_BYTES} bytes")
    sealed = nonce + _slot_cipher(key_root, identity).encrypt(nonce, secret, identity.associated_data())
    return PREFIX + base64.b64encode(sealed).decode("ascii")


def open_secret(key_root: bytes, slot: str, identity: SlotIdentity) -> bytes:
    """Open what `seal_secret` made.

    Raises:
        SlotBroken: it is not a slot of this key root and identity.
    """
    cipher = _slot_cipher(key_root, identity)
    sealed = _decode(slot)
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], identity.associated_data())
    except InvalidTag:
        raise SlotBroken from None


def _decode(slot: str) -> bytes:
    try:
        sealed = base64.b64decode(slot.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SlotBroken from None
    canonical = PREFIX + base64.b64encode(sealed).decode("ascii")
    if len(sealed) != _SEALED_BYTES or canonical != slot:
        raise SlotBroken
    return sealed


def _slot_cipher(key_root: bytes, identity: SlotIdentity) -> AESGCM:
    if len(key_root) != KEY_BYTES:
        raise ValueError(f"a key root is {KEY_BYTES} bytes")
    return AESGCM(derive_key(key_root, info=_SLOT_INFO + identity.build_id.encode()))
