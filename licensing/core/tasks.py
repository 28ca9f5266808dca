"""Celery tasks of the kernel."""

from datetime import UTC, datetime

from celery import shared_task

from licensing.core.api.idempotency import forget_old_answers


@shared_task(name="core.forget_old_answers")
def purge_remembered_answers() -> None:
    """Remove the answers to Idempotency-Keys that are older than a day."""
    forget_old_answers(now=datetime.now(UTC))
