"""What would turn a no into a yes, in words: for the vendor's operators, and for the customer."""

from typing import Final

from licensing.rules import codes

_FOR_OPERATORS: Final[dict[str, str]] = {
    codes.LOCKDOWN: "End the lockdown (DELETE /api/manage/lockdown).",
    codes.CUSTOMER_SUSPENDED: "Resume the customer, or lift the quarantine that names it.",
    codes.SUBSCRIPTION_NONE: "Give the customer a subscription.",
    codes.SUBSCRIPTION_EXPIRED: "Renew the subscription: set a later period_end, or a later grace_until.",
    codes.SUBSCRIPTION_PAUSED: "Set the subscription's status to active.",
    codes.PLUGIN_UNKNOWN: "Check the name; a private plugin needs the customer in its allowed_customers.",
    codes.PLUGIN_QUARANTINED: "Lift the quarantine of the plugin or version.",
    codes.VERSION_BLOCKED: "Have the customer update, or take the version from blocked_versions or minimum_version.",
    codes.TIER_TOO_LOW: "Give the customer a tier of at least the plugin's required_tier.",
}
_FOR_CUSTOMERS: Final[dict[str, str]] = {
    codes.LOCKDOWN: "The vendor has locked all access for now; it will be back.",
    codes.CUSTOMER_SUSPENDED: "Ask the vendor why your account is suspended.",
    codes.SUBSCRIPTION_NONE: "Subscribe with the vendor.",
    codes.SUBSCRIPTION_EXPIRED: "Renew the subscription.",
    codes.SUBSCRIPTION_PAUSED: "Resume the subscription.",
    codes.PLUGIN_UNKNOWN: "Check the name.",
    codes.PLUGIN_QUARANTINED: "Wait for the vendor's word, or update to another version.",
    codes.VERSION_BLOCKED: "Update the plugin.",
    codes.TIER_TOO_LOW: "Change to a higher tier.",
}


def remedy_for(code: str, *, for_customer: bool = False) -> str:
    """What would change a verdict of this code; empty where nothing needs to change."""
    return (_FOR_CUSTOMERS if for_customer else _FOR_OPERATORS).get(code, "")
