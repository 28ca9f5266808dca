"""SIGKILL of a real worker process at any line: the build is finished once, and exactly one artifact is published."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
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


@pytest.fixture
def workers(settings: Any, transactional_db: None, real_farm: Farm) -> Iterator[subprocess.Popen[str]]:
    """The process that workers are forked from."""
    from django.db import connection

    url = urlsplit(os.environ["DATABASE_URL"])
    database = urlunsplit(url._replace(path=f"/{connection.settings_dict['NAME']}"))
    environment = {
        **os.environ,
        "DATABASE_URL": database,
        "ARTIFACT_DIR": settings.ARTIFACT_DIR,
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, str(Path(__file__).with_name("dying_worker.py"))]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        yield running
        assert running.stdin is not None
        running.stdin.close()


def run_dying(workers: subprocess.Popen[str], step: str, point: str, build: Build) -> None:
    """Have a worker run until it is dead, by SIGKILL and by nothing else."""
    assert workers.stdin is not None
    assert workers.stdout is not None
    workers.stdin.write(json.dumps([step, point, build.pk]) + "\n")
    workers.stdin.flush()
    status = int(workers.stdout.readline())
    assert os.WIFSIGNALED(status), (step, point)
    assert os.WTERMSIG(status) == signal.SIGKILL, (step, point)


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_costs_time_and_nothing_else(real_farm: Farm, workers: subprocess.Popen[str]) -> None:
    # One farm for all of them: what they share is slow to make, and each has a build of its own.
    for step, point, state in POINTS:
        finish_after_kill(real_farm, workers, step, point, state)


def finish_after_kill(farm: Farm, workers: subprocess.Popen[str], step: str, point: str, state: str) -> None:
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
    run_dying(workers, step, point, build)
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
