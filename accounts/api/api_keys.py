"""What the management API and the account API do alike with API keys."""

from accounts import selectors
from accounts.api.shapes import ApiKeyAsked, ApiKeyQuery, ApiKeyShown, IssuedApiKeyShown
from accounts.models import Customer
from accounts.services.api_keys import DEFAULT_SCOPES, issue_api_key
from licensing.core.api.operations import Answer, Call, created
from licensing.core.api.pages import Page, page_of
from licensing.core.errors import InvalidValue

_ORDERS = {"created_at": ("created_at", "id"), "-created_at": ("-created_at", "-id")}


def key_page(call: Call, customer_id: str) -> Page:
    """A page of a customer's keys."""
    query: ApiKeyQuery = call.query
    rows = selectors.api_keys_of(customer_id)
    if query.mode is not None:
        rows = rows.filter(mode=query.mode)
    if query.is_revoked is not None:
        rows = rows.filter(revoked_at__isnull=not query.is_revoked)
    return page_of(call.request, rows, query, order=_ORDERS[query.ordering], show=ApiKeyShown.of)


def issue(call: Call, asked: ApiKeyAsked, customer: Customer, collection: str) -> Answer:
    """Make a key and show it, this once."""
    if asked.expires_at is not None and asked.expires_at <= call.now:
        raise InvalidValue("expires_at: lies in the past.", field="expires_at")
    issued = issue_api_key(
        customer=customer,
        name=asked.name,
        actor=call.actor,
        mode=asked.mode,
        scopes=DEFAULT_SCOPES if asked.scopes is None else asked.scopes,
        cidrs=asked.cidrs,
        expires_at=asked.expires_at,
    )
    body = IssuedApiKeyShown.issued(selectors.api_key(customer.pk, issued.api_key.id), issued.key)
    return created(body, f"{collection}/{body.id}", holds_secret=True)
