"""The queue: in which order builds are served, and who is at work on which.

Whoever works on a build holds a lease that a heartbeat extends. Every step onward is an update that names the state and
the lease it expects: a worker that was taken for dead, a cancelled build and a second worker all find nothing to
update, and what they made is dropped.

Order: interactive before mass; within these customers take turns, the one served longest ago first.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from build_farm.models import Build
from build_farm.services.record import record_build
from registry.models import RequestedBuild
from registry.services.requested_builds import note_build

MAX_ATTEMPTS: Final = 5
_FIRST_DELAY_SECONDS: Final = 5
_LONGEST_DELAY_SECONDS: Final = 300
_CANDIDATES: Final = 20

_ORDER_SQL: Final = """
SELECT b.id
  FROM (SELECT id, priority, customer_id, created_at, prepared_at, not_before,
               row_number() OVER (PARTITION BY customer_id, priority ORDER BY created_at, id) AS turn
          FROM build WHERE state = 'queued' {inner}) b
  LEFT JOIN LATERAL (SELECT max(claimed_at) AS at FROM build WHERE customer_id = b.customer_id) served ON true
 ORDER BY b.priority, b.turn, served.at NULLS FIRST, b.created_at, b.id
 LIMIT %(limit)s
"""
_READY: Final = "AND prepared_at IS NOT NULL AND (not_before IS NULL OR not_before <= %(now)s)"
_UNPREPARED: Final = "AND prepared_at IS NULL AND priority = %(priority)s"


def lease() -> timedelta:
    """How long a claim holds without a heartbeat."""
    return timedelta(seconds=settings.BUILD_LEASE_SECONDS)


def claim_build(*, worker: str, now: datetime) -> Build | None:
    """Take the next prepared build for `worker`, or None if there is none that is due."""
    owner = _new_owner(worker)
    for build_id in _in_order(_READY, now=now, limit=_CANDIDATES):
        is_ours = Build.objects.filter(pk=build_id, state=Build.State.QUEUED, prepared_at__isnull=False).update(
            state=Build.State.BUILDING,
            lease_owner=owner,
            lease_until=now + lease(),
            heartbeat_at=now,
            attempt=F("attempt") + 1,
            claimed_at=now,
            not_before=None,
        )
        if is_ours:
            build = Build.objects.select_related("release", "release__source").get(pk=build_id)
            _tell_waiting(build, RequestedBuild.Status.BUILDING, "", now)
            return build
    return None


def is_any_build_ready() -> bool:
    """Whether there is a prepared build, due or not."""
    return Build.objects.filter(state=Build.State.QUEUED, prepared_at__isnull=False).exists()


def claim_signing(*, worker: str, now: datetime) -> Build | None:
    """Take the build that has waited longest for its signatures, or None."""
    owner = _new_owner(worker)
    waiting = Build.objects.filter(_is_free(now), state=Build.State.SIGNING).order_by("priority", "created_at")
    for build_id in list(waiting.values_list("pk", flat=True)[:_CANDIDATES]):
        is_ours = Build.objects.filter(_is_free(now), pk=build_id, state=Build.State.SIGNING).update(
            lease_owner=owner,
            lease_until=now + lease(),
            heartbeat_at=now,
            attempt=F("attempt") + 1,
            not_before=None,
        )
        if is_ours:
            return Build.objects.select_related("release").get(pk=build_id)
    return None


def extend_lease(build: Build, *, now: datetime) -> bool:
    """Keep a build for another while; False if it is no longer this worker's."""
    return _held(build).update(lease_until=now + lease(), heartbeat_at=now) == 1


def hand_to_signing(build: Build, *, result: Mapping[str, Any]) -> bool:
    """Pass a compiled build on to be signed; False if it is no longer this worker's."""
    return _held(build).update(**result, state=Build.State.SIGNING, attempt=0, lease_owner="", lease_until=None) == 1


def put_back(build: Build) -> bool:
    """Return a build untried, as if it had never been taken."""
    return (
        _held(build).update(
            state=Build.State.QUEUED, attempt=F("attempt") - 1, lease_owner="", lease_until=None, claimed_at=None
        )
        == 1
    )


def back_to_queue(build: Build, *, note: str, now: datetime) -> bool:
    """Have a build compiled again: its bytes are gone. False if it is no longer being signed by who says so."""
    return (
        _held(build).update(
            state=Build.State.QUEUED,
            attempt=0,
            lease_owner="",
            lease_until=None,
            log=(build.log + f"\n{note}\n"),
            not_before=now,
        )
        == 1
    )


def try_again_later(build: Build, *, reason: str, now: datetime, is_dead: bool = False) -> bool:
    """Give a build up for a while, or for good after MAX_ATTEMPTS; `reason` is for the customer.

    Returns whether it was still there to give up. With `is_dead` only if its lease has run out: a worker that was only
    late, and has extended it meanwhile, keeps its build.
    """
    if build.attempt >= MAX_ATTEMPTS:
        failure = f"Given up after {build.attempt} attempts: {reason}"
        return fail_build(build, failure=failure, now=now, is_dead=is_dead)
    delay = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 4 ** max(0, build.attempt - 1))
    changes: dict[str, Any] = {
        "lease_owner": "",
        "lease_until": None,
        "not_before": now + timedelta(seconds=delay),
        "log": f"{build.log}\nattempt {build.attempt}: {reason}\n"[-64_000:],
    }
    if build.state == Build.State.BUILDING:
        changes["state"] = Build.State.QUEUED
    return _held(build, now if is_dead else None).update(**changes) == 1


def fail_build(build: Build, *, failure: str, now: datetime, log: str | None = None, is_dead: bool = False) -> bool:
    """End a build without a result; `failure` is a sentence for the customer. False if it was no longer ours."""
    with transaction.atomic():
        ended = _held(build, now if is_dead else None).update(
            state=Build.State.FAILED,
            failure=failure[:500],
            log=build.log if log is None else log,
            finished_at=now,
            lease_owner="",
            lease_until=None,
            constants=None,
        )
        if ended:
            record_build(
                build, "build.failed", worker=build.lease_owner or "prepare", detail={"failure": failure[:500]}
            )
            _tell_waiting(build, RequestedBuild.Status.FAILED, failure, now)
    return ended == 1


def queue_order(*, now: datetime, limit: int) -> list[str]:
    """The ids of waiting builds in the order in which they will be served, as it looks now."""
    return _in_order("", now=now, limit=limit)


def unprepared(*, priority: str, now: datetime, limit: int) -> list[str]:
    """The ids of builds of a priority that `control` has not prepared yet, in order."""
    return _in_order(_UNPREPARED, now=now, limit=limit, priority=priority)


def _in_order(inner: str, *, now: datetime, limit: int, **values: Any) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_ORDER_SQL.format(inner=inner), {"now": now, "limit": limit, **values})
        return [row[0] for row in cursor.fetchall()]


def _held(build: Build, dead_at: datetime | None = None) -> QuerySet[Build]:
    """The build's row, as long as it is in the state and under the lease that we know it in."""
    rows = Build.objects.filter(pk=build.pk, state=build.state, lease_owner=build.lease_owner)
    return rows if dead_at is None else rows.filter(lease_until__lte=dead_at)


def _new_owner(worker: str) -> str:
    """A name for this one claim: a worker that takes a build a second time is somebody else."""
    return f"{worker[:60]}:{secrets.token_hex(6)}"


def _is_free(now: datetime) -> Q:
    return Q(lease_until=None) & (Q(not_before=None) | Q(not_before__lte=now))


def _tell_waiting(build: Build, status: str, detail: str, now: datetime) -> None:
    note_build(
        release=build.release,
        customer_id=build.customer_id,
        target=build.target,
        status=status,
        detail=detail,
        now=now,
    )
