"""What the plugin API's requests say, as typed shapes; unknown members are ignored (DESIGN §5)."""

import base64
import binascii
import re
from typing import Annotated

import msgspec

from licensing.core.errors import BadRequest
from licensing.core.json_body import whole

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=whole(r"[A-Za-z0-9][A-Za-z0-9._-]*"))]
Version = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=whole(r"[0-9A-Za-z][0-9A-Za-z.+-]*"))]
CustomerId = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
Label = Annotated[str, msgspec.Meta(max_length=32)]
Nonce = Annotated[str, msgspec.Meta(min_length=8, max_length=128, pattern=whole(r"[A-Za-z0-9._~+/=-]+"))]
Fingerprint = Annotated[str, msgspec.Meta(min_length=8, max_length=128, pattern=whole(r"[\x21-\x7e]+"))]
MetadataValue = Annotated[str, msgspec.Meta(max_length=1024)]

ANONYMOUS_PREFIX = "anonymous:"
_SIGNATURE_BYTES = range(16, 1025)
_HEX = re.compile(r"[0-9a-fA-F]+")


class InstallationAsked(msgspec.Struct, frozen=True):
    """The machine that asks."""

    fingerprint: Fingerprint
    hostname: Annotated[str, msgspec.Meta(max_length=255)] = ""
    os: Label = ""
    arch: Label = ""


class AuthenticateAsked(msgspec.Struct, frozen=True):
    """Body of `POST /api/plugins/authenticate`."""

    plugin_name: Name
    plugin_version: Version
    customer_id: CustomerId
    plugin_signature: Annotated[str, msgspec.Meta(max_length=4096)] | None = None
    metadata: dict[str, MetadataValue] = {}
    installation: InstallationAsked | None = None
    nonce: Nonce | None = None

    def claimed_customers(self) -> tuple[str, ...]:
        """Every customer that the request names."""
        in_metadata = self.metadata.get("customer_id")
        return (self.customer_id,) if in_metadata is None else (self.customer_id, in_metadata)

    def signature_bytes(self) -> bytes | None:
        """The bytes of `plugin.sig`; None if none was sent; empty for text that is neither base64 nor hex."""
        return None if self.plugin_signature is None else decode_signature(self.plugin_signature)

    def check(self) -> None:
        """Refuse a fingerprint in the space that is ours. Raises `BadRequest`."""
        if self.installation and self.installation.fingerprint.startswith(ANONYMOUS_PREFIX):
            raise BadRequest("installation.fingerprint: this prefix is reserved.", field="installation.fingerprint")


class ValidateAsked(msgspec.Struct, frozen=True):
    """Body of `POST /api/plugins/validate`."""

    plugin_name: Name
    plugin_token: Annotated[str, msgspec.Meta(min_length=1, max_length=16384)]


class RefreshAsked(msgspec.Struct, frozen=True):
    """Body of `POST /api/plugins/refresh`, which may be empty."""

    nonce: Nonce | None = None


def decode_signature(text: str) -> bytes:
    """Read a signature in hex, or in base64 of either alphabet; empty for anything else.

    Hex comes first: its digits are base64 digits too, and no signature is that short in base64.
    """
    text = text.strip()
    if _HEX.fullmatch(text) and len(text) % 2 == 0 and len(text) // 2 in _SIGNATURE_BYTES:
        return bytes.fromhex(text)
    try:
        padded = text.replace("-", "+").replace("_", "/").rstrip("=")
        raw = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if len(raw) in _SIGNATURE_BYTES else b""
