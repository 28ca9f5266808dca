"""Changing customers, one or many at once."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.db import transaction

from accounts.models import Customer
from accounts.services.api_keys import checked_cidrs
from accounts.services.customers import create_customer
from licensing.core import audit
from licensing.core.actor import Actor
from licensing.core.batch import Batch
from licensing.core.errors import InvalidValue, NotFound

MAX_METADATA: Final = 50
CHANGEABLE: Final = ("name", "proof_required", "require_mfa", "portal_cidrs", "metadata")


def update_customer(*, customer: Customer, changes: Mapping[str, Any], actor: Actor) -> Customer:
    """Change what `changes` names, of CHANGEABLE. What is the same already is not written again.

    Raises:
        InvalidValue: naming the field.
    """
    wanted = checked_changes(changes)
    with transaction.atomic():
        row = Customer.objects.select_for_update().get(pk=customer.pk)
        changed = [name for name, value in wanted.items() if getattr(row, name) != value]
        if not changed:
            return row
        for name in changed:
            setattr(row, name, wanted[name])
        row.save(update_fields=[*changed, "updated_at"])
        audit.record(
            actor=actor,
            action="customer.changed",
            subject_kind="customer",
            subject_id=row.id,
            customer_id=row.id,
            detail={"changed": sorted(changed)},
        )
    return row


def apply_customers(
    *, create: Sequence[Mapping[str, Any]], update: Sequence[Mapping[str, Any]], actor: Actor
) -> tuple[list[Customer], list[Customer]]:
    """Make and change many customers, all or none; each mapping has its `id`.

    Raises:
        BatchRefused: with an error for each entry that cannot be done, by its place.
    """
    with transaction.atomic():
        # In the order of their keys, so that two batches never wait for each other in a circle.
        wanted_ids = sorted(str(entry["id"]) for entry in update)
        rows = {row.pk: row for row in Customer.objects.select_for_update().filter(pk__in=wanted_ids).order_by("pk")}
        batch = Batch()
        created = [batch.attempt(f"create[{index}]", _creating(entry, actor)) for index, entry in enumerate(create)]
        updated = [
            batch.attempt(f"update[{index}]", _updating(entry, rows, actor)) for index, entry in enumerate(update)
        ]
        batch.finish()
    return [row for row in created if row], [row for row in updated if row]


def checked_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `changes` as they are stored. Raises `InvalidValue`."""
    wanted = {name: changes[name] for name in CHANGEABLE if name in changes}
    if "name" in wanted:
        wanted["name"] = wanted["name"].strip()
        if not wanted["name"]:
            raise InvalidValue("name: give the customer a name.", field="name")
    if "portal_cidrs" in wanted:
        wanted["portal_cidrs"] = checked_cidrs(wanted["portal_cidrs"], field="portal_cidrs")
    if len(wanted.get("metadata", ())) > MAX_METADATA:
        raise InvalidValue(f"metadata: at most {MAX_METADATA} members.", field="metadata")
    return wanted


def make_customer(*, customer_id: str, name: str, settings: Mapping[str, Any], actor: Actor) -> Customer:
    """Make a customer with all that CHANGEABLE lists set at once. Raises as `create_customer` and `update_customer`."""
    checked = checked_changes(settings)
    with transaction.atomic():
        row = create_customer(
            customer_id=customer_id,
            name=name,
            actor=actor,
            proof_required=checked.pop("proof_required", False),
            metadata=checked.pop("metadata", None),
        )
        return update_customer(customer=row, changes=checked, actor=actor) if checked else row


def _creating(entry: Mapping[str, Any], actor: Actor) -> Any:
    settings = {name: value for name, value in entry.items() if name not in ("id", "name")}
    return lambda: make_customer(customer_id=entry["id"], name=entry["name"], settings=settings, actor=actor)


def _updating(entry: Mapping[str, Any], rows: Mapping[str, Customer], actor: Actor) -> Any:
    def update() -> Customer:
        row = rows.get(entry["id"])
        if row is None:
            raise NotFound("There is no customer of this id.", field="id")
        changes = {name: value for name, value in entry.items() if name != "id"}
        return update_customer(customer=row, changes=changes, actor=actor)

    return update
