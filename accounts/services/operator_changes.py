"""Making operators, changing them and shutting them out. There is always one who can do everything."""

from collections.abc import Mapping
from typing import Any, Final

from django.db import IntegrityError, connection, transaction

from accounts.models import User
from accounts.services.invitations import checked_email
from licensing.core import audit
from licensing.core.actor import Actor
from licensing.core.errors import Conflict

CHANGEABLE: Final = ("name", "is_superuser", "is_active")
_LOCK: Final = (0x6B77, 0x6F70)  # advisory: one hand on the set of superusers at a time


def make_operator(*, email: str, name: str, is_superuser: bool, actor: Actor) -> User:
    """Make a person an operator; without a password, until they set one by the mail that resets it.

    Raises:
        InvalidValue: not an e-mail address.
        Conflict: they are an operator already.
    """
    address = checked_email(email)
    with transaction.atomic():
        row = User.objects.select_for_update().filter(email__iexact=address).first()
        if row is not None and row.is_staff:
            raise Conflict("This person is an operator already.", field="email")
        if row is None:
            try:
                with transaction.atomic():
                    row = User.objects.create_user(address)
            except IntegrityError as exc:
                raise Conflict("This person is being made by another request.", field="email") from exc
        row.name = name.strip() or row.name
        row.is_staff, row.is_superuser = True, is_superuser
        row.save(update_fields=["name", "is_staff", "is_superuser"])
        _record(row, "operator.created", actor, {"is_superuser": is_superuser})
    return row


def update_operator(*, operator: User, changes: Mapping[str, Any], actor: Actor) -> User:
    """Change what `changes` names, of CHANGEABLE. An operator who is not active is shut out, keys and all.

    Raises:
        Conflict: nobody would be left who can do everything.
    """
    wanted = {name: changes[name] for name in CHANGEABLE if name in changes}
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Two superusers who demote each other at once share no row to wait on.
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", list(_LOCK))
        row = User.objects.select_for_update().get(pk=operator.pk)
        changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
        if not changed:
            return row
        for name, value in changed.items():
            setattr(row, name, value)
        row.save(update_fields=list(changed))
        if not User.objects.filter(is_staff=True, is_superuser=True, is_active=True).exists():
            raise Conflict("The last superuser stays one; make another first.")
        _record(row, "operator.changed", actor, changed)
    return row


def _record(row: User, action: str, actor: Actor, detail: Mapping[str, object]) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject_kind="person",
        subject_id=str(row.pk),
        detail={"email": row.email, **detail},
    )
