"""Installations taking, keeping and giving back places. Taking one is the only write that can refuse."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from licensing.core import audit, metrics, outbox
from licensing.core.actor import Actor
from licensing.core.errors import ServiceUnavailable
from licensing.core.ids import new_id
from licensing.models import Generation, Installation, Subscription
from licensing.services.asked import ANONYMOUS_PREFIX, InstallationAsked

TEST_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Machine:
    """Which installation a request is for: who asks, and how the machine describes itself."""

    customer_id: str
    plugin: str
    mode: str
    fingerprint: str
    is_anonymous: bool
    api_key_id: str
    hostname: str = ""
    os: str = ""
    arch: str = ""
    version: str = ""
    build_id: str = ""
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place that an installation holds: its id, and the generation that its tokens carry."""

    installation_id: str
    generation: int
    is_new: bool


def machine_for(
    asked: InstallationAsked | None,
    *,
    customer_id: str,
    plugin: str,
    version: str,
    mode: str,
    api_key_id: str,
    address: str,
) -> Machine:
    """Describe the machine of a request; one that names none is the anonymous one of its key and plugin."""
    if asked is None:
        return Machine(
            customer_id=customer_id,
            plugin=plugin,
            mode=mode,
            fingerprint=f"{ANONYMOUS_PREFIX}{api_key_id}",
            is_anonymous=True,
            api_key_id=api_key_id,
            version=version,
            address=address,
        )
    return Machine(
        customer_id=customer_id,
        plugin=plugin,
        mode=mode,
        fingerprint=asked.fingerprint,
        is_anonymous=False,
        api_key_id=api_key_id,
        hostname=asked.hostname,
        os=asked.os,
        arch=asked.arch,
        version=version,
        address=address,
    )


def find_installation(machine: Machine) -> Installation | None:
    """The row of this fingerprint, released or not."""
    return Installation.objects.filter(
        customer_id=machine.customer_id,
        plugin_id=machine.plugin,
        mode=machine.mode,
        fingerprint=machine.fingerprint,
    ).first()


def take_place(*, machine: Machine, actor: Actor, now: datetime) -> Place | None:
    """Count a machine's copy of a plugin against the subscription's limit; None when every place is taken.

    Asking again for the same fingerprint gives the same installation.
    """
    with transaction.atomic():
        # Lock the subscription, not its installations: two first activations share no installation row to wait on,
        # and both would see the last place free. Whoever changes the limit takes the same lock.
        subscription = (
            Subscription.objects.select_for_update(no_key=True, of=("self",))
            .select_related("tier")
            .filter(pk=machine.customer_id)
            .first()
        )
        if subscription is None:
            raise ServiceUnavailable(note="the subscription went away during the decision", retry_after_seconds=1)
        row = find_installation(machine)
        if row is not None and row.released_at is None:
            return Place(row.id, _generation(row), is_new=False)
        if not _holds_place(row, now) and not _has_room(subscription, machine.mode, now):
            return None
        row = _activate(row, machine, now)
        audit.record(
            actor=actor,
            action="installation.activated",
            subject_kind="installation",
            subject_id=row.id,
            customer_id=row.customer_id,
            detail={"plugin": row.plugin_id, "hostname": row.hostname, "mode": row.mode},
            is_change=False,
        )
        outbox.emit(
            "installation.activated",
            customer_id=row.customer_id,
            payload={"installation_id": row.id, "plugin": row.plugin_id, "hostname": row.hostname, "mode": row.mode},
        )
        transaction.on_commit(metrics.activations.inc)
        return Place(row.id, _generation(row), is_new=True)


def release_installation(
    *, installation: Installation, reason: str, confirmed: bool, actor: Actor, now: datetime
) -> Installation:
    """Outdate every token of an installation and give its place back.

    `confirmed` is the machine's own word (`deactivate`) that it no longer uses its lease: the place is free at once.
    Otherwise it is kept until the lease has run out. Releasing again changes nothing but a confirmation.
    """
    with transaction.atomic():
        row = Installation.objects.select_for_update().get(pk=installation.pk)
        already = row.released_at is not None
        if confirmed:
            row.lease_until = None
        if not already:
            row.released_at, row.released_reason = now, reason
            outdate_tokens(customer_id=row.customer_id, kind=Generation.Kind.INSTALLATION, subject_id=row.id)
        row.save(update_fields=["lease_until", "released_at", "released_reason"])
        if not already:
            _record_release(row, actor, confirmed=confirmed)
    return row


def outdate_tokens(*, customer_id: str, kind: str, subject_id: str) -> None:
    """Add one to a generation: every token minted under the old number is refused from the commit on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO generation (customer_id, kind, subject_id, value) VALUES (%s, %s, %s, 1)"
            " ON CONFLICT (customer_id, kind, subject_id) DO UPDATE SET value = generation.value + 1",
            [customer_id, kind, subject_id],
        )


def places_taken(customer_id: str, mode: str, now: datetime) -> int:
    """How many places are taken: installations not released, and leases of released ones that still run."""
    return _taking_place(now).filter(customer_id=customer_id, mode=mode).count()


def _taking_place(now: datetime) -> QuerySet[Installation]:
    return Installation.objects.filter(Q(released_at=None) | Q(lease_until__gt=now))


def _holds_place(row: Installation | None, now: datetime) -> bool:
    return row is not None and row.lease_until is not None and row.lease_until > now


def _has_room(subscription: Subscription, mode: str, now: datetime) -> bool:
    if mode == "test":
        return places_taken(subscription.customer_id, mode, now) < TEST_LIMIT
    limit = subscription.installation_limit
    if limit is None:
        limit = subscription.tier.installation_limit
    return limit is None or places_taken(subscription.customer_id, mode, now) < limit


def _activate(row: Installation | None, machine: Machine, now: datetime) -> Installation:
    described = {
        "hostname": machine.hostname,
        "os": machine.os,
        "arch": machine.arch,
        "version": machine.version,
        "build_id": machine.build_id,
        "api_key_id": machine.api_key_id,
        "last_seen_at": now,
        "last_seen_from": machine.address,
        "released_at": None,
        "released_reason": "",
    }
    if row is not None:
        for name, value in described.items():
            setattr(row, name, value)
        row.save(update_fields=list(described))
        return row
    return Installation.objects.create(
        id=new_id("inst"),
        customer_id=machine.customer_id,
        plugin_id=machine.plugin,
        mode=machine.mode,
        fingerprint=machine.fingerprint,
        is_anonymous=machine.is_anonymous,
        first_seen_at=now,
        **described,
    )


def _generation(row: Installation) -> int:
    found = Generation.objects.filter(
        customer_id=row.customer_id, kind=Generation.Kind.INSTALLATION, subject_id=row.id
    ).values_list("value", flat=True)
    return found.first() or 0


def _record_release(row: Installation, actor: Actor, *, confirmed: bool) -> None:
    detail = {"plugin": row.plugin_id, "reason": row.released_reason, "confirmed": confirmed}
    audit.record(
        actor=actor,
        action="installation.released",
        subject_kind="installation",
        subject_id=row.id,
        customer_id=row.customer_id,
        detail=detail,
    )
    outbox.emit("installation.released", customer_id=row.customer_id, payload={"installation_id": row.id, **detail})
