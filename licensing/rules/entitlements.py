"""Which features a customer has: the tier's grant, under the customer's override, under a temporary grant."""

import msgspec

from licensing.rules.snapshot import Catalogue, CustomerSnapshot, Plugin, Value


class Entitled(msgspec.Struct, frozen=True, gc=False):
    """One feature as one customer has it at one instant.

    `origin` is `tier`, `override` or `temporary`, with `origin_id` (the tier's name, or the entitlement's id) and
    `source` (why it was given). `until` is the instant a temporary grant ends, else None.
    """

    feature: str
    value: Value
    origin: str
    origin_id: str
    source: str = ""
    until: float | None = None

    @property
    def is_granted(self) -> bool:
        """Whether the feature is on: any value but false (0 and "" are values of their own)."""
        return self.value is not False


def entitlements(customer: CustomerSnapshot, catalogue: Catalogue, now: float) -> dict[str, Entitled]:
    """Every feature that any layer speaks of, by code, as it stands at `now`; refused ones included.

    A temporary grant holds from `starts_at` until before `ends_at`; of several, the one that started last wins.
    """
    found: dict[str, Entitled] = {}
    tier = catalogue.tiers.get(customer.subscription.tier) if customer.subscription else None
    if tier is not None:
        for feature, value in tier.grants.items():
            found[feature] = Entitled(feature, value, "tier", tier.name)
    for override in customer.overrides or ():
        found[override.feature] = Entitled(override.feature, override.value, "override", override.id, override.source)
    for grant in sorted(customer.grants or (), key=lambda each: (each.starts_at, each.id)):
        if grant.starts_at <= now < grant.ends_at:
            found[grant.feature] = Entitled(
                grant.feature, grant.value, "temporary", grant.id, grant.source, grant.ends_at
            )
    return found


def features_for_plugin(
    customer: CustomerSnapshot, catalogue: Catalogue, plugin: Plugin, now: float
) -> dict[str, Entitled]:
    """The granted features that `plugin` knows, in the order in which it lists them.

    A plugin learns of no feature but its own; one that lists none is told of all.
    """
    granted = {code: each for code, each in entitlements(customer, catalogue, now).items() if each.is_granted}
    if not plugin.features:
        return dict(sorted(granted.items()))
    return {code: granted[code] for code in plugin.features if code in granted}


def next_change(customer: CustomerSnapshot, now: float) -> float | None:
    """The next instant at which a temporary grant starts or ends, or None."""
    instants = [
        instant for grant in customer.grants or () for instant in (grant.starts_at, grant.ends_at) if instant > now
    ]
    return min(instants, default=None)
