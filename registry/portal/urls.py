"""Customers' pages of `registry`, and their line in the menu."""

from django.urls import URLPattern
from django.utils.translation import gettext_lazy as _

from accounts.portal import navigation
from accounts.portal.navigation import CUSTOMER, Entry
from accounts.portal.routes import customer_page_at
from licensing.portal import plugin_sections
from registry.portal import own_registry, policy, releases, tokens

plugin_sections.declare("releases", releases.releases_section)
navigation.declare(Entry(CUSTOMER, 50, "own-registry", _("Private registry"), "registry.read", "box"))

_RELEASE = "plugins/<plugin>/releases/<version>"
urlpatterns: list[URLPattern] = [
    customer_page_at(_RELEASE, releases.release, "plugin-release"),
    customer_page_at(f"{_RELEASE}/download", releases.download, "plugin-release-download"),
    customer_page_at("registry", own_registry.registry, "own-registry"),
    customer_page_at("registry/tokens/new", tokens.create, "own-registry-token-create"),
    customer_page_at("registry/tokens/<token_id>", tokens.token, "own-registry-token"),
    customer_page_at("registry/tokens/<token_id>/revoke", tokens.revoke, "own-registry-token-revoke"),
    customer_page_at("registry/policy", policy.policy, "own-registry-policy"),
]
