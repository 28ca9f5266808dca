"""The audit rows of builds, and what others hear of them."""

from collections.abc import Mapping
from typing import Any

from build_farm.models import Build
from licensing.core import audit, outbox
from licensing.core.actor import Actor, system


def record_build(
    build: Build,
    action: str,
    *,
    actor: Actor | None = None,
    worker: str = "",
    detail: Mapping[str, Any] | None = None,
    tells: bool = True,
) -> None:
    """Write what happened to a build, in the transaction of the change; with `tells`, as a domain event too."""
    described = {
        "build_id": build.id,
        "plugin": build.release.plugin_id,
        "version": build.release.version,
        "target": build.target,
        **(detail or {}),
    }
    audit.record(
        actor=actor or system(worker[:80]),
        action=action,
        subject_kind="build",
        subject_id=build.id,
        customer_id=build.customer_id,
        is_change=False,
        detail=described,
    )
    if tells:
        outbox.emit(action, customer_id=build.customer_id, payload=described)
