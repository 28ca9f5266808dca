"""The outbox: domain events written with the change, handed to subscribers at least once, in order per customer.

`emit` belongs inside the transaction of the change. `dispatch_pending` is run by a sweep; a lost message delays an
event and never loses it. Subscribers must be safe to run twice: the event's id tells them.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction

from licensing.core.models import OutboxEvent

log = structlog.get_logger(__name__)

Subscriber = Callable[[OutboxEvent], None]

MAX_ATTEMPTS = 12
_FIRST_DELAY_SECONDS = 2
_LONGEST_DELAY_SECONDS = 900
_LOCK_SPACE = 0x6B77  # our own space of advisory locks: one a customer's event order

_subscribers: dict[str, list[Subscriber]] = {}


def subscribe(name: str, subscriber: Subscriber) -> None:
    """Have `subscriber` called for each event `name`; apps do this once, when they are ready."""
    listed = _subscribers.setdefault(name, [])
    if subscriber not in listed:
        listed.append(subscriber)


def emit(name: str, *, customer_id: str = "", payload: Mapping[str, Any] | None = None) -> OutboxEvent:
    """Write one event in the current transaction.

    Ids alone would not keep order, since a transaction that took a lower id can commit later: writers of one
    customer's events queue on an advisory lock until they commit, so that order of id is order of commit.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("An outbox event belongs inside the transaction of its change.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_SPACE, customer_id])
    return OutboxEvent.objects.create(name=name, customer_id=customer_id, payload=dict(payload or {}))


def dispatch_pending(*, now: datetime, limit: int = 200) -> int:
    """Hand waiting events to their subscribers, oldest first within each customer; return how many were done."""
    first_of_each = (
        OutboxEvent.objects.filter(dispatched_at__isnull=True, failed_at__isnull=True)
        .order_by("customer_id", "id")
        .distinct("customer_id")
        .values("pk")
    )
    # Only queues that can move: those whose first event was put off must not fill the list.
    due = (
        OutboxEvent.objects.filter(pk__in=first_of_each, not_before__lte=now)
        .order_by("id")
        .values_list("customer_id", flat=True)[:limit]
    )
    return sum(_dispatch_customer(customer_id, now, limit) for customer_id in list(due))


def purge_dispatched(*, before: datetime, batch: int = 5000) -> int:
    """Remove events that were handed over before an instant; those that failed are kept. Returns how many."""
    removed = 0
    while True:
        old = OutboxEvent.objects.filter(dispatched_at__lt=before).order_by("id").values("id")[:batch]
        count, _ = OutboxEvent.objects.filter(id__in=old).delete()
        if count == 0:
            return removed
        removed += count


def _dispatch_customer(customer_id: str, now: datetime, limit: int) -> int:
    done = 0
    while done < limit and _dispatch_next(customer_id, now):
        done += 1
    return done


def _dispatch_next(customer_id: str, now: datetime) -> bool:
    """Handle this customer's first waiting event; False when there is none that is due or another worker has it."""
    with transaction.atomic():
        # Not SKIP LOCKED over the whole queue: a second worker must not overtake the event that the first one holds.
        event = (
            OutboxEvent.objects.select_for_update(nowait=False, skip_locked=True)
            .filter(customer_id=customer_id, dispatched_at__isnull=True, failed_at__isnull=True)
            .order_by("id")
            .first()
        )
        if event is None or event.not_before > now or not _is_first(event):
            return False
        try:
            with transaction.atomic():
                for subscriber in _subscribers.get(event.name, ()):
                    subscriber(event)
        except Exception as exc:  # noqa: BLE001  a subscriber's fault must not stop the queue
            _postpone(event, now, exc)
            return False
        event.dispatched_at = now
        event.save(update_fields=["dispatched_at"])
        return True


def _is_first(event: OutboxEvent) -> bool:
    """Tell whether no earlier event of the customer waits, perhaps locked by another worker."""
    return not OutboxEvent.objects.filter(
        customer_id=event.customer_id, id__lt=event.id, dispatched_at__isnull=True, failed_at__isnull=True
    ).exists()


def _postpone(event: OutboxEvent, now: datetime, exc: Exception) -> None:
    event.attempts += 1
    delay = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2 ** (event.attempts - 1))
    event.not_before = now + timedelta(seconds=delay)
    if event.attempts >= MAX_ATTEMPTS:
        event.failed_at = now
    event.save(update_fields=["attempts", "not_before", "failed_at"])
    log.error("outbox.subscriber_failed", event_id=event.id, event_name=event.name, error_type=type(exc).__name__)
