"""SIGKILL of a real worker process at any line: the build is finished once, and exactly one artifact is published."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.build_farm.services.conftest import fresh, now

if TYPE_CHECKING:
    from build_farm.models import Build
    from tests.build_farm.services.conftest import Farm

REPOSITORY = Path(__file__).parents[3]
POINTS = [
    ("prepare", "before commit", "queued"),
    ("prepare", "after commit", "queued"),
    ("build", "claimed", "building"),
    ("build", "bytes stored", "building"),
    ("build", "after commit", "signing"),
    ("sign", "claimed", "signing"),
    ("sign", "package stored", "signing"),
    ("sign", "artifact added", "signing"),
    ("sign", "before commit", "signing"),
    ("sign", "after commit", "published"),
]


def run_dying(step: str, point: str, build: Build, settings: Any) -> None:
    """Run the worker until it is dead, by SIGKILL and by nothing else."""
    from django.db import connection

    url = urlsplit(os.environ["DATABASE_URL"])
    database = urlunsplit(url._replace(path=f"/{connection.settings_dict['NAME']}"))
    environment = {
        **os.environ,
        "DATABASE_URL": database,
        "ARTIFACT_DIR": settings.ARTIFACT_DIR,
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, str(Path(__file__).with_name("dying_worker.py")), step, point, build.pk]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_costs_time_and_nothing_else(real_farm: Farm, settings: Any) -> None:
    # One farm for all of them: what they share is slow to make, and each has a build of its own.
    for step, point, state in POINTS:
        finish_after_kill(real_farm, settings, step, point, state)


def finish_after_kill(farm: Farm, settings: Any, step: str, point: str, state: str) -> None:
    from build_farm.services.queue import lease
    from build_farm.services.sweep import free_dead_leases
    from licensing.core.models import AuditEvent, OutboxEvent
    from licensing.models import BuildCredential
    from registry.models import Artifact

    build = farm.ask(again=True)
    if step != "prepare":
        build = farm.prepare(build)
    if step == "sign":
        build = farm.stage(build)
    run_dying(step, point, build, settings)
    assert fresh(build).state == state, (step, point)

    free_dead_leases(now=now() + lease() + timedelta(seconds=1))
    type(build).objects.filter(pk=build.pk).update(not_before=None)
    build = fresh(build)
    if build.state == "queued":
        build = farm.stage(build)
    if build.state == "signing":
        assert farm.sign()
    assert fresh(build).state == "published"
    assert not farm.sign()
    assert Artifact.objects.filter(customer=build.customer_id, superseded_at=None).count() == 1
    assert Artifact.objects.filter(build_id=build.pk).count() == 1
    assert BuildCredential.objects.filter(pk=build.pk).count() == 1
    assert OutboxEvent.objects.filter(name="build.published", payload__build_id=build.pk).count() == 1
    assert AuditEvent.objects.filter(action="build.published", subject_id=build.pk).count() == 1
