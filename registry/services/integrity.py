"""What happens when the store has other bytes than those that were published."""

from datetime import datetime

import structlog
from django.db import transaction

from licensing.core import outbox
from licensing.core.actor import Actor
from licensing.models import Plugin, Quarantine
from licensing.services.quarantines import quarantine
from registry.models import Artifact

log = structlog.get_logger(__name__)

_MOST_LISTED = 100


def quarantine_damaged(*, sha256: str, reason: str, actor: Actor, now: datetime) -> bool:
    """Quarantine every artifact that stands on a damaged file, and raise the alarm; whether that was news.

    The one who found it refuses what it was asked for, so this must not share its transaction's fate.
    """
    artifacts = list(Artifact.objects.filter(file=sha256).select_related("release").order_by("id"))
    plugins = sorted({artifact.release.plugin_id for artifact in artifacts})
    with transaction.atomic():
        made = [_quarantine(plugin, sha256, reason, actor, now) for plugin in plugins]
        is_news = any(made)
        if is_news:
            _alarm(sha256, reason, artifacts, actor)
    log.error("artifact.damaged", sha256=sha256, reason=reason, artifacts=len(artifacts))
    return is_news


def _quarantine(plugin: str, sha256: str, reason: str, actor: Actor, now: datetime) -> bool:
    _, is_new = quarantine(
        plugin=Plugin.objects.get(pk=plugin),
        scope=Quarantine.Scope.ARTIFACT,
        target=sha256,
        reason=f"The stored file no longer matches its digest ({reason}).",
        actor=actor,
        now=now,
    )
    return is_new


def _alarm(sha256: str, reason: str, artifacts: list[Artifact], actor: Actor) -> None:
    outbox.emit(
        "security.alert",
        payload={
            "type": "artifact_integrity",
            "sha256": sha256,
            "reason": reason,
            "artifacts": [
                {
                    "artifact_id": artifact.id,
                    "plugin": artifact.release.plugin_id,
                    "version": artifact.release.version,
                    "target": artifact.target,
                    "customer_id": artifact.customer_id,
                }
                for artifact in artifacts[:_MOST_LISTED]
            ],
            "found_by": actor.kind,
            "actions": ["artifact_quarantined"],
        },
    )
