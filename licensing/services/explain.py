"""Why a customer has a feature or not, and what the plugin API would answer now.

Nothing is decided here: the verdict is that of `licensing.rules.pipeline`, the feature's layers those of
`licensing.rules.entitlements`, asked once as things are and once without the layer that decides.
"""

from datetime import datetime
from typing import Any

import msgspec
from django.conf import settings

from licensing.core.clock import from_epoch, rfc3339
from licensing.rules.entitlements import Entitled, entitlements, next_change
from licensing.rules.pipeline import CUSTOMER_RULES, PLUGIN_RULES, Facts, first_answer, version_served
from licensing.rules.snapshot import Catalogue, CustomerSnapshot, Value
from licensing.rules.subscription import standing
from licensing.services.installations import places_taken
from licensing.services.remedies import remedy_for
from licensing.services.state import State


class LayerShown(msgspec.Struct, kw_only=True):
    """One thing that speaks of a feature: the tier's grant, the customer's override, or a temporary grant."""

    kind: str
    id: str
    value: Value
    source: str
    starts_at: datetime | None
    ends_at: datetime | None
    is_in_force: bool
    decides: bool


class DecidedShown(msgspec.Struct, kw_only=True):
    """What a feature comes to. `decided_by` is tier, override, temporary or nothing."""

    is_granted: bool
    value: Value | None
    decided_by: str
    until: datetime | None


class FeatureExplained(DecidedShown, kw_only=True):
    """A feature: what decides, what would be without that, and everything that speaks of it."""

    feature: str
    id: str
    source: str
    otherwise: DecidedShown
    layers: list[LayerShown]
    next_change_at: datetime | None
    is_known_to_plugin: bool | None
    explanation: str


class VerdictShown(msgspec.Struct, kw_only=True):
    """A verdict of the rules."""

    valid: bool
    code: str
    detail: str


class PlacesShown(msgspec.Struct, kw_only=True):
    """Live installations: places taken, and how many there are; null for no limit."""

    taken: int
    limit: int | None


class PluginExplained(msgspec.Struct, kw_only=True):
    """A plugin: the verdict that the plugin API would give now, and what would change a no."""

    plugin: str
    version: str | None
    verdict: VerdictShown
    remedy: str
    required_tier: str | None
    installations: PlacesShown


class SubscriptionExplained(msgspec.Struct, kw_only=True):
    """How the subscription stands."""

    tier: str | None
    status: str | None
    is_active: bool
    code: str
    access_until: datetime | None
    grace_until: datetime | None


class ExplanationShown(msgspec.Struct, kw_only=True):
    """The whole answer; `summary` says it in words."""

    customer_id: str
    at: datetime
    subscription: SubscriptionExplained
    plugin: PluginExplained | None
    feature: FeatureExplained | None
    summary: list[str]


def explain(
    *,
    customer: CustomerSnapshot,
    state: State,
    now: float,
    plugin: str = "",
    version: str = "",
    feature: str = "",
    for_customer: bool = False,
) -> ExplanationShown:
    """Explain a plugin, a feature, or both, at `now` (Unix seconds).

    `for_customer` leaves out how the vendor would change a no.
    """
    catalogue = state.catalogue()
    subscription = _subscription(customer, now)
    explained = _plugin(customer, catalogue, plugin, version, now, for_customer=for_customer) if plugin else None
    about = _feature(customer, catalogue, feature, plugin, now) if feature else None
    summary = [_subscription_words(subscription)]
    if explained is not None:
        summary.append(_plugin_words(explained))
    if about is not None:
        summary.append(about.explanation)
    return ExplanationShown(
        customer_id=customer.id,
        at=from_epoch(now),
        subscription=subscription,
        plugin=explained,
        feature=about,
        summary=summary,
    )


def _subscription(customer: CustomerSnapshot, now: float) -> SubscriptionExplained:
    held = customer.subscription
    stands = standing(held, now, grace_seconds=settings.GRACE_SECONDS)
    return SubscriptionExplained(
        tier=held.tier if held else None,
        status=held.status if held else None,
        is_active=stands.is_active,
        code=stands.code,
        access_until=from_epoch(stands.access_until) if stands.access_until else None,
        grace_until=_instant(stands.grace_until),
    )


def _plugin(
    customer: CustomerSnapshot, catalogue: Catalogue, name: str, version: str, now: float, *, for_customer: bool
) -> PluginExplained:
    facts = Facts(
        now=now,
        catalogue=catalogue,
        customer=customer,
        key=None,
        plugin_name=name,
        plugin_version=version,
        source_address="",
        grace_seconds=settings.GRACE_SECONDS,
    )
    # Without a version nothing can be said about versions.
    rules = (*CUSTOMER_RULES, *(rule for rule in PLUGIN_RULES if version or rule is not version_served))
    verdict = first_answer(rules, facts)
    visible = facts.plugin
    return PluginExplained(
        plugin=name,
        version=version or None,
        verdict=VerdictShown(valid=verdict.valid, code=verdict.code, detail=verdict.detail),
        remedy=remedy_for(verdict.code, for_customer=for_customer),
        required_tier=visible.required_tier if visible else None,
        installations=_places(customer, catalogue, now),
    )


def _places(customer: CustomerSnapshot, catalogue: Catalogue, now: float) -> PlacesShown:
    held = customer.subscription
    limit = None
    if held is not None:
        tier = catalogue.tiers.get(held.tier)
        limit = held.installation_limit
        if limit is None and tier is not None:
            limit = tier.installation_limit
    return PlacesShown(taken=places_taken(customer.id, "live", from_epoch(now)), limit=limit)


def _feature(
    customer: CustomerSnapshot, catalogue: Catalogue, code: str, plugin_name: str, now: float
) -> FeatureExplained:
    decided = entitlements(customer, catalogue, now).get(code)
    without = entitlements(_without(customer, decided), _without_tier(catalogue, decided), now).get(code)
    plugin = catalogue.plugins.get(plugin_name)
    is_known = None if plugin is None else not plugin.features or code in plugin.features
    alone = msgspec.structs.replace(
        customer, grants=tuple(grant for grant in customer.grants or () if grant.feature == code)
    )
    explained = FeatureExplained(
        **_decided(decided),
        feature=code,
        id=decided.origin_id if decided else "",
        source=decided.source if decided else "",
        otherwise=DecidedShown(**_decided(without)),
        layers=_layers(customer, catalogue, code, decided, now),
        next_change_at=_instant(next_change(alone, now)),
        is_known_to_plugin=is_known,
        explanation="",
    )
    explained.explanation = _feature_words(explained, is_known_feature=code in catalogue.features)
    return explained


def _decided(entitled: Entitled | None) -> dict[str, Any]:
    if entitled is None:
        return {"is_granted": False, "value": None, "decided_by": "nothing", "until": None}
    return {
        "is_granted": entitled.is_granted,
        "value": entitled.value,
        "decided_by": entitled.origin,
        "until": _instant(entitled.until),
    }


def _without(customer: CustomerSnapshot, decided: Entitled | None) -> CustomerSnapshot:
    """The customer as it would be without the override or grant that decides."""
    gone = decided.origin_id if decided else ""
    return msgspec.structs.replace(
        customer,
        overrides=tuple(each for each in customer.overrides or () if each.id != gone),
        grants=tuple(each for each in customer.grants or () if each.id != gone),
    )


def _without_tier(catalogue: Catalogue, decided: Entitled | None) -> Catalogue:
    """The catalogue as it would be if the tier did not grant what it decides."""
    if decided is None or decided.origin != "tier":
        return catalogue
    tier = catalogue.tiers[decided.origin_id]
    grants = {code: value for code, value in tier.grants.items() if code != decided.feature}
    reduced = msgspec.structs.replace(tier, grants=grants)
    return msgspec.structs.replace(catalogue, tiers={**catalogue.tiers, tier.name: reduced})


def _layers(
    customer: CustomerSnapshot, catalogue: Catalogue, code: str, decided: Entitled | None, now: float
) -> list[LayerShown]:
    decider = (decided.origin, decided.origin_id) if decided else ("", "")
    found = []
    tier = catalogue.tiers.get(customer.subscription.tier) if customer.subscription else None
    if tier is not None and code in tier.grants:
        found.append(_layer("tier", tier.name, tier.grants[code], "", decider))
    for override in customer.overrides or ():
        if override.feature == code:
            found.append(_layer("override", override.id, override.value, override.source, decider))
    for grant in sorted(customer.grants or (), key=lambda each: (each.starts_at, each.id)):
        if grant.feature == code:
            layer = _layer("temporary", grant.id, grant.value, grant.source, decider)
            layer.starts_at, layer.ends_at = from_epoch(grant.starts_at), from_epoch(grant.ends_at)
            layer.is_in_force = grant.starts_at <= now < grant.ends_at
            found.append(layer)
    return found


def _layer(kind: str, layer_id: str, value: Value, source: str, decider: tuple[str, str]) -> LayerShown:
    return LayerShown(
        kind=kind,
        id=layer_id,
        value=value,
        source=source,
        starts_at=None,
        ends_at=None,
        is_in_force=True,
        decides=(kind, layer_id) == decider,
    )


# -- In words


def _subscription_words(shown: SubscriptionExplained) -> str:
    if shown.tier is None:
        return "There is no subscription."
    if shown.is_active and shown.access_until:
        grace = ", on grace" if shown.grace_until else ""
        return f"The subscription to {shown.tier} is {shown.status}{grace}: access until {rfc3339(shown.access_until)}."
    return f"The subscription to {shown.tier} is {shown.status} and gives no access ({shown.code})."


def _plugin_words(shown: PluginExplained) -> str:
    name = f"{shown.plugin} {shown.version}" if shown.version else shown.plugin
    if shown.verdict.valid:
        places = shown.installations
        full = places.limit is not None and places.taken >= places.limit
        note = (
            f" Every place is taken ({places.taken} of {places.limit}): only known machines are let in." if full else ""
        )
        return f"{name} would be let in now.{note}"
    return f"{name} would be refused now with {shown.verdict.code}: {shown.verdict.detail} {shown.remedy}".strip()


def _feature_words(shown: FeatureExplained, *, is_known_feature: bool) -> str:
    if not is_known_feature:
        return f"There is no feature {shown.feature}."
    if shown.decided_by == "nothing":
        return f"{shown.feature} is off: neither the tier nor anything of the customer's own grants it."
    is_on = "on" if shown.is_granted else "off"
    value = "" if isinstance(shown.value, bool) else f" with the value {shown.value!r}"
    by = {
        "tier": f"the tier {shown.id} grants it",
        "override": f"the customer's override {shown.id} says so",
        "temporary": f"the temporary grant {shown.id} says so",
    }[shown.decided_by]
    source = f" ({shown.source})" if shown.source else ""
    until = f" until {rfc3339(shown.until)}" if shown.until else ""
    otherwise = shown.otherwise
    instead = "on" if otherwise.is_granted else "off"
    without = f" Without that it would be {instead}" + (
        "." if otherwise.decided_by == "nothing" else f", by the {_LAYER_NAMES[otherwise.decided_by]}."
    )
    plugin = (
        " The plugin does not list this feature, and is not told of it." if shown.is_known_to_plugin is False else ""
    )
    return f"{shown.feature} is {is_on}{value}: {by}{source}{until}.{without}{plugin}"


_LAYER_NAMES = {"tier": "tier", "override": "override", "temporary": "other temporary grant"}


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else from_epoch(seconds)
