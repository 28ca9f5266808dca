"""Asking for a build, cancelling it, and having many made again."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.models import ApiKey, Customer
from build_farm.errors import BuildOver, NotBuildable
from build_farm.hints import PREPARE, hint_on_commit
from build_farm.models import Build
from build_farm.models.build import LIVE
from build_farm.services.record import record_build
from licensing.core import audit
from licensing.core.actor import Actor
from licensing.core.errors import InvalidValue
from licensing.core.ids import new_id
from registry.models import Release, RequestedBuild
from registry.services.requested_builds import note_build


def request_build(
    *,
    release: Release,
    customer: Customer,
    target: str,
    actor: Actor,
    priority: str = Build.Priority.INTERACTIVE,
    api_key: ApiKey | None = None,
    again: bool = False,
) -> Build:
    """Ask for a release's build for one customer and target, or join the one that is there.

    The build is for `api_key`, else for the customer's oldest live one. With `again` one is made even if there is one
    already: what is under way with inputs of before is superseded, what is published stays until the new one is.

    Raises:
        NotBuildable: the release is no source that customers know of.
        InvalidValue: the target is none of the release's, or the key is another customer's.
    """
    _require_buildable(release, target)
    if api_key is not None and api_key.customer_id != customer.pk:
        raise InvalidValue("api_key_id: not a key of this customer.", field="api_key_id")
    with transaction.atomic():
        live = _live(release, customer, target)
        if live is not None and not (again and live.prepared_at is not None):
            return _join(live, priority)
        if live is not None:
            _end(live, Build.State.SUPERSEDED, actor)
        elif not again and (published := _published(release, customer, target)) is not None:
            return published
        build = Build(
            id=new_id("bld"),
            release=release,
            customer=customer,
            target=target,
            priority=priority,
            wanted_key_id=api_key.pk if api_key else "",
            created_by=actor.id,
        )
        try:
            with transaction.atomic():
                build.save(force_insert=True)
        except IntegrityError:
            # Somebody else asked at the same moment; theirs is committed, or the insert would still be waiting.
            found = _live(release, customer, target)
            if found is None:
                raise
            return _join(found, priority)
        record_build(build, "build.queued", actor=actor, detail={"priority": priority}, tells=False)
        hint_on_commit(PREPARE)
    return Build.objects.get(pk=build.pk)


def cancel_build(*, build: Build, actor: Actor, now: datetime) -> Build:
    """Stop a build. The worker that compiles it kills the compiler at its next beat. Cancelling again changes nothing.

    Raises:
        BuildOver: it was published, has failed, or was superseded.
    """
    with transaction.atomic():
        row = Build.objects.select_related("release").select_for_update(of=("self",)).get(pk=build.pk)
        if row.state == Build.State.CANCELLED:
            return row
        if not row.is_live:
            raise BuildOver(f"The build is {row.state} already.")
        _end(row, Build.State.CANCELLED, actor, now=now)
        note_build(
            release=row.release,
            customer_id=row.customer_id,
            target=row.target,
            status=RequestedBuild.Status.FAILED,
            detail="The build was cancelled.",
            now=now,
        )
    return row


@dataclass(frozen=True, slots=True)
class MassRebuild:
    """What a mass rebuild has put into the queue; `joined` were on their way already."""

    batch: str
    queued: int
    joined: int


def rebuild_for_customer(*, customer: Customer, actor: Actor) -> MassRebuild:
    """Make everything anew that was published for a customer, each with the state and key of now."""
    published = Build.objects.filter(customer=customer, state=Build.State.PUBLISHED, artifact__superseded_at=None)
    wanted = [(row.release_id, row.customer_id, row.target) for row in published.order_by("created_at")]
    return _rebuild(wanted, actor, subject_kind="customer", subject_id=customer.pk, customer_id=customer.pk)


def rebuild_for_release(*, release: Release, actor: Actor) -> MassRebuild:
    """Make a release for every customer and target that has a build of any release of its plugin.

    Raises:
        NotBuildable: the release is no source that customers know of.
    """
    _require_buildable(release, release.build_targets[0] if release.build_targets else "")
    holders = Build.objects.filter(release__plugin=release.plugin_id, state=Build.State.PUBLISHED)
    pairs = holders.filter(target__in=release.build_targets).values_list("customer_id", "target").distinct()
    wanted = [(release.pk, customer_id, target) for customer_id, target in pairs.order_by("customer_id", "target")]
    return _rebuild(wanted, actor, subject_kind="release", subject_id=release.pk)


def _rebuild(
    wanted: Iterable[tuple[str, str, str]], actor: Actor, *, subject_kind: str, subject_id: str, customer_id: str = ""
) -> MassRebuild:
    batch = new_id("bat")
    builds = [
        Build(
            id=new_id("bld"),
            release_id=release_id,
            customer_id=customer,
            target=target,
            priority=Build.Priority.MASS,
            batch=batch,
            created_by=actor.id,
        )
        for release_id, customer, target in wanted
    ]
    with transaction.atomic():
        # What is on its way already stays; the constraint tells, whoever asks at the same time.
        Build.objects.bulk_create(builds, ignore_conflicts=True, batch_size=500)
        queued = Build.objects.filter(batch=batch).count()
        audit.record(
            actor=actor,
            action="build.mass_rebuild",
            subject_kind=subject_kind,
            subject_id=subject_id,
            customer_id=customer_id,
            is_change=False,
            detail={"batch": batch, "queued": queued},
        )
        hint_on_commit(PREPARE)
    return MassRebuild(batch, queued, len(builds) - queued)


def _require_buildable(release: Release, target: str) -> None:
    if not release.is_published or release.source_id is None:
        raise NotBuildable("Only a published release with a source can be built.")
    if target not in release.build_targets:
        raise InvalidValue(f"target: one of {', '.join(release.build_targets)}.", field="target")


def _live(release: Release, customer: Customer, target: str) -> Build | None:
    rows = Build.objects.select_related("release").select_for_update(of=("self",))
    return rows.filter(release=release, customer=customer, target=target, state__in=LIVE).first()


def _published(release: Release, customer: Customer, target: str) -> Build | None:
    """The customer's build that is handed out now."""
    return Build.objects.filter(
        release=release,
        customer=customer,
        target=target,
        state=Build.State.PUBLISHED,
        artifact__isnull=False,
        artifact__superseded_at=None,
    ).first()


def _join(build: Build, priority: str) -> Build:
    if priority == Build.Priority.INTERACTIVE and build.priority != priority:
        build.priority = Build.Priority.INTERACTIVE
        build.save(update_fields=["priority"])
        hint_on_commit(PREPARE)
    return build


def _end(build: Build, state: str, actor: Actor, *, now: datetime | None = None) -> None:
    """Take a live build, whose row is locked, away from whoever works on it."""
    build.state = Build.State(state)
    build.finished_at, build.constants = now, None
    build.lease_owner, build.lease_until = "", None
    build.save(update_fields=["state", "finished_at", "constants", "lease_owner", "lease_until"])
    record_build(build, f"build.{state}", actor=actor)
