"""`plugin.crt`: PEM certificates, one after the other, and not a byte beside them."""

import base64
import binascii
import re
from collections.abc import Iterable

_LINE = 64
_BEGIN, _END = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
_BLOCK = re.compile(rf"{_BEGIN}([A-Za-z0-9+/=\n]+){_END}")
_MOST = 8


def write_chain(certificates: Iterable[bytes]) -> bytes:
    """DER certificates in PEM with lines of 64 characters."""
    return "".join(_block(der) for der in certificates).encode("ascii")


def read_chain(text: bytes) -> list[bytes] | None:
    """The DER certificates of a text that is exactly what `write_chain` writes; None for any other.

    PEM readers skip what they do not know, and a byte that is skipped is a byte that can be changed unseen.
    """
    try:
        blocks = [
            base64.b64decode(match[1].replace("\n", ""), validate=True)
            for match in _BLOCK.finditer(text.decode("ascii"))
        ]
    except (UnicodeDecodeError, binascii.Error):
        return None
    return blocks if 0 < len(blocks) <= _MOST and write_chain(blocks) == text else None


def _block(der: bytes) -> str:
    encoded = base64.b64encode(der).decode("ascii")
    lines = [encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)]
    return _BEGIN + "".join(f"{line}\n" for line in lines) + _END
