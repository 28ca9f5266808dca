"""Identifiers: a readable prefix, then 26 characters that sort by the time they were made."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base32: no i, l, o, u to misread
_TIME_CHARACTERS = 10
_RANDOM_CHARACTERS = 16


def new_id(prefix: str) -> str:
    """Return `<prefix>_` and 26 base32 characters: 48 bits of Unix milliseconds, then 80 random bits.

    Ids sort by the millisecond they were made in, which keeps index pages warm; they are not secrets, and
    nothing may rely on their order across machines. (Shape after the ULID specification.)
    """
    milliseconds = time.time_ns() // 1_000_000
    return f"{prefix}_{_encode(milliseconds, _TIME_CHARACTERS)}{_encode(secrets.randbits(80), _RANDOM_CHARACTERS)}"


def _encode(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
