"""Scoped reads for views: the only way they fetch. What is not there, or another customer's, is `NotFound`.

`lock` takes the row's lock, for a write that first holds If-Match against the present state.
"""

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet

from accounts.selectors import one
from licensing.models import (
    Entitlement,
    Feature,
    Installation,
    Plugin,
    PluginAccess,
    PluginManifest,
    Quarantine,
    SigningKey,
    Subscription,
    Tier,
)


def tiers() -> QuerySet[Tier]:
    """All tiers, with what they grant."""
    return Tier.objects.prefetch_related("grants")


def tier(name: str, *, lock: bool = False) -> Tier:
    """One tier. Raises `NotFound`."""
    return one(tiers().filter(pk=name), lock=lock)


def feature(code: str, *, lock: bool = False) -> Feature:
    """One feature. Raises `NotFound`."""
    return one(Feature.objects.filter(pk=code), lock=lock)


def plugins() -> QuerySet[Plugin]:
    """All plugins, with `listed_features` in their vendor's order and `allowed_customers`."""
    listed = Plugin.features.through.objects.filter(plugin_id=OuterRef("pk")).order_by("pk")
    allowed = PluginAccess.objects.filter(plugin_id=OuterRef("pk")).order_by("customer_id")
    return Plugin.objects.annotate(
        listed_features=ArraySubquery(listed.values("feature_id")),
        allowed_customers=ArraySubquery(allowed.values("customer_id")),
    )


def plugin(name: str, *, lock: bool = False) -> Plugin:
    """One plugin. Raises `NotFound`."""
    return one(plugins().filter(pk=name), lock=lock)


def manifest(plugin_name: str, version: str, *, lock: bool = False) -> PluginManifest:
    """The permission manifest of one version. Raises `NotFound`."""
    return one(PluginManifest.objects.filter(plugin_id=plugin_name, version=version), lock=lock)


def subscription(customer_id: str, *, lock: bool = False) -> Subscription | None:
    """A customer's subscription, or None."""
    rows = Subscription.objects.filter(pk=customer_id)
    return (rows.select_for_update() if lock else rows).first()


def entitlements_of(customer_id: str) -> QuerySet[Entitlement]:
    """A customer's overrides and temporary grants."""
    return Entitlement.objects.filter(customer_id=customer_id)


def entitlement(customer_id: str, entitlement_id: str, *, lock: bool = False) -> Entitlement:
    """One entitlement of a customer. Raises `NotFound`."""
    return one(entitlements_of(customer_id).filter(pk=entitlement_id), lock=lock)


def installations_of(customer_id: str) -> QuerySet[Installation]:
    """A customer's installations, released ones included."""
    return Installation.objects.filter(customer_id=customer_id)


def installation(customer_id: str, installation_id: str, *, lock: bool = False) -> Installation:
    """One installation of a customer. Raises `NotFound`."""
    return one(installations_of(customer_id).filter(pk=installation_id), lock=lock)


def quarantines() -> QuerySet[Quarantine]:
    """All quarantines, lifted ones included."""
    return Quarantine.objects.all()


def quarantine_of(plugin_name: str, quarantine_id: str, *, lock: bool = False) -> Quarantine:
    """One quarantine of a plugin. Raises `NotFound`."""
    return one(quarantines().filter(plugin_name=plugin_name, pk=quarantine_id), lock=lock)


def signing_keys() -> QuerySet[SigningKey]:
    """All signing keys, retired ones included; never their private halves."""
    return SigningKey.objects.defer("sealed_private_key")
