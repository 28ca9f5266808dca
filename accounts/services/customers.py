"""Customers: making, suspending, removing them."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import CUSTOMER_ID_PATTERN, Customer, RetiredCustomerId
from accounts.models.customer import RESERVED_IDS
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue


def create_customer(
    *,
    customer_id: str,
    name: str,
    actor: Actor,
    proof_required: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Customer:
    """Make a customer under an id that nobody has or ever had.

    Raises:
        InvalidValue: the id is not of the shape `^[a-z][a-z0-9_]{2,62}$`, or the name is empty.
        Conflict: the id is taken, or was.
    """
    if not re.fullmatch(CUSTOMER_ID_PATTERN.strip("^$"), customer_id):
        raise InvalidValue("id: lower-case letters, digits and _, 3 to 63, a letter first.", field="id")
    if customer_id in RESERVED_IDS:
        raise InvalidValue("id: this word is reserved.", field="id")
    if not name.strip():
        raise InvalidValue("name: give the customer a name.", field="name")
    with transaction.atomic():
        if RetiredCustomerId.objects.filter(pk=customer_id).exists():
            raise Conflict("This id belonged to a customer that was removed; ids are never reused.", field="id")
        customer = Customer(
            id=customer_id, name=name.strip(), proof_required=proof_required, metadata=dict(metadata or {})
        )
        try:
            with transaction.atomic():
                customer.save(force_insert=True)
        except IntegrityError as exc:
            raise Conflict("There is a customer of this id already.", field="id") from exc
        _record(customer, "customer.created", actor, {"name": customer.name})
    return customer


def suspend_customer(*, customer: Customer, reason: str, actor: Actor, now: datetime) -> Customer:
    """Stop every decision for the customer at once. Suspending again changes nothing."""
    return _set_suspension(customer, actor, now, reason)


def resume_customer(*, customer: Customer, actor: Actor) -> Customer:
    """Take a suspension back."""
    return _set_suspension(customer, actor, None, "")


def remove_customer(*, customer: Customer, actor: Actor) -> None:
    """Remove a customer and all that is its own; the audit log keeps what happened, and its id is retired."""
    with transaction.atomic():
        row = Customer.objects.select_for_update().get(pk=customer.pk)
        RetiredCustomerId.objects.create(id=row.id)
        _record(row, "customer.removed", actor, {"name": row.name})
        row.delete()


def _set_suspension(customer: Customer, actor: Actor, at: datetime | None, reason: str) -> Customer:
    with transaction.atomic():
        row = Customer.objects.select_for_update().get(pk=customer.pk)
        if row.is_suspended == (at is not None):
            return row
        row.suspended_at = at
        row.suspended_reason = reason[:500]
        row.save(update_fields=["suspended_at", "suspended_reason", "updated_at"])
        action = "customer.suspended" if at else "customer.resumed"
        _record(row, action, actor, {"reason": row.suspended_reason})
        outbox.emit(action, customer_id=row.id, payload={"reason": row.suspended_reason})
    return row


def _record(customer: Customer, action: str, actor: Actor, detail: dict[str, Any]) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject_kind="customer",
        subject_id=customer.id,
        customer_id=customer.id,
        detail=detail,
    )
