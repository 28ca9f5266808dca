"""Celery tasks of `build_farm`: each finds its own work in the database, and is safe to run twice."""

from datetime import UTC, datetime
from functools import lru_cache

import structlog
from celery import shared_task

from build_farm.hints import BUILD, SIGN, hint
from build_farm.sandbox import SandboxUnavailable
from build_farm.services import compile_build, key_slots, sign_build
from build_farm.services import sweep as sweeping
from build_farm.services.queue import is_any_build_ready
from build_farm.signing.local import current_signer
from build_farm.workplace import Workplace, configured_workplace
from licensing.core.workers import worker_name
from registry.storage import artifact_store

log = structlog.get_logger(__name__)


@shared_task(name="build_farm.sweep")
def sweep() -> None:
    """Prepare what waits, and find what dead workers and lost messages left behind (`control`)."""
    sweeping.sweep(now=datetime.now(UTC))


@shared_task(name="build_farm.build_next")
def build_next() -> None:
    """Compile one build, and have another one begun if there was one (`build`)."""
    if not is_any_build_ready():
        return  # a machine that builds nothing needs neither folders nor tools
    try:
        workplace = _workplace()
    except (SandboxUnavailable, OSError) as exc:
        log.error("build_farm.no_workplace", error_type=type(exc).__name__, reason=str(exc))
        return
    if compile_build.build_next(worker=worker_name(), workplace=workplace, store=artifact_store()):
        hint(BUILD)


@shared_task(name="build_farm.sign_waiting")
def sign_waiting() -> None:
    """Sign and publish one build, and the key slots that are due (`sign`)."""
    signer = current_signer()
    if sign_build.sign_next(worker=worker_name(), store=artifact_store(), signer=signer):
        hint(SIGN)
    key_slots.sign_due_slots(signer=signer, now=datetime.now(UTC))


@lru_cache(maxsize=1)
def _workplace() -> Workplace:
    workplace = configured_workplace()
    workplace.tidy()
    return workplace
