"""The first page of an organisation: what it has, how much of it is used, how its fleet is."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from accounts.api.authentication import CURRENT_CUSTOMER
from accounts.portal.access import CustomerRequest, customer_page
from licensing.core.clock import from_epoch
from licensing.core.models import AuditEvent
from licensing.portal import charts, reads
from licensing.rules.subscription import Standing, standing
from licensing.services.counts import REQUEST_PREFIX
from licensing.services.installations import places_taken

_DAYS = 30


@customer_page("customer.read")
def overview(request: CustomerRequest) -> HttpResponse:
    """The overview."""
    customer_id, now = request.customer.pk, request.now
    if not request.visitor.is_onlooker and request.session.get(CURRENT_CUSTOMER) != customer_id:
        request.session[CURRENT_CUSTOMER] = customer_id
    held = reads.holding(customer_id)
    subscription = held.customer.subscription
    stands = standing(subscription, now.timestamp(), grace_seconds=settings.GRACE_SECONDS)
    today = now.date()
    days = reads.usage_by_day(customer_id, since=today - timedelta(days=_DAYS - 1), until=today, prefix=REQUEST_PREFIX)
    used = reads.events_today(customer_id, now)
    quota = held.tier.events_per_day if held.tier else 0
    total = sum(count for _day, count in days)
    context: dict[str, Any] = {
        "held": held,
        "subscription": subscription,
        "stands": stands,
        "period_end": from_epoch(subscription.period_end) if subscription else None,
        "access_until": from_epoch(stands.access_until) if stands.access_until else None,
        "notice": _notice(stands),
        "features": reads.granted_features(held, now),
        "adds": _adds(held),
        "places": charts.meter(places_taken(customer_id, "live", now), held.installation_limit),
        "fleet": reads.fleet(customer_id, now),
        "versions": reads.versions(customer_id),
        "quotas": [
            (name, charts.meter(count, _quota(held, name, quota)))
            for name, count in sorted(used.items(), key=lambda pair: -pair[1])[:6]
        ],
        "events_today": sum(used.values()),
        "requests": charts.bars(
            [(day.isoformat(), count) for day, count in days],
            summary=_("Requests served a day, over the last 30 days: %(total)s in all.") % {"total": f"{total:,}"},
        ),
        "requests_today": days[-1][1],
        "events": AuditEvent.objects.filter(customer_id=customer_id).order_by("-id")[:8]
        if "audit.read" in request.visitor.actions
        else [],
        "is_suspended": held.customer.is_suspended,
    }
    return render(request, "portal/overview.html", context)


def _quota(held: reads.Holding, plugin: str, of_tier: int) -> int:
    known = held.catalogue.plugins.get(plugin)
    return known.quota if known is not None and known.quota is not None else of_tier


def _adds(held: reads.Holding) -> list[tuple[str, Any]]:
    """What the next tier would grant that this one does not, or grants less of."""
    if held.next_tier is None:
        return []
    present = held.tier.grants if held.tier else {}
    return [(code, value) for code, value in sorted(held.next_tier.grants.items()) if present.get(code) != value]


def _notice(stands: Standing) -> str:
    if stands.grace_until:
        return _("The period is over and the subscription lives on grace. Renew it before the grace ends.")
    if not stands.is_active:
        return {
            "SUBSCRIPTION_NONE": _("There is no subscription. Plugins are refused until there is one."),
            "SUBSCRIPTION_PAUSED": _("The subscription is paused. Plugins are refused until it is resumed."),
        }.get(stands.code, _("The subscription has ended. Plugins are refused until it is renewed."))
    return ""
