"""What a key leaves behind when it is stored: a keyed digest to find it by, and sealed remains (DESIGN §4)."""

from typing import Any, Final

from django.conf import settings

from accounts.keyrings import peppers, ring
from licensing.crypto import keys

MFA_IDENTITY: Final = "mfa_authenticator.data"
"""What a second factor's sealed secret is bound to."""


def live_prefix(mode: str) -> str:
    """The prefix of customers' keys of a mode, such as `km_live`."""
    return f"{settings.API_KEY_PREFIX}_{mode}"


def operator_prefix() -> str:
    """The prefix of operators' keys, such as `kmop`."""
    return f"{settings.API_KEY_PREFIX}op"


def known_prefixes() -> tuple[str, ...]:
    """The prefixes of customers' keys."""
    return (live_prefix("live"), live_prefix("test"))


def stored_material(key: str, *, table: str, row_id: str) -> dict[str, Any]:
    """The columns that every kind of key has; nothing in them opens anything without the server's own secrets."""
    fingerprint = keys.fingerprint(key)
    version, digest = peppers().digest(fingerprint)
    return {
        "digest": digest,
        "pepper_version": version,
        "last4": key[-4:],
        "sealed_fingerprint": ring("auth").seal(fingerprint, identity=fingerprint_identity(table, row_id)),
    }


def sealed_root(key: str, *, row_id: str) -> bytes:
    """The sealed key root, by which build secrets are sealed for the holder of the key."""
    return ring("auth").seal(keys.key_root(key), identity=root_identity(row_id))


def fingerprint_identity(table: str, row_id: str) -> str:
    """What a key's sealed fingerprint is bound to."""
    return f"{table}.fingerprint:{row_id}"


def root_identity(row_id: str) -> str:
    """What an API key's sealed root is bound to."""
    return f"api_key.root:{row_id}"
