"""Snapshots for rule tests: a catalogue and a customer that may do everything, with what a test changes."""

from typing import Any, Final

from licensing.rules.pipeline import Facts
from licensing.rules.snapshot import Catalogue, CustomerSnapshot, Key, Plugin, Subscription, Tier

NOW: Final = 1_750_000_000.0
DAY: Final = 86400


def tier(name: str, rank: int, **changes: Any) -> Tier:
    """A tier that grants `basic`."""
    fields = {"requests_per_minute": 60, "events_per_day": 1000, "installation_limit": 3, "grants": {"basic": True}}
    return Tier(name=name, rank=rank, **(fields | changes))


def plugin(name: str = "tool", **changes: Any) -> Plugin:
    """A public plugin for the tier Low."""
    fields: dict[str, Any] = {
        "required_tier": "Low",
        "features": ("basic", "extra"),
        "is_private": False,
        "accepts_unsigned": False,
        "installation_required": False,
        "proof_required": False,
        "lease_seconds": 3600,
        "minimum_version": "",
        "blocked_versions": (),
        "rate_limit": None,
        "quota": None,
        "manifests": {},
    }
    return Plugin(name=name, **(fields | changes))


def catalogue(*plugins: Plugin, **changes: Any) -> Catalogue:
    """The tiers Low, Middle and High, and the plugins named (one, if none is)."""
    tiers = {
        "Low": tier("Low", 10),
        "Middle": tier("Middle", 20, grants={"basic": True, "extra": 5}),
        "High": tier("High", 30, grants={"basic": True, "extra": 50, "special": "yes"}),
    }
    fields: dict[str, Any] = {
        "is_locked_down": False,
        "tiers": tiers,
        "features": {"basic": "bool", "extra": "int", "special": "str"},
        "plugins": {each.name: each for each in plugins or (plugin(),)},
        "quarantines": (),
        "quarantined_builds": frozenset(),
        "signing_keys": (),
        "key_set_kids": (),
    }
    return Catalogue(**(fields | changes))


def key(**changes: Any) -> Key:
    """A live key that may authenticate."""
    fields: dict[str, Any] = {
        "id": "key_1",
        "digest": b"d" * 32,
        "mode": "live",
        "scopes": frozenset({"plugins:authenticate"}),
        "cidrs": None,
        "expires_at": None,
        "is_revoked": False,
    }
    return Key(**(fields | changes))


def subscription(**changes: Any) -> Subscription:
    """Middle, active, paid for thirty days from now."""
    fields: dict[str, Any] = {
        "tier": "Middle",
        "status": "active",
        "period_end": NOW + 30 * DAY,
        "grace_until": None,
        "installation_limit": None,
    }
    return Subscription(**(fields | changes))


def customer(**changes: Any) -> CustomerSnapshot:
    """A customer with that subscription and that key."""
    fields: dict[str, Any] = {
        "id": "cust_1",
        "name": "One",
        "is_suspended": False,
        "proof_required": False,
        "subscription": subscription(),
        "keys": (key(),),
        "overrides": None,
        "grants": None,
        "allowed_plugins": None,
        "quarantines": None,
        "generations": None,
    }
    return CustomerSnapshot(**(fields | changes))


def facts(**changes: Any) -> Facts:
    """A request for the plugin `tool` that nothing is wrong with."""
    fields: dict[str, Any] = {
        "now": NOW,
        "catalogue": catalogue(),
        "customer": customer(),
        "key": key(),
        "plugin_name": "tool",
        "plugin_version": "1.2.3",
        "source_address": "203.0.113.7",
        "claimed_customers": ("cust_1",),
    }
    return Facts(**(fields | changes))
