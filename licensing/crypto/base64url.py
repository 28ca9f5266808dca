"""base64url without padding (RFC 7515 §2), where one value has exactly one spelling."""

import base64
import binascii


def encode(raw: bytes) -> str:
    """Encode without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Decode what `encode` writes, and nothing else.

    Padding, white space, foreign characters and non-zero trailing bits are refused: two spellings of one
    token would be two tokens to everything that compares strings.

    Raises:
        ValueError: not canonical; the text is not repeated.
    """
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise ValueError("not base64url") from None
    if encode(raw) != text:
        raise ValueError("not canonical base64url")
    return raw
