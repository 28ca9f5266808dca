"""`GET /private/{customer_id}/`: the index of a customer's own registry, for people and for programs."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers

from licensing.core.endpoint import endpoint
from licensing.core.errors import AuthenticationRequired, NotFound
from licensing.core.problems import json_response
from registry import selectors
from registry.api.authentication import basic_or_bearer, visitor_of
from registry.api.hosts import plugins_shown, policy_shown
from registry.api.shapes import RegistryReleaseShown
from registry.services.policies import effective_policy
from registry.services.visitors import FEATURE, READ, Visitor

_CHALLENGE = 'Basic realm="Private registry", charset="UTF-8"'
_CONTENT_SECURITY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@endpoint("GET", "HEAD")
def index(request: HttpRequest, customer_id: str) -> HttpResponse:
    """List what the customer may install: JSON, or HTML where that is preferred."""
    try:
        visitor = visitor_of(request, basic_or_bearer(request), scope=READ)
    except AuthenticationRequired as exc:
        # A browser asks its person for a token when it is told how.
        exc.headers["WWW-Authenticate"] = _CHALLENGE if _wants_html(request) else "Bearer"
        raise
    if visitor.customer.id != customer_id or not visitor.has_feature(FEATURE):
        raise NotFound()
    response = _page(visitor) if _wants_html(request) else _document(visitor)
    patch_vary_headers(response, ("Accept", "Authorization"))
    return response


def _document(visitor: Visitor) -> HttpResponse:
    shown = plugins_shown(visitor, platform="", channel="stable")
    allowed = sorted(visitor.customer.allowed_plugins or ())
    return json_response(
        {
            "customer_id": visitor.customer.id,
            "url": f"{settings.PUBLIC_URL}/private/{visitor.customer.id}",
            "allowed_plugins": [name for name in allowed if visitor.may_see(name)],
            "plugins": shown.plugins,
            "policy": shown.policy,
        }
    )


def _page(visitor: Visitor) -> HttpResponse:
    found = selectors.offers_for(visitor, selectors.visible_plugins(visitor))
    plugins = [
        {"name": name, "releases": [RegistryReleaseShown.of(offer) for offer in each.offers]}
        for name, each in found.items()
        if each.offers
    ]
    context = {
        "customer": visitor.customer,
        "plugins": plugins,
        "policy": policy_shown(effective_policy(visitor.customer.id)),
        "root": settings.PUBLIC_URL,
    }
    response = HttpResponse(render_to_string("registry/private_index.html", context))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _wants_html(request: HttpRequest) -> bool:
    """Whether `text/html` is preferred to JSON; who accepts anything gets JSON."""
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html"
