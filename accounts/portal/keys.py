"""API keys: the list, and one key with who still uses it."""

from datetime import datetime

from django.http import HttpResponse
from django.shortcuts import render

from accounts import selectors
from accounts.models import ApiKey
from accounts.portal.access import CustomerRequest, customer_page
from accounts.portal.key_users import users_of
from accounts.portal.listing import numbered


@customer_page("keys.read")
def keys(request: CustomerRequest) -> HttpResponse:
    """All keys of the organisation, the newest first."""
    rows = selectors.api_keys_of(request.customer.pk).select_related("replaced_by").order_by("-created_at", "-id")
    listing = numbered(request, rows)
    for row in listing.rows:
        row.standing = standing(row, request.now)
    return render(request, "portal/keys.html", {"listing": listing})


@customer_page("keys.read")
def key(request: CustomerRequest, key_id: str) -> HttpResponse:
    """One key: what it may do, from where, until when, and what uses it."""
    row = selectors.api_key(request.customer.pk, key_id)
    context = {
        "key": row,
        "standing": standing(row, request.now),
        "users": users_of(request.customer.pk, row.pk),
        "successor": row.replaced_by,
    }
    return render(request, "portal/key.html", context)


def standing(row: ApiKey, now: datetime) -> str:
    """One word for how a key stands."""
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= now:
        return "expired"
    return "expiring" if row.replaced_by_id else "active"
