"""What the farm does when it hears of something (`licensing.core.outbox`). Each may be run twice."""

from datetime import UTC, datetime

from accounts.models import Customer
from build_farm.models import Build
from build_farm.services.key_slots import refresh_customer_slots, refresh_slots
from build_farm.services.request_build import request_build
from licensing.core.actor import system
from licensing.core.errors import DomainError
from licensing.core.models import OutboxEvent
from registry.models import Release, RequestedBuild
from registry.services.requested_builds import note_build


def on_build_requested(event: OutboxEvent) -> None:
    """A customer wants to download what is not built yet."""
    asked = event.payload
    release = Release.objects.filter(pk=asked["release_id"]).first()
    customer = Customer.objects.filter(pk=event.customer_id).first()
    if release is None or customer is None:
        return
    try:
        request_build(
            release=release,
            customer=customer,
            target=asked["target"],
            actor=system("registry"),
            priority=Build.Priority(asked.get("priority", Build.Priority.INTERACTIVE)),
        )
    except DomainError as exc:
        note_build(
            release=release,
            customer_id=customer.pk,
            target=asked["target"],
            status=RequestedBuild.Status.FAILED,
            detail=exc.detail,
            now=datetime.now(UTC),
        )


def on_keys_changed(event: OutboxEvent) -> None:
    """A key was issued, rotated or revoked: the builds' secret is sealed for those that there are now."""
    refresh_customer_slots(customer_id=event.customer_id, now=datetime.now(UTC))


def on_build_published(event: OutboxEvent) -> None:
    """A new build has a slot for each of its customer's keys from its first minute on."""
    if Build.objects.filter(pk=event.payload["build_id"]).exists():
        refresh_slots(build_id=event.payload["build_id"], now=datetime.now(UTC))
