"""Identifiers: a readable prefix, then 26 characters that sort by the time they were made."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base32: no i, l, o, u to misread
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_TIME_SHIFTS = range(40, -1, -10)  # ten characters, two at a time
_RANDOM_SHIFTS = range(70, -1, -10)  # sixteen


def new_id(prefix: str) -> str:
    """Return `<prefix>_` and 26 base32 characters: 48 bits of Unix milliseconds, then 80 random bits.

    Ids sort by the millisecond they were made in, which keeps index pages warm; they are not secrets, and
    nothing may rely on their order across machines. (Shape after the ULID specification.)
    """
    milliseconds = time.time_ns() // 1_000_000
    return f"{prefix}_{_encode(milliseconds, _TIME_SHIFTS)}{_encode(secrets.randbits(80), _RANDOM_SHIFTS)}"


def _encode(number: int, shifts: range) -> str:
    return "".join([_PAIRS[number >> shift & 0x3FF] for shift in shifts])
