"""The operator's pages of `registry`, and their line in the menu."""

from django.urls import URLPattern
from django.utils.translation import gettext_lazy as _

from accounts.portal import navigation
from accounts.portal.navigation import OPERATOR, Entry
from accounts.portal.routes import page
from registry.portal import operator, operator_releases

navigation.declare(
    Entry(OPERATOR, 30, "operator-plugins", _("Plugins and releases"), "manage.catalogue.read", "plugin"),
)

_PLUGIN = "operator/plugins/<plugin>"
_RELEASE = f"{_PLUGIN}/releases/<version>"
urlpatterns: list[URLPattern] = [
    page("operator/plugins", operator.plugins, "operator-plugins"),
    page(_PLUGIN, operator.plugin, "operator-plugin"),
    page(f"{_PLUGIN}/channels/<channel>", operator.channel, "operator-channel"),
    page(_RELEASE, operator_releases.release, "operator-release"),
    page(f"{_RELEASE}/yank", operator_releases.yank, "operator-release-yank"),
    page(f"{_RELEASE}/notes", operator_releases.notes, "operator-release-notes"),
]
