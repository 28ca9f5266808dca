"""Customers' pages of `build_farm`, and their line in the menu."""

from django.urls import URLPattern
from django.utils.translation import gettext_lazy as _

from accounts.portal import navigation
from accounts.portal.navigation import CUSTOMER, Entry
from accounts.portal.routes import customer_page_at
from build_farm.portal import build_changes, builds
from build_farm.portal.standings import standings
from registry.portal.builds import answered_by

answered_by(standings)
navigation.declare(Entry(CUSTOMER, 45, "own-builds", _("Builds"), "builds.read", "build"))

urlpatterns: list[URLPattern] = [
    customer_page_at("builds", builds.builds, "own-builds"),
    customer_page_at("builds/new", build_changes.create, "own-build-create"),
    customer_page_at("builds/<build_id>", builds.build, "own-build"),
    customer_page_at("builds/<build_id>/cancel", build_changes.cancel, "own-build-cancel"),
]
