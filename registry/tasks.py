"""Celery tasks of `registry`: each finds its own work in the database, and is safe to run twice."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from celery import shared_task

from licensing.core.actor import system
from licensing.core.models import OutboxEvent
from licensing.services.key_lifecycle import CertificateLapsed
from registry.models import Artifact
from registry.services.downloads import forget_old_grants
from registry.services.policies import sign_due_policies
from registry.services.signing import sign_due_artifacts
from registry.services.stored_files import collect_unreferenced
from registry.storage import artifact_store

log = structlog.get_logger(__name__)


@shared_task(name="registry.sign_due")
def sign_due() -> None:
    """Sign policies and prebuilt files that wait for it (`sign` only)."""
    now = datetime.now(UTC)
    _unless_lapsed(lambda: sign_due_policies(now=now))
    _unless_lapsed(lambda: sign_due_artifacts(store=artifact_store(), actor=system("sign"), now=now))


@shared_task(name="registry.forget_old_grants")
def forget_grants() -> None:
    """Remove download grants that ended a day ago."""
    forget_old_grants(now=datetime.now(UTC))


@shared_task(name="registry.collect_artifacts")
def collect_artifacts() -> None:
    """Delete stored files that nothing refers to."""
    collect_unreferenced(store=artifact_store(), now=datetime.now(UTC))


def _unless_lapsed(sign: Callable[[], int]) -> None:
    """Sign with one certificate; that it has lapsed keeps nothing from being signed with another."""
    try:
        sign()
    except CertificateLapsed as exc:
        log.error("registry.not_signed", reason=exc.detail)


def hurry_signing(event: OutboxEvent) -> None:
    """Have something signed now rather than at the next sweep."""
    if event.name != "artifact.added" or event.payload.get("kind") == Artifact.Kind.PREBUILT:
        sign_due.apply_async(retry=False)
