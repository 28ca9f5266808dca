"""The people of an organisation: their roles, and taking them out. An organisation is never left without an owner."""

from django.db import transaction

from accounts.models import Customer, Membership, Role
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.errors import Conflict


def change_role(*, membership: Membership, role: str, actor: Actor) -> Membership:
    """Give a person another role. The same role again changes nothing.

    Raises:
        Conflict: the last owner would be none any more.
    """
    with transaction.atomic():
        row = _locked(membership)
        if row.role == role:
            return row
        if role != Role.OWNER:
            _require_other_owner(row)
        before, row.role = row.role, role
        row.save(update_fields=["role"])
        _record(row, "member.changed", actor, {"before": before})
    return row


def remove_member(*, membership: Membership, actor: Actor) -> None:
    """Take a person out of an organisation.

    Raises:
        Conflict: it is the last owner.
    """
    with transaction.atomic():
        row = _locked(membership)
        _require_other_owner(row)
        _record(row, "member.removed", actor, {})
        row.delete()


def _locked(membership: Membership) -> Membership:
    # The customer first: two owners who leave at once share no membership row, and each would see the other stay.
    Customer.objects.select_for_update(no_key=True).get(pk=membership.customer_id)
    return Membership.objects.select_for_update(of=("self",)).select_related("user").get(pk=membership.pk)


def _require_other_owner(row: Membership) -> None:
    owners = Membership.objects.filter(customer_id=row.customer_id, role=Role.OWNER)
    if row.role == Role.OWNER and not owners.exclude(pk=row.pk).exists():
        raise Conflict("The last owner stays; make somebody else an owner first.")


def _record(row: Membership, action: str, actor: Actor, detail: dict[str, object]) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject_kind="person",
        subject_id=str(row.user_id),
        customer_id=row.customer_id,
        detail={"email": row.user.email, "role": row.role, **detail},
    )
    outbox.emit("member.changed", customer_id=row.customer_id, payload={"person_id": row.user_id, "action": action})
