"""Reads that pages alone need: counts and sums over one customer's rows, each one statement."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import Count, Q, Sum
from django.utils.translation import gettext as _

from accounts.portal.key_users import KeyUser, KeyUsers
from licensing.core.errors import NotFound
from licensing.models import Installation, Plugin, Quarantine, UsageDay
from licensing.rules.entitlements import Entitled, entitlements
from licensing.rules.pipeline import CUSTOMER_RULES, PLUGIN_RULES, Facts, first_answer, version_served, visible_plugin
from licensing.rules.snapshot import Catalogue, CustomerSnapshot, Tier
from licensing.selectors import load_catalogue, load_customer
from licensing.services.counts import EVENT_PREFIX, REQUEST_PREFIX
from licensing.services.remedies import remedy_for

DAY: Final = timedelta(days=1)
LATE_AFTER: Final = 3
"""Refresh intervals without a word after which an installation counts as late."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a customer has, read for one page: the two snapshots that decisions rest on as well."""

    customer: CustomerSnapshot
    catalogue: Catalogue

    @property
    def tier(self) -> Tier | None:
        """The tier subscribed to."""
        held = self.customer.subscription
        return self.catalogue.tiers.get(held.tier) if held else None

    @property
    def next_tier(self) -> Tier | None:
        """The tier of the next higher rank."""
        tier = self.tier
        higher = [other for other in self.catalogue.tiers.values() if tier is None or other.rank > tier.rank]
        return min(higher, key=lambda other: other.rank, default=None)

    @property
    def installation_limit(self) -> int | None:
        """How many places there are; None for no limit."""
        held = self.customer.subscription
        if held is not None and held.installation_limit is not None:
            return held.installation_limit
        return self.tier.installation_limit if self.tier else 0


@dataclass(frozen=True, slots=True)
class PluginStanding:
    """A plugin as a customer may see it: the verdict the plugin API would give now, and what would change a no."""

    name: str
    description: str
    required_tier: str
    is_private: bool
    valid: bool
    code: str
    detail: str
    remedy: str
    features: list[tuple[str, bool]]


def holding(customer_id: str) -> Holding:
    """Read both snapshots. Raises `NotFound`."""
    customer = load_customer(customer_id)
    if customer is None:
        raise NotFound()
    return Holding(customer, load_catalogue())


def plugin_standings(held: Holding, now: datetime, *, for_customer: bool = True) -> list[PluginStanding]:
    """Every plugin that the customer may know of, by name."""
    described = dict(Plugin.objects.values_list("name", "description"))
    features = entitlements(held.customer, held.catalogue, now.timestamp())
    names = sorted(held.catalogue.plugins)
    return [
        _plugin_standing(held, features, name, described.get(name, ""), now, for_customer)
        for name in names
        if visible_plugin(held.catalogue, held.customer, name)
    ]


def granted_features(held: Holding, now: datetime) -> list[Entitled]:
    """The features that are on, by code."""
    found = entitlements(held.customer, held.catalogue, now.timestamp())
    return [found[code] for code in sorted(found) if found[code].is_granted]


def fleet(customer_id: str, now: datetime) -> dict[str, int]:
    """How the live installations are: all, late ones, silent for a day, possible clones."""
    late = now - timedelta(seconds=LATE_AFTER * settings.REFRESH_INTERVAL_SECONDS)
    day = now - timedelta(days=1)
    return Installation.objects.filter(customer_id=customer_id, released_at=None).aggregate(
        all=Count("pk"),
        fresh=Count("pk", filter=Q(last_seen_at__gt=late)),
        late=Count("pk", filter=Q(last_seen_at__lte=late, last_seen_at__gt=day)),
        silent=Count("pk", filter=Q(last_seen_at__lte=day)),
        clones=Count("pk", filter=Q(possible_clone_at__isnull=False)),
        test=Count("pk", filter=Q(mode="test")),
    )


def versions(customer_id: str, *, at_most: int = 12) -> list[dict[str, Any]]:
    """Which versions run where: plugin, version, how many, the most common first."""
    rows = Installation.objects.filter(customer_id=customer_id, released_at=None).values("plugin_id", "version")
    counted = rows.annotate(count=Count("pk")).order_by("-count", "plugin_id", "version")[:at_most]
    return [dict(row) for row in counted]


def usage_by_day(customer_id: str, *, since: date, until: date, prefix: str) -> list[tuple[date, int]]:
    """Sums of each day from `since` to `until`, both included; days without any are 0."""
    rows = UsageDay.objects.filter(customer_id=customer_id, day__gte=since, day__lte=until, measure__startswith=prefix)
    sums = dict(rows.values("day").annotate(sum=Sum("count")).values_list("day", "sum"))
    days = (until - since).days + 1
    return [(day, int(sums.get(day, 0))) for day in (since + timedelta(days=index) for index in range(days))]


def usage_by_plugin(customer_id: str, *, since: date, until: date) -> list[dict[str, Any]]:
    """Sums by plugin and measure, the largest first."""
    rows = UsageDay.objects.filter(customer_id=customer_id, day__gte=since, day__lte=until)
    found = rows.values("plugin_name", "measure").annotate(sum=Sum("count")).order_by("-sum", "plugin_name", "measure")
    return [{**row, **measure_words(row["measure"])} for row in found[:200]]


def events_today(customer_id: str, now: datetime) -> dict[str, int]:
    """Events of this day (UTC) by plugin."""
    rows = UsageDay.objects.filter(
        customer_id=customer_id, day=now.astimezone(UTC).date(), measure__startswith=EVENT_PREFIX
    )
    return {name: int(total) for name, total in rows.values_list("plugin_name").annotate(Sum("count"))}


def measure_words(measure: str) -> dict[str, str]:
    """What a measure counts: its kind in words, and the feature or endpoint."""
    if measure.startswith(EVENT_PREFIX):
        return {"kind": _("events"), "what": measure.removeprefix(EVENT_PREFIX)}
    return {"kind": _("requests"), "what": measure.removeprefix(REQUEST_PREFIX)}


def quarantined_installations(customer_id: str) -> set[str]:
    """The ids of the customer's installations that are in quarantine."""
    rows = Quarantine.objects.filter(customer_id=customer_id, scope=Quarantine.Scope.INSTALLATION, lifted_at=None)
    return set(rows.values_list("target", flat=True))


def users_of_key(customer_id: str, key_id: str) -> KeyUsers:
    """The installations that last authenticated with a key."""
    rows = Installation.objects.filter(customer_id=customer_id, api_key_id=key_id, released_at=None)
    latest = rows.order_by("-last_seen_at")[:20].values_list("id", "plugin_id", "hostname", "last_seen_at")
    return KeyUsers(rows.count(), [KeyUser(*row) for row in latest])


def _plugin_standing(
    held: Holding, features: dict[str, Entitled], name: str, description: str, now: datetime, for_customer: bool
) -> PluginStanding:
    facts = Facts(
        now=now.timestamp(),
        catalogue=held.catalogue,
        customer=held.customer,
        key=None,
        plugin_name=name,
        plugin_version="",
        source_address="",
        grace_seconds=settings.GRACE_SECONDS,
    )
    # Without a version nothing can be said about versions.
    rules = (*CUSTOMER_RULES, *(rule for rule in PLUGIN_RULES if rule is not version_served))
    verdict = first_answer(rules, facts)
    plugin = held.catalogue.plugins[name]
    return PluginStanding(
        name=name,
        description=description,
        required_tier=plugin.required_tier,
        is_private=plugin.is_private,
        valid=verdict.valid,
        code=verdict.code,
        detail=verdict.detail,
        remedy=remedy_for(verdict.code, for_customer=for_customer),
        features=[(code, code in features and features[code].is_granted) for code in plugin.features],
    )
