"""Download URLs: one opaque, sealed segment that says who may fetch which bytes, and until when.

The segment is base64url of `version (2, big-endian) ‖ salt (16) ‖ ciphertext and tag`. Each URL has a key of its own,
HKDF-SHA-256(key of that version, info = label ‖ 0 ‖ salt), so that no nonce is ever used twice however many are made,
and AES-256-GCM hides the claims and binds the version. The claims name a credential by its id and never hold one. That
a URL opens says only that this server made it: whether it is still honoured is decided when it is used.
"""

import secrets
from collections.abc import Mapping
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from licensing.crypto import base64url
from licensing.crypto.derivation import derive_key
from licensing.crypto.sealing import parse_versioned_keys

CredentialKind = Literal["api_key", "plugin_token", "registry_token", "person"]
MAX_CHARS = 2048
_LABEL = b"keywright/download-url/v1"
_VERSION_BYTES = 2
_SALT_BYTES = 16
_TAG_BYTES = 16
_NONCE = bytes(12)


class UrlInvalid(Exception):
    """Not a URL that this server made: altered, cut, or sealed under a key that is gone."""

    def __init__(self) -> None:
        super().__init__("download URL refused")


class TokenBinding(msgspec.Struct, frozen=True, array_like=True):
    """The plugin token that a URL was handed out for: what a later look at its standing needs, not the token."""

    plugin: str
    version: str
    installation_id: str
    key_id: str
    build_id: str | None
    mode: str
    auth_time: int
    generations: tuple[int, int, int]


class DownloadClaims(msgspec.Struct, frozen=True, array_like=True):
    """What a URL is bound to. `expires_at` in epoch seconds, itself already too late; `sha256` in hex."""

    grant_id: str
    artifact_id: str
    sha256: str
    customer_id: str
    credential_kind: CredentialKind
    credential_id: str
    expires_at: int
    token: TokenBinding | None = None


_decoder = msgspec.msgpack.Decoder(DownloadClaims)


class UrlKeys:
    """The keys that URLs are sealed under: the current one seals, all that are held open."""

    __slots__ = ("_keys", "current")

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        self._keys = dict(keys)
        self.current = current

    @classmethod
    def parse(cls, text: str) -> "UrlKeys":
        """Take `2:base64,1:base64`, the current one first. Raises `KeyListInvalid`."""
        keys = parse_versioned_keys(text)
        return cls(keys, next(iter(keys)))

    def seal(self, claims: DownloadClaims) -> str:
        """Write the segment of a URL: at most a few hundred characters of `A-Za-z0-9_-`."""
        head = self.current.to_bytes(_VERSION_BYTES, "big") + secrets.token_bytes(_SALT_BYTES)
        sealed = self._cipher(head).encrypt(_NONCE, msgspec.msgpack.encode(claims), _LABEL + head)
        return base64url.encode(head + sealed)

    def open(self, segment: str) -> DownloadClaims:
        """Read a segment back. Raises `UrlInvalid`."""
        if len(segment) > MAX_CHARS:
            raise UrlInvalid
        try:
            raw = base64url.decode(segment)
        except ValueError:
            raise UrlInvalid from None
        head, sealed = raw[: _VERSION_BYTES + _SALT_BYTES], raw[_VERSION_BYTES + _SALT_BYTES :]
        if len(sealed) < _TAG_BYTES or int.from_bytes(head[:_VERSION_BYTES], "big") not in self._keys:
            raise UrlInvalid
        try:
            return _decoder.decode(self._cipher(head).decrypt(_NONCE, sealed, _LABEL + head))
        except (InvalidTag, msgspec.DecodeError):
            raise UrlInvalid from None

    def _cipher(self, head: bytes) -> AESGCM:
        version, salt = int.from_bytes(head[:_VERSION_BYTES], "big"), head[_VERSION_BYTES:]
        return AESGCM(derive_key(self._keys[version], info=_LABEL + b"\0" + salt))

    def __repr__(self) -> str:
        return f"UrlKeys(versions={tuple(self._keys)}, current={self.current})"

    def __reduce__(self) -> str:
        raise TypeError("URL keys are not to be pickled")
