"""Granting features to one customer: overrides and temporary grants."""

from datetime import datetime

from django.db import transaction

from accounts.models import Customer
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.errors import InvalidValue
from licensing.core.ids import new_id
from licensing.models import Entitlement, Feature

MAX_TEXT = 1000


def checked_value(feature: Feature, value: object, *, field: str = "value") -> bool | int | str:
    """Return `value` if it is of the feature's type, or false, which refuses any feature. Raises `InvalidValue`."""
    if isinstance(value, bool):
        if value is False or feature.value_type == Feature.ValueType.BOOL:
            return value
    elif isinstance(value, int):
        if feature.value_type == Feature.ValueType.INT and abs(value) < 2**53:
            return value
    elif isinstance(value, str) and feature.value_type == Feature.ValueType.STR and len(value) <= MAX_TEXT:
        return value
    raise InvalidValue(
        f"{field}: the feature {feature.code} takes a value of type {feature.value_type}, or false.", field=field
    )


def set_override(*, customer: Customer, feature: Feature, value: object, actor: Actor, source: str = "") -> Entitlement:
    """Give the customer its own value of a feature, over what its tier grants; false takes the feature away.

    Raises:
        InvalidValue: not of the feature's type.
    """
    checked = checked_value(feature, value)
    with transaction.atomic():
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        row = Entitlement.objects.filter(
            customer=customer, feature=feature, kind=Entitlement.Kind.OVERRIDE
        ).first() or Entitlement(id=new_id("ent"), customer=customer, feature=feature, kind=Entitlement.Kind.OVERRIDE)
        row.value, row.source = checked, source
        row.save()
        record_change(row, "entitlement.set", actor)
    return row


def grant_temporarily(
    *,
    customer: Customer,
    feature: Feature,
    value: object,
    starts_at: datetime,
    ends_at: datetime,
    actor: Actor,
    source: str = "",
) -> Entitlement:
    """Give the customer a feature from one instant until before another; it needs no job to start or end.

    Raises:
        InvalidValue: not of the feature's type, or an end that is not after the start.
    """
    if ends_at <= starts_at:
        raise InvalidValue("ends_at: must be after starts_at.", field="ends_at")
    checked = checked_value(feature, value)
    with transaction.atomic():
        row = Entitlement.objects.create(
            id=new_id("ent"),
            customer=customer,
            feature=feature,
            kind=Entitlement.Kind.TEMPORARY,
            value=checked,
            starts_at=starts_at,
            ends_at=ends_at,
            source=source,
        )
        record_change(row, "entitlement.set", actor)
    return row


def remove_entitlement(*, entitlement: Entitlement, actor: Actor) -> None:
    """Take an override or a temporary grant away."""
    with transaction.atomic():
        row = Entitlement.objects.select_for_update().filter(pk=entitlement.pk).first()
        if row is not None:
            record_change(row, "entitlement.removed", actor)
            row.delete()


def record_change(row: Entitlement, action: str, actor: Actor) -> None:
    """Write the audit row and the event of one entitlement's change."""
    detail = {"feature": row.feature_id, "kind": row.kind, "value": row.value, "source": row.source}
    audit.record(
        actor=actor,
        action=action,
        subject_kind="entitlement",
        subject_id=row.id,
        customer_id=row.customer_id,
        detail=detail,
    )
    outbox.emit("entitlement.changed", customer_id=row.customer_id, payload={"entitlement_id": row.id, **detail})
