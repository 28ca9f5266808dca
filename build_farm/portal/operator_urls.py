"""The operator's pages of `build_farm`, their line in the menu, and the queue on the live page."""

from django.urls import URLPattern, reverse
from django.utils.translation import gettext_lazy as _

from accounts.portal import navigation
from accounts.portal.navigation import OPERATOR, Entry
from accounts.portal.routes import page
from build_farm.portal import operator, operator_reads, operator_rebuilds
from licensing.portal import operator_health

navigation.declare(
    Entry(OPERATOR, 40, "operator-farm", _("Builds and workers"), "manage.builds.read", "build"),
)


def _queue_tile() -> operator_health.Tile:
    found = operator_reads.live_tile()
    return operator_health.Tile(
        _("Builds waiting"), found["waiting"], _("at work"), found["at_work"], reverse("operator-farm")
    )


operator_health.show_also(_queue_tile)

urlpatterns: list[URLPattern] = [
    page("operator/builds", operator.farm, "operator-farm"),
    page("operator/builds/all", operator.builds, "operator-builds"),
    page("operator/builds/batches/<batch>", operator_rebuilds.batch, "operator-batch"),
    page("operator/builds/<build_id>", operator.build, "operator-build"),
    page("operator/builds/<build_id>/cancel", operator.cancel, "operator-build-cancel"),
    page("operator/customers/<customer_id>/rebuild", operator_rebuilds.rebuild_customer, "operator-customer-rebuild"),
    page("operator/plugins/<plugin>/releases/<version>/rebuild", operator_rebuilds.rebuild_release, "operator-rebuild"),
]
