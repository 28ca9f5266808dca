"""Subscriptions: what the billing side tells us, checked and written whole."""

from datetime import datetime

from django.db import transaction

from accounts.models import Customer
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.clock import rfc3339
from licensing.core.errors import InvalidValue
from licensing.models import Subscription, Tier


def set_subscription(
    *,
    customer: Customer,
    tier: Tier,
    actor: Actor,
    status: str,
    period_start: datetime,
    period_end: datetime,
    grace_until: datetime | None = None,
    installation_limit: int | None = None,
) -> Subscription:
    """Make the customer's subscription be exactly this. What is the same already is not written again.

    Raises:
        InvalidValue: naming the field.
    """
    if status not in Subscription.Status.values:
        raise InvalidValue(f"status: one of {', '.join(Subscription.Status.values)}.", field="status")
    if period_end <= period_start:
        raise InvalidValue("period_end: must be after period_start.", field="period_end")
    if installation_limit is not None and not 0 <= installation_limit <= 2**31 - 1:
        raise InvalidValue("installation_limit: a whole number from 0.", field="installation_limit")
    wanted = {
        "tier_id": tier.pk,
        "status": status,
        "period_start": period_start,
        "period_end": period_end,
        "grace_until": grace_until,
        "installation_limit": installation_limit,
    }
    with transaction.atomic():
        # The customer's row stands for a subscription that does not exist yet.
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        row = Subscription.objects.select_for_update().filter(pk=customer.pk).first()
        before = {name: getattr(row, name) for name in wanted} if row else {}
        if row is not None and before == wanted:
            return row
        row = row or Subscription(customer=customer)
        for name, value in wanted.items():
            setattr(row, name, value)
        row.save()
        _record(row, before, wanted, actor)
    return row


def _record(row: Subscription, before: dict[str, object], after: dict[str, object], actor: Actor) -> None:
    changed = {name: _plain(value) for name, value in after.items() if before.get(name) != value}
    audit.record(
        actor=actor,
        action="subscription.changed",
        subject_kind="subscription",
        subject_id=row.customer_id,
        customer_id=row.customer_id,
        detail={"changed": changed, "before": {name: _plain(before.get(name)) for name in changed}},
    )
    outbox.emit("subscription.changed", customer_id=row.customer_id, payload={"changed": changed})


def _plain(value: object) -> object:
    return rfc3339(value) if isinstance(value, datetime) else value
