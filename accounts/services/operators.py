"""Operators of the vendor and their keys."""

from dataclasses import dataclass, field
from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.models import OperatorKey, User
from accounts.services.key_material import operator_prefix, stored_material
from licensing.core import audit
from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue
from licensing.core.ids import new_id
from licensing.crypto import keys


@dataclass(frozen=True, slots=True)
class IssuedOperatorKey:
    """A new operator key: the row, and the key itself, which is shown this once."""

    operator_key: OperatorKey
    key: str = field(repr=False)


def issue_operator_key(
    *, user: User, name: str, actor: Actor, expires_at: datetime | None = None, key: str | None = None
) -> IssuedOperatorKey:
    """Make a key that acts as the operator `user`.

    Raises:
        InvalidValue: the person is no operator.
        Conflict: the imported key exists already.
    """
    if not user.is_staff:
        raise InvalidValue("user: this person is not an operator.", field="user")
    key = key or keys.generate_key(operator_prefix())
    row_id = new_id("opk")
    row = OperatorKey(
        id=row_id,
        user=user,
        name=name,
        expires_at=expires_at,
        **stored_material(key, table="operator_key", row_id=row_id),
    )
    with transaction.atomic():
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as exc:
            raise Conflict("This key exists already.", field="key") from exc
        _record(row, "operator_key.created", actor)
    return IssuedOperatorKey(row, key)


def revoke_operator_key(*, operator_key: OperatorKey, actor: Actor, now: datetime) -> OperatorKey:
    """Revoke an operator's key. Revoking again changes nothing."""
    with transaction.atomic():
        row = OperatorKey.objects.select_for_update().get(pk=operator_key.pk)
        if row.revoked_at is None:
            row.revoked_at = now
            row.save(update_fields=["revoked_at"])
            _record(row, "operator_key.revoked", actor)
    return row


def _record(row: OperatorKey, action: str, actor: Actor) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject_kind="operator_key",
        subject_id=row.id,
        detail={"operator": row.user.email, "last4": row.last4},
    )
