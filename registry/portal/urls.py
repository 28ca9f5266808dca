"""Customers' pages of `registry`."""

from django.urls import URLPattern

from accounts.portal.routes import customer_page_at
from licensing.portal import plugin_sections
from registry.portal import releases

plugin_sections.declare("releases", releases.releases_section)

urlpatterns: list[URLPattern] = [
    customer_page_at("plugins/<plugin>/releases/<version>", releases.release, "plugin-release"),
    customer_page_at("plugins/<plugin>/releases/<version>/download", releases.download, "plugin-release-download"),
]
