"""Telling workers that there may be work. A hint that is lost costs one interval of the sweep, never a build."""

from typing import Final

import structlog
from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)

PREPARE: Final = "build_farm.sweep"
BUILD: Final = "build_farm.build_next"
SIGN: Final = "build_farm.sign_waiting"
_LIFETIME_SECONDS: Final = 60
_QUEUES: Final = {PREPARE: "control", BUILD: "build", SIGN: "sign"}


def hint(task: str) -> None:
    """Send a hint now. A broker that is away is no error."""
    try:
        current_app.send_task(task, queue=_QUEUES[task], expires=_LIFETIME_SECONDS, retry=False)
    except (OperationalError, OSError) as exc:
        log.warning("build_farm.hint_lost", task=task, error_type=type(exc).__name__)


def hint_on_commit(task: str) -> None:
    """Send a hint once what it is about can be seen."""
    transaction.on_commit(lambda: hint(task), robust=True)
