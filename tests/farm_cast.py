"""What the operator's pages show besides the shop of the portal's cast: a farm at work, and a release to go back to."""

from __future__ import annotations

from datetime import datetime, timedelta

from accounts.models import Customer
from build_farm.models import Build
from licensing.core.ids import new_id
from registry.models import Release

BATCH = "bat_1"
WORKER = "builder-1:4711"


def load_farm(acme: Customer, now: datetime) -> dict[str, str]:
    """A worker at the build that is being made, a mass rebuild under way, and an older release of `stable`."""
    current = Release.objects.get(plugin="api-logger", version="2.1.0")
    Release.objects.create(
        id=new_id("rel"), plugin_id="api-logger", version="1.9.0", state="published", channels=["stable"],
        published_at=now - timedelta(days=200), created_by="tests",
    )  # fmt: skip
    Build.objects.filter(state="building").update(
        lease_owner=f"{WORKER}:0a1b2c3d4e5f", lease_until=now + timedelta(days=1), heartbeat_at=now
    )
    Build.objects.create(
        id=new_id("bld"), release=current, customer=acme, target="darwin/arm64", priority="mass", batch=BATCH,
        created_by="tests", created_at=now - timedelta(minutes=4),
    )  # fmt: skip
    Build.objects.create(
        id=new_id("bld"), release=current, customer=acme, target="windows/amd64", state="failed", batch=BATCH,
        created_by="tests", created_at=now - timedelta(minutes=4), claimed_at=now, finished_at=now,
        failure="Given up after 5 attempts: its worker ended or went silent.",
    )  # fmt: skip
    return {"batch": BATCH, "purpose": "token"}


def other_looks() -> list[tuple[str, dict[str, str]]]:
    """Further looks of the farm's pages, as `Shop.others` has them: a build that failed, with its log."""
    failed = Build.objects.filter(state="failed").exclude(log="").get()
    return [("operator-build", {"build_id": failed.pk})]
