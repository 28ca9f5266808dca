"""What the operator's pages about builds count and list, in bounded work however many builds there were."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import Count, Min, Q, QuerySet

from build_farm import selectors
from build_farm.models import Build
from build_farm.models.build import LIVE
from licensing.core.valkey import ValkeyAway
from licensing.core.workers import Worker, workers_seen

_AT_WORK: Final = (Build.State.BUILDING, Build.State.SIGNING)
_ROLE_OF_STATE: Final = {Build.State.BUILDING: "build", Build.State.SIGNING: "sign"}
_MOST_RUNNING: Final = 100
_MOST_FAILURES: Final = 10
_MOST_BATCHES: Final = 20
_LATELY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Running:
    """A build that a worker is at, and for how many seconds that worker has been silent."""

    build: Build
    worker: str
    silent_seconds: int
    is_late: bool

    @property
    def role(self) -> str:
        """The kind of worker."""
        return _ROLE_OF_STATE[Build.State(self.build.state)]


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """A worker, and the builds that it is at; `worker` is None for one that holds builds and was not seen lately."""

    role: str
    name: str
    worker: Worker | None
    is_late: bool
    running: list[Running]


def numbers(now: datetime) -> dict[str, Any]:
    """The queue by state, who is at what, and what went wrong last."""
    running = running_builds(now)
    counted = dict(Build.objects.filter(state__in=LIVE).values_list("state").annotate(Count("pk")))
    waiting = Build.objects.filter(state=Build.State.QUEUED)
    ended = dict(
        Build.objects.filter(state__in=[Build.State.PUBLISHED, Build.State.FAILED], finished_at__gt=now - _LATELY)
        .values_list("state")
        .annotate(Count("pk"))
    )
    workers = workers_at(running, now)
    return {
        "queued": counted.get(Build.State.QUEUED, 0),
        "building": counted.get(Build.State.BUILDING, 0),
        "signing": counted.get(Build.State.SIGNING, 0),
        "mass_waiting": waiting.filter(priority=Build.Priority.MASS).count(),
        "oldest": waiting.aggregate(at=Min("created_at"))["at"],
        "published_lately": ended.get(Build.State.PUBLISHED, 0),
        "failed_lately": ended.get(Build.State.FAILED, 0),
        "running": running,
        "workers": workers,
        "lacks_builders": workers is not None
        and not any(line.role == "build" and not line.is_late for line in workers),
        "batches": batches_under_way(),
        "failures": list(failures()[:_MOST_FAILURES]),
    }


def running_builds(now: datetime) -> list[Running]:
    """What workers are at, the longest first."""
    rows = selectors.all_builds().defer("log", "constants", "sealed_constants", "sealed_secret")
    held = rows.filter(state__in=_AT_WORK).exclude(lease_owner="").order_by("claimed_at", "pk")
    return [_running(row, now) for row in held[:_MOST_RUNNING]]


def workers_at(running: list[Running], now: datetime) -> list[WorkerLine] | None:
    """The workers that were seen within the hour, and those that hold builds all the same; None: nobody knows."""
    try:
        seen = workers_seen(now=now)
    except ValkeyAway:
        return None
    lines = [_line(worker.role, worker.name, worker, running, now) for worker in seen]
    known = {(line.role, line.name) for line in lines}
    unseen = sorted({(each.role, each.worker) for each in running} - known)
    return lines + [_line(role, name, None, running, now) for role, name in unseen]


def failures() -> QuerySet[Build]:
    """Builds that failed, the latest first."""
    rows = selectors.all_builds().filter(state=Build.State.FAILED, finished_at__isnull=False)
    return rows.defer("log", "constants", "sealed_constants", "sealed_secret").order_by("-finished_at")


def batches_under_way() -> list[dict[str, Any]]:
    """Mass rebuilds that are not done, the oldest first: batch, when it began, how many are left."""
    rows = Build.objects.filter(state__in=LIVE).exclude(batch="").values("batch")
    counted = rows.annotate(left=Count("pk"), since=Min("created_at")).order_by("since")
    return [dict(row) for row in counted[:_MOST_BATCHES]]


def filtered(wanted: dict[str, Any]) -> QuerySet[Build]:
    """Builds by state, customer, plugin, target and batch, the newest first."""
    columns = {
        "state": "state",
        "customer": "customer",
        "plugin": "release__plugin",
        "target": "target",
        "batch": "batch",
    }
    chosen = {columns[name]: value for name, value in wanted.items() if value and name in columns}
    rows = selectors.all_builds().select_related("release", "customer").filter(**chosen)
    return rows.defer("log", "constants", "sealed_constants", "sealed_secret").order_by("-created_at", "-pk")


def holders_of(plugin: str, targets: Iterable[str]) -> dict[str, int]:
    """How many customers and builds a mass rebuild of a plugin's release is about: one for each target of theirs."""
    rows = Build.objects.filter(release__plugin=plugin, state=Build.State.PUBLISHED, target__in=list(targets))
    return {
        "customers": rows.values("customer").distinct().count(),
        "builds": rows.values("customer", "target").distinct().count(),
    }


def live_tile() -> dict[str, int]:
    """The queue in two numbers: what waits, and what is being worked on."""
    return Build.objects.filter(state__in=LIVE).aggregate(
        waiting=Count("pk", filter=Q(state=Build.State.QUEUED)), at_work=Count("pk", filter=Q(state__in=_AT_WORK))
    )


def _running(row: Build, now: datetime) -> Running:
    silent = max(0.0, (now - row.heartbeat_at).total_seconds()) if row.heartbeat_at else 0.0
    # A worker beats four times in a lease; half of one without a word is a bad sign.
    is_late = silent > settings.BUILD_LEASE_SECONDS / 2
    return Running(row, row.lease_owner.rpartition(":")[0], int(silent), is_late)


def _line(role: str, name: str, worker: Worker | None, running: list[Running], now: datetime) -> WorkerLine:
    held = [each for each in running if (each.role, each.worker) == (role, name)]
    # Whoever extends the lease of a build is there, whatever Valkey has forgotten.
    is_silent = (worker is None or worker.is_late(now)) and all(each.is_late for each in held)
    return WorkerLine(role, name, worker, is_silent, held)
