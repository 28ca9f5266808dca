"""What a positive verdict grants: tier, features, permissions and limits, as tokens and answers state them."""

from typing import Any

import msgspec

from licensing.rules.entitlements import Entitled, features_for_plugin
from licensing.rules.pipeline import Facts
from licensing.rules.snapshot import Plugin, Tier


class Grant(msgspec.Struct, frozen=True, gc=False):
    """What one plugin of one customer may do at one instant.

    `features` in the plugin's own order, and `feature_codes` their codes alone; `permissions` is the seed's
    `plugin_permissions`.
    """

    tier: str
    features: tuple[Entitled, ...]
    feature_codes: tuple[str, ...]
    permissions: dict[str, dict[str, Any]]
    requests_per_minute: int
    events_per_day: int
    access_until: float
    grace_until: float | None


def grant_for(facts: Facts) -> Grant:
    """Work out the grant of facts that the rules have let pass."""
    subscription, plugin = facts.customer.subscription, facts.plugin
    if subscription is None or plugin is None:
        raise ValueError("no grant without a subscription and a plugin")
    tier = facts.catalogue.tiers[subscription.tier]
    entitled = features_for_plugin(facts.customer, facts.catalogue, plugin, facts.now)
    features = tuple(entitled.values())
    standing = facts.standing
    return Grant(
        tier=tier.name,
        features=features,
        feature_codes=tuple(entitled),
        permissions={plugin.name: _permission(facts, plugin, tier, features)},
        requests_per_minute=tier.requests_per_minute if plugin.rate_limit is None else plugin.rate_limit,
        events_per_day=tier.events_per_day if plugin.quota is None else plugin.quota,
        access_until=standing.access_until,
        grace_until=standing.grace_until,
    )


def _permission(facts: Facts, plugin: Plugin, tier: Tier, features: tuple[Entitled, ...]) -> dict[str, Any]:
    permission: dict[str, Any] = {
        "allowed": True,
        "rate_limit": tier.requests_per_minute if plugin.rate_limit is None else plugin.rate_limit,
        "quota": tier.events_per_day if plugin.quota is None else plugin.quota,
    }
    values = {each.feature: each.value for each in features if each.value is not True}
    if values:
        permission["feature_values"] = values
    manifest = plugin.manifests.get(facts.plugin_version)
    if manifest:
        permission["permissions"] = manifest.get("short", [])
    return permission
