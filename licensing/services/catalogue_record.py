"""What every change of the catalogue leaves behind: an audit row and an event."""

from collections.abc import Mapping

from licensing.core import audit, outbox
from licensing.core.actor import Actor


def record_catalogue_change(
    *, kind: str, subject_id: str, change: str, actor: Actor, detail: Mapping[str, object] | None = None
) -> None:
    """Record that a `tier`, `feature` or `plugin` was `created`, `changed` or `removed`; in its transaction."""
    audit.record(
        actor=actor, action=f"{kind}.{change}", subject_kind=kind, subject_id=subject_id, detail=dict(detail or {})
    )
    outbox.emit("catalogue.changed", payload={"kind": kind, "id": subject_id, "change": change})
