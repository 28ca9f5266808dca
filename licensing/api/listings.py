"""What the management API and the account API do alike with entitlements and installations."""

from django.db.models import Q

from licensing import scoped_reads
from licensing.api.shapes import EntitlementQuery, EntitlementShown, InstallationQuery, InstallationShown
from licensing.core.api.operations import Call
from licensing.core.api.pages import Page, page_of

_ORDERS = {"-last_seen_at": ("-last_seen_at", "-id"), "last_seen_at": ("last_seen_at", "id")}


def entitlement_page(call: Call, customer_id: str) -> Page:
    """A page of a customer's overrides and temporary grants, in the order they were made."""
    query: EntitlementQuery = call.query
    rows = scoped_reads.entitlements_of(customer_id)
    if query.feature:
        rows = rows.filter(feature_id=query.feature)
    if query.kind is not None:
        rows = rows.filter(kind=query.kind)
    if query.in_force is not None:
        # The instant of an end belongs to the "after".
        in_force = Q(starts_at=None) | Q(starts_at__lte=call.now, ends_at__gt=call.now)
        rows = rows.filter(in_force if query.in_force else ~in_force)
    return page_of(call.request, rows, query, order=("id",), show=EntitlementShown.of)


def installation_page(call: Call, customer_id: str) -> Page:
    """A page of a customer's installations."""
    query: InstallationQuery = call.query
    rows = scoped_reads.installations_of(customer_id)
    if query.search:
        starts = Q(hostname__istartswith=query.search) | Q(fingerprint__startswith=query.search)
        rows = rows.filter(starts | Q(id__startswith=query.search))
    if query.plugin:
        rows = rows.filter(plugin_id=query.plugin)
    if query.version:
        rows = rows.filter(version=query.version)
    if query.mode is not None:
        rows = rows.filter(mode=query.mode)
    if query.is_released is not None:
        rows = rows.filter(released_at__isnull=not query.is_released)
    return page_of(call.request, rows, query, order=_ORDERS[query.ordering], show=InstallationShown.of)
