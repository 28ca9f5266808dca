"""The operator's global switch: while it is on, every decision is LOCKDOWN."""

from datetime import datetime

from django.db import connection, transaction

from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.models import Lockdown

_LOCK = (0x6B77, 0x6C64)  # advisory: there may be no row yet to wait on


def start_lockdown(*, reason: str, actor: Actor, now: datetime) -> tuple[Lockdown, bool]:
    """Lock all access; returns the lockdown, and whether it is new. One that is on stays as it was begun."""
    with transaction.atomic():
        _lock()
        row = Lockdown.objects.first()
        if row is not None:
            return row, False
        row = Lockdown.objects.create(reason=reason, started_at=now, started_by=actor.id)
        _record("lockdown.started", actor, reason)
    return row, True


def end_lockdown(*, actor: Actor) -> None:
    """Open access again. Without a lockdown nothing changes."""
    with transaction.atomic():
        _lock()
        row = Lockdown.objects.first()
        if row is not None:
            _record("lockdown.ended", actor, row.reason)
            row.delete()


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", list(_LOCK))


def _record(action: str, actor: Actor, reason: str) -> None:
    audit.record(actor=actor, action=action, subject_kind="lockdown", subject_id="1", detail={"reason": reason})
    outbox.emit("lockdown.changed", payload={"action": action, "reason": reason})
