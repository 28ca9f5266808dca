"""API keys: their format, and the three values that are kept instead of them.

A key is `<prefix>_` + 30 random base62 characters + 6 base62 characters of CRC32 over all that precedes.
The checksum answers a typo or a scanner without a lookup; it is no security. The 178 random bits are why
a plain SHA-256 and an HMAC are enough to store: there is nothing to guess, so nothing to slow down.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field

from licensing.crypto.derivation import derive_key

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_CHARS = 30
CHECKSUM_CHARS = 6
_TAIL_CHARS = RANDOM_CHARS + CHECKSUM_CHARS
_MAX_PREFIX_CHARS = 32
_PREFIX = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_TAIL = re.compile(rf"[0-9A-Za-z]{{{_TAIL_CHARS}}}")
_KEY_ROOT_INFO = b"keywright/key-root/v1"


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A text that has the form of a key. Whether it opens anything is for the database to say."""

    prefix: str
    text: str = field(repr=False)
    last4: str


def generate_key(prefix: str) -> str:
    """Make a new key under a prefix such as `km_live` (written without the underscore that follows it).

    Raises:
        ValueError: the prefix is not lower-case words joined by single underscores, of at most 32 characters.
    """
    if len(prefix) > _MAX_PREFIX_CHARS or not _PREFIX.fullmatch(prefix):
        raise ValueError("a key prefix is lower-case letters and digits in words joined by underscores")
    body = f"{prefix}_" + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARS))
    return body + _checksum(body)


def parse_key(text: str, prefixes: Collection[str]) -> ParsedKey | None:
    """Recognise a key by length, prefix, alphabet and checksum; None for anything else.

    `prefixes` are those that are acceptable here, without the trailing underscore. Cheap for hostile
    input of any length. Nothing here is secret-dependent in a way that helps: the checksum is public
    arithmetic on the input.
    """
    if not _TAIL_CHARS < len(text) <= _MAX_PREFIX_CHARS + 1 + _TAIL_CHARS:
        return None
    head, tail = text[:-_TAIL_CHARS], text[-_TAIL_CHARS:]
    if not head.endswith("_") or head[:-1] not in prefixes or not _TAIL.fullmatch(tail):
        return None
    # A prefix comes from the caller's own list, so after these checks the whole text is ASCII.
    if _checksum(text[:-CHECKSUM_CHARS]) != text[-CHECKSUM_CHARS:]:
        return None
    return ParsedKey(prefix=head[:-1], text=text, last4=text[-4:])


def fingerprint(key: str) -> bytes:
    """SHA-256 of the key, 32 bytes: what builds embed and what peppers are applied to."""
    return hashlib.sha256(_ascii(key)).digest()


def digest(pepper: bytes, key_fingerprint: bytes) -> bytes:
    """HMAC-SHA-256(pepper, fingerprint), 32 bytes: what the database looks a key up by."""
    return hmac.digest(pepper, key_fingerprint, "sha256")


def key_root(key: str) -> bytes:
    """HKDF-SHA-256(key, info="keywright/key-root/v1"), 32 bytes: the root of build key slots."""
    return derive_key(_ascii(key), info=_KEY_ROOT_INFO)


def _checksum(body: str) -> str:
    number = zlib.crc32(_ascii(body))
    chars = []
    for _ in range(CHECKSUM_CHARS):
        number, remainder = divmod(number, len(ALPHABET))
        chars.append(ALPHABET[remainder])
    return "".join(reversed(chars))


def _ascii(text: str) -> bytes:
    # UnicodeEncodeError carries the whole text in its arguments, and so into any log of them.
    if not text.isascii():
        raise ValueError("an API key is ASCII")
    return text.encode("ascii")
