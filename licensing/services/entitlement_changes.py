"""Adding and changing entitlements, one or many at once."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import Customer
from licensing.core.actor import Actor
from licensing.core.batch import Batch
from licensing.core.errors import Conflict, InvalidValue, NotFound
from licensing.models import Entitlement, Feature
from licensing.services.entitlements import checked_value, grant_temporarily, record_change, set_override


def add_entitlement(*, customer: Customer, wanted: Mapping[str, Any], actor: Actor, now: datetime) -> Entitlement:
    """Give a customer a feature: an override, or with `ends_at` a temporary grant (from now, unless `starts_at` says).

    `wanted` has `feature`, `value`, `source`, and perhaps `kind`, `starts_at`, `ends_at`.

    Raises:
        InvalidValue: naming the field.
        Conflict: the customer has an override of this feature.
    """
    feature = Feature.objects.filter(pk=wanted["feature"]).first()
    if feature is None:
        raise InvalidValue("feature: there is no such feature.", field="feature")
    starts_at, ends_at = wanted.get("starts_at"), wanted.get("ends_at")
    kind = wanted.get("kind") or (Entitlement.Kind.TEMPORARY if starts_at or ends_at else Entitlement.Kind.OVERRIDE)
    value, source = wanted.get("value", True), wanted.get("source", "")
    with transaction.atomic():
        # Two first overrides share no row to wait on but the customer's.
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        if kind == Entitlement.Kind.TEMPORARY:
            if ends_at is None:
                raise InvalidValue("ends_at: a temporary grant ends.", field="ends_at")
            return grant_temporarily(
                customer=customer,
                feature=feature,
                value=value,
                starts_at=starts_at or now,
                ends_at=ends_at,
                actor=actor,
                source=source,
            )
        _require_no_period(starts_at, ends_at)
        if Entitlement.objects.filter(customer=customer, feature=feature, kind=kind).exists():
            raise Conflict("The customer has an override of this feature; change that one.", field="feature")
        return set_override(customer=customer, feature=feature, value=value, actor=actor, source=source)


def update_entitlement(*, entitlement: Entitlement, changes: Mapping[str, Any], actor: Actor) -> Entitlement:
    """Change `value`, `source`, and of a temporary grant `starts_at` and `ends_at`.

    Raises:
        InvalidValue: naming the field.
    """
    with transaction.atomic():
        row = Entitlement.objects.select_for_update(of=("self",)).select_related("feature").get(pk=entitlement.pk)
        wanted = dict(changes)
        if "value" in wanted:
            wanted["value"] = checked_value(row.feature, wanted["value"])
        changed = [name for name, value in wanted.items() if not _same(getattr(row, name), value)]
        if not changed:
            return row
        for name in changed:
            setattr(row, name, wanted[name])
        _check_period(row)
        row.save(update_fields=[*changed, "updated_at"])
        record_change(row, "entitlement.changed", actor)
    return row


def apply_entitlements(
    *,
    customer: Customer,
    create: Sequence[Mapping[str, Any]],
    update: Sequence[Mapping[str, Any]],
    actor: Actor,
    now: datetime,
) -> tuple[list[Entitlement], list[Entitlement]]:
    """Add and change many entitlements of one customer, all or none; each mapping of `update` has its `id`.

    Raises:
        BatchRefused: with an error for each entry that cannot be done, by its place.
    """
    with transaction.atomic():
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        ids = sorted(str(entry["id"]) for entry in update)
        found = Entitlement.objects.select_for_update().filter(customer=customer, pk__in=ids).order_by("pk")
        rows = {row.pk: row for row in found}
        batch = Batch()
        added = [
            batch.attempt(f"create[{index}]", _adding(customer, entry, actor, now))
            for index, entry in enumerate(create)
        ]
        changed = [
            batch.attempt(f"update[{index}]", _changing(rows, entry, actor)) for index, entry in enumerate(update)
        ]
        batch.finish()
    return [row for row in added if row], [row for row in changed if row]


def _adding(customer: Customer, entry: Mapping[str, Any], actor: Actor, now: datetime) -> Callable[[], Entitlement]:
    return lambda: add_entitlement(customer=customer, wanted=entry, actor=actor, now=now)


def _changing(rows: Mapping[str, Entitlement], entry: Mapping[str, Any], actor: Actor) -> Callable[[], Entitlement]:
    def change() -> Entitlement:
        row = rows.get(entry["id"])
        if row is None:
            raise NotFound("The customer has no entitlement of this id.", field="id")
        changes = {name: value for name, value in entry.items() if name != "id"}
        return update_entitlement(entitlement=row, changes=changes, actor=actor)

    return change


def _check_period(row: Entitlement) -> None:
    if row.kind == Entitlement.Kind.OVERRIDE:
        _require_no_period(row.starts_at, row.ends_at)
    elif row.starts_at is None or row.ends_at is None:
        field = "starts_at" if row.starts_at is None else "ends_at"
        raise InvalidValue(f"{field}: a temporary grant starts and ends.", field=field)
    elif row.ends_at <= row.starts_at:
        raise InvalidValue("ends_at: must be after starts_at.", field="ends_at")


def _require_no_period(starts_at: datetime | None, ends_at: datetime | None) -> None:
    for name, instant in (("starts_at", starts_at), ("ends_at", ends_at)):
        if instant is not None:
            raise InvalidValue(f"{name}: an override is always there; leave it out.", field=name)


def _same(one: object, other: object) -> bool:
    """Whether two values are the same; to Python alone `True` equals 1."""
    return type(one) is type(other) and one == other
