"""Sealing at rest: AES-256-GCM under versioned key-encryption keys, one ring for each purpose.

Sealed bytes are `format (1) ‖ version (2, big-endian) ‖ nonce (12) ‖ ciphertext and tag`. The associated
data are those first three bytes, the purpose and the identity of the row, so a sealed value that is
copied to another row, column or ring does not open. Nonces are random: a key may seal 2^32 values (NIST
SP 800-38D §8.3), far beyond any table here, and rotation gives a new key.

Peppers are the same kind of configuration, versioned keys, for the HMAC by which API keys are looked up.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from licensing.crypto import keys as api_keys
from licensing.crypto.derivation import KEY_BYTES, derive_key

MAX_VERSION = 0xFFFF
_RING_FORMAT = 0x01
_BEARER_FORMAT = 0x02
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEAD_BYTES = 3
_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,31}")
_VERSION = re.compile(r"[1-9][0-9]{0,4}")
_RING_LABEL = b"keywright/seal/v1"
_BEARER_LABEL = b"keywright/bearer-seal/v1"


class KeyListInvalid(ValueError):
    """A configured list of versioned keys cannot be used; the text says why, and never what it held."""


class SealError(Exception):
    """A sealed value cannot be opened."""


class UnknownKeyVersion(SealError):
    """Sealed under a key that this process does not hold. Never a reason to fall back to another."""

    def __init__(self, purpose: str, version: int) -> None:
        super().__init__(f"no {purpose} key of version {version}")
        self.purpose = purpose
        self.version = version


class SealBroken(SealError):
    """The value was altered, cut, moved to another row, or sealed under another key."""

    def __init__(self) -> None:
        super().__init__("sealed value does not open")


class KeyRing:
    """The key-encryption keys of one purpose. Seals under the current one, opens under any it holds."""

    __slots__ = ("_ciphers", "current", "purpose")

    def __init__(self, purpose: str, keys: Mapping[int, bytes], current: int) -> None:
        """Take `keys` of 32 bytes by version, 1 to 65535.

        Raises:
            KeyListInvalid: see its text.
        """
        if not _PURPOSE.fullmatch(purpose):
            raise KeyListInvalid("a purpose is a lower-case word")
        _check_keys(keys, current)
        self.purpose = purpose
        self.current = current
        self._ciphers = {version: AESGCM(key) for version, key in keys.items()}

    @classmethod
    def parse(cls, text: str, *, purpose: str) -> Self:
        """Read `2:base64,1:base64`; the first is the current one. See `parse_versioned_keys`."""
        keys = parse_versioned_keys(text)
        return cls(purpose, keys, next(iter(keys)))

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that can be opened, in the order they were configured."""
        return tuple(self._ciphers)

    @property
    def head(self) -> bytes:
        """What everything that is sealed under the current key begins with: three bytes, format and version."""
        return bytes((_RING_FORMAT,)) + self.current.to_bytes(2, "big")

    def seal(self, plaintext: bytes, *, identity: str) -> bytes:
        """Seal for one row; `identity` is its table, column and key, such as `api_key.root:key_123`."""
        head = self.head
        nonce = secrets.token_bytes(_NONCE_BYTES)
        bound = self._bound(head, identity)
        return head + nonce + self._ciphers[self.current].encrypt(nonce, plaintext, bound)

    def unseal(self, sealed: bytes, *, identity: str) -> bytes:
        """Open what `seal` made for the same purpose and identity.

        Raises:
            UnknownKeyVersion: sealed under a key that is not on this ring.
            SealBroken: anything else is wrong with it.
        """
        version = self.version_of(sealed)
        cipher = self._ciphers.get(version)
        if cipher is None:
            raise UnknownKeyVersion(self.purpose, version)
        nonce, ciphertext = _split(sealed[_HEAD_BYTES:])
        try:
            return cipher.decrypt(nonce, ciphertext, self._bound(sealed[:_HEAD_BYTES], identity))
        except InvalidTag:
            raise SealBroken from None

    def reseal(self, sealed: bytes, *, identity: str) -> bytes:
        """Bring a value under the current key; one that is there already comes back as it was."""
        plaintext = self.unseal(sealed, identity=identity)
        if self.version_of(sealed) == self.current:
            return sealed
        return self.seal(plaintext, identity=identity)

    @staticmethod
    def version_of(sealed: bytes) -> int:
        """Which key version a value says it is under, unverified: enough to find what to reseal.

        Raises:
            SealBroken: it is not a sealed value.
        """
        if len(sealed) < _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES or sealed[0] != _RING_FORMAT:
            raise SealBroken
        return int.from_bytes(sealed[1:_HEAD_BYTES], "big")

    def _bound(self, head: bytes, identity: str) -> bytes:
        # The purpose cannot contain a NUL and the identity comes last, so no two pairs give the same bytes.
        return b"\0".join((head + _RING_LABEL, self.purpose.encode("ascii"), _identity_bytes(identity)))

    def __repr__(self) -> str:
        return f"KeyRing(purpose={self.purpose!r}, versions={self.versions}, current={self.current})"

    def __reduce__(self) -> str:
        raise TypeError("a key ring is not to be pickled")


class Peppers:
    """The versioned HMAC keys under which API keys are stored."""

    __slots__ = ("_keys", "current")

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        """Take `keys` of 32 bytes by version. Raises `KeyListInvalid`."""
        _check_keys(keys, current)
        self.current = current
        # The current version first: nearly every lookup ends there.
        self._keys = {current: keys[current], **keys}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2:base64,1:base64`; the first is the current one."""
        keys = parse_versioned_keys(text)
        return cls(keys, next(iter(keys)))

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that can be looked up, the current one first."""
        return tuple(self._keys)

    def digest(self, fingerprint: bytes) -> tuple[int, bytes]:
        """What to store for a key: the current version, and the digest under it."""
        return self.current, self.digest_under(self.current, fingerprint)

    def digest_under(self, version: int, fingerprint: bytes) -> bytes:
        """The digest under one version. Raises `UnknownKeyVersion`."""
        pepper = self._keys.get(version)
        if pepper is None:
            raise UnknownKeyVersion("pepper", version)
        return api_keys.digest(pepper, fingerprint)

    def digests(self, fingerprint: bytes) -> tuple[bytes, ...]:
        """Every digest a stored key may have, the current version first: one `IN` lookup finds it."""
        return tuple(api_keys.digest(pepper, fingerprint) for pepper in self._keys.values())

    def __repr__(self) -> str:
        return f"Peppers(versions={self.versions}, current={self.current})"

    def __reduce__(self) -> str:
        raise TypeError("peppers are not to be pickled")


def parse_versioned_keys(text: str) -> dict[int, bytes]:
    """Read `2:base64,1:base64` into 32-byte keys by version, in the order written.

    Raises:
        KeyListInvalid: naming the entry by its place, never by what it holds.
    """
    keys: dict[int, bytes] = {}
    for place, entry in enumerate(text.strip().split(","), start=1):
        version_text, separator, key_text = entry.partition(":")
        if not separator or not _VERSION.fullmatch(version_text) or int(version_text) > MAX_VERSION:
            raise KeyListInvalid(f"entry {place}: expected VERSION:BASE64, with a version from 1 to {MAX_VERSION}")
        version = int(version_text)
        if version in keys:
            raise KeyListInvalid(f"entry {place}: version {version} is given twice")
        keys[version] = _decode_key(key_text, place)
    return keys


def new_versioned_key(version: int = 1) -> str:
    """A fresh random entry, `VERSION:BASE64`, for the front of such a list."""
    return f"{version}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode('ascii')}"


def seal_for_bearer(credential: str, idempotency_key: str, plaintext: bytes, *, identity: str) -> bytes:
    """Seal an answer that only the caller who got it can open again.

    The key is derived from the caller's credential, which the server does not store, and the
    Idempotency-Key, so the database alone cannot open it. `credential` must be a random one (API key,
    token), never a password.
    """
    head = bytes((_BEARER_FORMAT,))
    nonce = secrets.token_bytes(_NONCE_BYTES)
    cipher = _bearer_cipher(credential, idempotency_key)
    return head + nonce + cipher.encrypt(nonce, plaintext, _bearer_bound(head, identity))


def unseal_for_bearer(credential: str, idempotency_key: str, sealed: bytes, *, identity: str) -> bytes:
    """Open what `seal_for_bearer` made for the same credential, Idempotency-Key and identity.

    Raises:
        SealBroken: another caller, another key, another row, or altered.
    """
    if len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES or sealed[0] != _BEARER_FORMAT:
        raise SealBroken
    nonce, ciphertext = _split(sealed[1:])
    cipher = _bearer_cipher(credential, idempotency_key)
    try:
        return cipher.decrypt(nonce, ciphertext, _bearer_bound(sealed[:1], identity))
    except InvalidTag:
        raise SealBroken from None


def _bearer_cipher(credential: str, idempotency_key: str) -> AESGCM:
    if not credential or not idempotency_key:
        raise ValueError("a credential and an idempotency key are needed to seal an answer")
    info = _BEARER_LABEL + b"\0" + idempotency_key.encode("utf-8", "surrogatepass")
    return AESGCM(derive_key(credential.encode("utf-8", "surrogatepass"), info=info))


def _bearer_bound(head: bytes, identity: str) -> bytes:
    return head + _BEARER_LABEL + b"\0" + _identity_bytes(identity)


def _identity_bytes(identity: str) -> bytes:
    if not identity:
        raise ValueError("a sealed value needs the identity of its row")
    return identity.encode("utf-8", "surrogatepass")


def _split(rest: bytes) -> tuple[bytes, bytes]:
    return rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]


def _check_keys(keys: Mapping[int, bytes], current: int) -> None:
    if current not in keys:
        raise KeyListInvalid("the current version has no key")
    for version, key in keys.items():
        if not 1 <= version <= MAX_VERSION:
            raise KeyListInvalid(f"a version is from 1 to {MAX_VERSION}")
        if len(key) != KEY_BYTES:
            raise KeyListInvalid(f"version {version}: a key is {KEY_BYTES} bytes, this one is {len(key)}")
    if len(set(keys.values())) != len(keys):
        raise KeyListInvalid("two versions hold the same key, so rotating between them would change nothing")


def _decode_key(key_text: str, place: int) -> bytes:
    try:
        key = base64.b64decode(key_text, validate=True)
    except (binascii.Error, ValueError):
        raise KeyListInvalid(f"entry {place}: the key is not standard base64") from None
    # One key has one spelling: non-zero trailing bits would be dropped without a word.
    if base64.b64encode(key).decode("ascii") != key_text:
        raise KeyListInvalid(f"entry {place}: the key is not canonical base64")
    return key
