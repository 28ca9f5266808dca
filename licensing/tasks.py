"""Celery tasks of `licensing`: ids in, one service call, safe to run twice. Schedules are in the settings.

Runs may overlap: each service takes the lock it needs. Celery's Django support gives every run its own connection and
closes it afterwards.
"""

import contextlib
from datetime import UTC, datetime, timedelta

from celery import shared_task
from django.conf import settings

from licensing.core import outbox
from licensing.core.actor import system
from licensing.core.valkey import ValkeyAway
from licensing.services import counts, generations, key_alarm, key_lifecycle, seen

OUTBOX_KEPT = timedelta(days=7)


@shared_task(name="licensing.dispatch_outbox")
def dispatch_outbox() -> None:
    """Hand waiting domain events to their subscribers."""
    outbox.dispatch_pending(now=datetime.now(UTC))


@shared_task(name="licensing.purge_outbox")
def purge_outbox() -> None:
    """Remove events that were handed over a week ago."""
    outbox.purge_dispatched(before=datetime.now(UTC) - OUTBOX_KEPT)


@shared_task(name="licensing.raise_key_alarm")
def raise_key_alarm() -> None:
    """Say so if the signed key set is late, or certificates end soon."""
    key_alarm.raise_key_alarm(now=datetime.now(UTC))
    key_alarm.raise_certificate_alarm(now=datetime.now(UTC))


@shared_task(name="licensing.maintain_keys")
def maintain_keys() -> None:
    """Renew, publish, activate and retire keys and certificates, whichever is due (`sign` only)."""
    key_lifecycle.maintain(actor=system("maintain_keys"), now=datetime.now(UTC))


@shared_task(name="licensing.rotate_signing_key")
def rotate_signing_key(purpose: str, leaving: str, emergency: bool) -> None:
    """Rotate away from the key `leaving`, unless that has been done (`sign` only)."""
    key_lifecycle.rotate(
        purpose=purpose,
        emergency=emergency,
        actor=system("rotate_signing_key"),
        now=datetime.now(UTC),
        leaving=leaving,
    )


@shared_task(name="licensing.flush_usage")
def flush_usage() -> None:
    """Move what was counted in Valkey to PostgreSQL. While Valkey is away, the counts wait there."""
    with contextlib.suppress(ValkeyAway):
        counts.flush_usage()


@shared_task(name="licensing.cull_silent")
def cull_silent() -> None:
    """Release installations that were not heard of for CULL_AFTER_DAYS."""
    seen.cull_silent(silent_days=settings.CULL_AFTER_DAYS, now=datetime.now(UTC))


@shared_task(name="licensing.purge_usage_marks")
def purge_usage_marks() -> None:
    """Forget which portions and batches were counted, once nobody can bring them again."""
    counts.purge_usage_marks(now=datetime.now(UTC))


@shared_task(name="licensing.forget_generations")
def forget_generations() -> None:
    """Forget the generations of installations that were released longer ago than any token lives."""
    generations.forget_generations(now=datetime.now(UTC))
