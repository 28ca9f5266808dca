"""Writing the audit log: always in the transaction of the change, or before the answer goes out (DESIGN §10)."""

from collections.abc import Mapping
from typing import Any

from licensing.core.actor import Actor
from licensing.core.changes import announce
from licensing.core.models import AuditEvent


def record(
    *,
    actor: Actor,
    action: str,
    subject_kind: str = "",
    subject_id: str = "",
    customer_id: str = "",
    code: str = "",
    detail: Mapping[str, Any] | None = None,
    is_change: bool = True,
) -> AuditEvent:
    """Append one row; `detail` holds identifiers and plain values, never a credential.

    With the row of a change, this process forgets at commit what it has cached of its subject.
    """
    if is_change:
        announce(customer_id)
    return AuditEvent.objects.create(
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_display=actor.display,
        action=action,
        subject_kind=subject_kind,
        subject_id=subject_id[:128],
        customer_id=customer_id,
        code=code,
        source_address=actor.source_address,
        request_id=actor.request_id,
        detail=dict(detail or {}),
    )
