"""Builds that customers wait for: asked for here, made by whoever listens to `build.requested`."""

from datetime import datetime

from django.db import IntegrityError, transaction

from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.ids import new_id
from registry.models import Release, RequestedBuild

OPEN = (RequestedBuild.Status.REQUESTED, RequestedBuild.Status.BUILDING)


def request_build(*, release: Release, customer_id: str, target: str, actor: Actor) -> RequestedBuild:
    """Ask for a build, or join the one that is under way.

    Emits `build.requested` with `request_id`, `release_id`, `plugin`, `version`, `target` and `priority`.
    """
    there = _open(release, customer_id, target)
    if there is not None:
        return there
    try:
        with transaction.atomic():
            row = RequestedBuild.objects.create(
                id=new_id("rqb"), release=release, customer_id=customer_id, target=target
            )
            _announce(row, release, actor)
    except IntegrityError:
        # Somebody else asked at the same moment; theirs is committed, or the insert would still be waiting.
        there = _open(release, customer_id, target)
        if there is None:
            raise
        return there
    return row


def note_build(*, release: Release, customer_id: str, target: str, status: str, detail: str = "", now: datetime) -> int:
    """Tell those who wait how a build goes; `detail` is shown to the customer. Returns how many waited.

    `ready` comes by itself with the artifact.
    """
    waiting = RequestedBuild.objects.filter(release=release, customer=customer_id, target=target, status__in=OPEN)
    return waiting.update(status=RequestedBuild.Status(status), detail=detail[:500], updated_at=now)


def _open(release: Release, customer_id: str, target: str) -> RequestedBuild | None:
    return RequestedBuild.objects.filter(release=release, customer=customer_id, target=target, status__in=OPEN).first()


def _announce(row: RequestedBuild, release: Release, actor: Actor) -> None:
    payload = {
        "request_id": row.id,
        "release_id": release.id,
        "plugin": release.plugin_id,
        "version": release.version,
        "target": row.target,
        "priority": "interactive",
    }
    audit.record(
        actor=actor,
        action="build.requested",
        subject_kind="release",
        subject_id=f"{release.plugin_id}@{release.version}",
        customer_id=row.customer_id,
        is_change=False,
        detail=payload,
    )
    outbox.emit("build.requested", customer_id=row.customer_id, payload=payload)
