"""Scoped reads of builds: what a customer may see of its own, and what operators see of all."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Avg, Count, FloatField, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from accounts.models import ApiKey
from accounts.selectors import one
from build_farm.models import Build
from build_farm.models.build import LIVE
from build_farm.services.queue import queue_order
from licensing.core.errors import NotFound
from registry.models import Release

_FARTHEST_POSITION: Final = 10_000
_RECENT: Final = timedelta(days=1)
_ASSUMED_SECONDS: Final = 10.0


def builds_of(customer_id: str) -> QuerySet[Build]:
    """A customer's builds."""
    return all_builds().filter(customer=customer_id)


def all_builds() -> QuerySet[Build]:
    """Every build, with its release."""
    return Build.objects.select_related("release").defer("constants", "sealed_constants", "sealed_secret")


def build(build_id: str, *, customer_id: str | None = None, lock: bool = False) -> Build:
    """One build; with `customer_id` only if it is that customer's. Raises `NotFound`."""
    rows = all_builds() if customer_id is None else builds_of(customer_id)
    return one(rows.filter(pk=build_id), lock=lock)


def published_release(plugin: str, version: str) -> Release:
    """A release that customers know of. Raises `NotFound`."""
    return one(Release.objects.filter(plugin=plugin, version=version, state=Release.State.PUBLISHED))


def api_key(customer_id: str, key_id: str) -> ApiKey:
    """One key of a customer. Raises `NotFound`."""
    return one(ApiKey.objects.filter(pk=key_id, customer=customer_id))


def position(row: Build, *, now: datetime) -> int | None:
    """How many builds are served before this one, as it looks now; None once it is at work or over."""
    if row.state != Build.State.QUEUED:
        return None
    order = queue_order(now=now, limit=_FARTHEST_POSITION)
    return order.index(row.id) if row.id in order else None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a mass rebuild is: builds by state, and about how many seconds are left; None when it is done."""

    batch: str
    total: int
    by_state: dict[str, int]
    seconds_left: float | None


def progress(batch: str, *, now: datetime) -> Progress:
    """How far a mass rebuild is. Raises `NotFound`."""
    counted = Build.objects.filter(batch=batch).values_list("state").annotate(Count("id"))
    by_state = {str(state): number for state, number in counted}
    if not batch or not by_state:
        raise NotFound()
    left = sum(by_state.get(state, 0) for state in LIVE)
    return Progress(batch, sum(by_state.values()), by_state, _estimate(left, now) if left else None)


def _estimate(left: int, now: datetime) -> float:
    """What is left, at the rate of late: a build's own time over as many as are being compiled at once."""
    seconds = Cast(KeyTextTransform("build", "timings"), FloatField())
    finished = Build.objects.filter(finished_at__gt=now - _RECENT)
    each = finished.aggregate(seconds=Avg(seconds))["seconds"] or _ASSUMED_SECONDS
    at_once = max(1, Build.objects.filter(state=Build.State.BUILDING).count())
    return round(left * float(each) / at_once, 1)
