"""The codes of verdicts: public contract, one page each under docs/errors/, never renamed (DESIGN §5)."""

from typing import Final

import msgspec

API_KEY_INVALID: Final = "API_KEY_INVALID"
API_KEY_EXPIRED: Final = "API_KEY_EXPIRED"
API_KEY_REVOKED: Final = "API_KEY_REVOKED"
SCOPE_MISSING: Final = "SCOPE_MISSING"
IP_NOT_ALLOWED: Final = "IP_NOT_ALLOWED"
RATE_LIMITED: Final = "RATE_LIMITED"
TOKEN_INVALID: Final = "TOKEN_INVALID"  # noqa: S105
TOKEN_EXPIRED: Final = "TOKEN_EXPIRED"  # noqa: S105
TOKEN_REVOKED: Final = "TOKEN_REVOKED"  # noqa: S105
PLUGIN_MISMATCH: Final = "PLUGIN_MISMATCH"
REAUTHENTICATION_DUE: Final = "REAUTHENTICATION_DUE"
LOCKDOWN: Final = "LOCKDOWN"
CUSTOMER_MISMATCH: Final = "CUSTOMER_MISMATCH"
CUSTOMER_SUSPENDED: Final = "CUSTOMER_SUSPENDED"
SUBSCRIPTION_NONE: Final = "SUBSCRIPTION_NONE"
SUBSCRIPTION_EXPIRED: Final = "SUBSCRIPTION_EXPIRED"
SUBSCRIPTION_PAUSED: Final = "SUBSCRIPTION_PAUSED"
PLUGIN_UNKNOWN: Final = "PLUGIN_UNKNOWN"
PLUGIN_QUARANTINED: Final = "PLUGIN_QUARANTINED"
BUILD_UNKNOWN: Final = "BUILD_UNKNOWN"
BUILD_QUARANTINED: Final = "BUILD_QUARANTINED"
BUILD_EXPIRED: Final = "BUILD_EXPIRED"
VERSION_BLOCKED: Final = "VERSION_BLOCKED"
TIER_TOO_LOW: Final = "TIER_TOO_LOW"
PROOF_REQUIRED: Final = "PROOF_REQUIRED"
PROOF_INVALID: Final = "PROOF_INVALID"
PROOF_REPLAYED: Final = "PROOF_REPLAYED"
INSTALLATION_QUARANTINED: Final = "INSTALLATION_QUARANTINED"
INSTALLATION_LIMIT_REACHED: Final = "INSTALLATION_LIMIT_REACHED"
QUOTA_EXCEEDED: Final = "QUOTA_EXCEEDED"
ENTITLEMENTS_CHANGED: Final = "ENTITLEMENTS_CHANGED"
VALID: Final = "VALID"

DETAILS: Final[dict[str, str]] = {
    API_KEY_INVALID: "The API key is missing or no good.",
    API_KEY_EXPIRED: "The API key has expired.",
    API_KEY_REVOKED: "The API key has been revoked.",
    SCOPE_MISSING: "The API key lacks the scope for this.",
    IP_NOT_ALLOWED: "The API key may not be used from this address.",
    RATE_LIMITED: "Too many requests; ask again later.",
    TOKEN_INVALID: "The token is not one that this server issued for this use.",
    TOKEN_EXPIRED: "The token has expired.",
    TOKEN_REVOKED: "The token has been revoked.",
    PLUGIN_MISMATCH: "The token is for another plugin.",
    REAUTHENTICATION_DUE: "It is time to authenticate with the API key again.",
    LOCKDOWN: "The vendor has locked all access for now.",
    CUSTOMER_MISMATCH: "The credential is not one of that customer.",
    CUSTOMER_SUSPENDED: "The customer is suspended.",
    SUBSCRIPTION_NONE: "The customer has no subscription.",
    SUBSCRIPTION_EXPIRED: "The subscription has ended.",
    SUBSCRIPTION_PAUSED: "The subscription is paused.",
    PLUGIN_UNKNOWN: "There is no such plugin.",
    PLUGIN_QUARANTINED: "The plugin, or this version of it, is quarantined.",
    BUILD_UNKNOWN: "The plugin's signature is not one issued to this customer for this plugin and version.",
    BUILD_QUARANTINED: "This build is quarantined.",
    BUILD_EXPIRED: "This build is no longer valid; download a newer one.",
    VERSION_BLOCKED: "This version is no longer served; update the plugin.",
    TIER_TOO_LOW: "The subscription's tier does not include this plugin.",
    PROOF_REQUIRED: "The request must prove which build it comes from.",
    PROOF_INVALID: "The request's proof does not hold.",
    PROOF_REPLAYED: "The request's proof has been used before.",
    INSTALLATION_QUARANTINED: "This installation is quarantined.",
    INSTALLATION_LIMIT_REACHED: "Every installation the subscription allows is in use; release one first.",
    QUOTA_EXCEEDED: "The day's quota is used up.",
    ENTITLEMENTS_CHANGED: "What the customer may use has changed; refresh to get a new token.",
    VALID: "",
}


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The answer of the rules. A negative one is an answer, not an error.

    `server_time` (Unix seconds) is told where the caller's clock is at fault.
    """

    valid: bool
    code: str
    detail: str = ""
    server_time: int | None = None


def allow(code: str = VALID) -> Verdict:
    """A positive verdict."""
    return Verdict(True, code, DETAILS[code])


def deny(code: str, detail: str = "") -> Verdict:
    """A negative verdict; `detail` replaces the code's usual sentence."""
    return Verdict(False, code, detail or DETAILS[code])
