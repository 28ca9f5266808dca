"""The private registry of an organisation: its tokens, what it may read there, its policy, and how clients reach it.

Without the feature the page says what it would give; tokens of before stay to be seen and revoked.
"""

from datetime import datetime

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render

from accounts.portal.access import CustomerRequest, customer_page
from accounts.portal.listing import numbered
from licensing.models import Plugin
from registry import selectors
from registry.models import RegistryToken
from registry.portal import clients
from registry.portal.releases import visitor_of
from registry.services.policies import effective_policy
from registry.services.visitors import FEATURE, Visitor


@customer_page("registry.read")
def registry(request: CustomerRequest) -> HttpResponse:
    """The page."""
    visitor = visitor_of(request)
    rows = RegistryToken.objects.filter(customer=request.customer).order_by("-created_at", "-id")
    listing = numbered(request, rows)
    for row in listing.rows:
        row.standing = standing(row, request.now)
    policy = effective_policy(request.customer.pk)
    context = {
        "has_registry": visitor.has_feature(FEATURE),
        "tiers": _tiers_with(visitor),
        "listing": listing,
        "allowed": _allow_list(visitor),
        "policy": policy,
        "signed": selectors.signed_policy(request.customer.pk),
        "url": f"{settings.PUBLIC_URL}/private/{request.customer.pk}/",
        "list_command": clients.list_command(request.customer.pk),
        "download_commands": clients.download_commands(),
        "host_configuration": clients.host_configuration(policy),
    }
    return render(request, "portal/registry/registry.html", context)


def standing(row: RegistryToken, now: datetime) -> str:
    """One word for how a token stands."""
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at <= now:
        return "expired"
    used_up = (row.max_downloads is not None and row.downloads_used >= row.max_downloads) or (
        row.max_bytes is not None and row.bytes_used >= row.max_bytes
    )
    return "used up" if used_up else "active"


def _allow_list(visitor: Visitor) -> list[Plugin]:
    """The private plugins that the vendor lets this customer have."""
    names = [name for name in visitor.customer.allowed_plugins or () if name in visitor.catalogue.plugins]
    private = [name for name in names if visitor.catalogue.plugins[name].is_private]
    return list(Plugin.objects.filter(pk__in=private).order_by("name"))


def _tiers_with(visitor: Visitor) -> list[str]:
    """The tiers that include a registry, the lowest first."""
    found = [tier for tier in visitor.catalogue.tiers.values() if tier.grants.get(FEATURE)]
    return [tier.name for tier in sorted(found, key=lambda tier: tier.rank)]
