"""How a customer's builds of a release stand, for the registry's page of it."""

from build_farm.models import Build
from build_farm.models.build import LIVE
from registry.portal.builds import BuildStanding


def standings(customer_id: str, release_id: str) -> dict[str, BuildStanding]:
    """The newest build for each target."""
    rows = Build.objects.filter(customer=customer_id, release=release_id)
    newest = rows.order_by("target", "-created_at", "-id").distinct("target").values_list("target", "id", "state")
    return {target: BuildStanding(build_id, state, state in LIVE) for target, build_id, state in newest}
