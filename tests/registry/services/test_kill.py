"""Killed at any line of an upload or a publication, a process leaves all of the release or nothing of it."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from registry.models import Artifact, Channel, Release, StoredFile
from registry.services.stored_files import as_stored, collect_unreferenced
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.services.test_stored_files import NO_GRACE

SOURCE_ROOT = Path(__file__).resolve().parents[3]
ENOUGH = 10_000_000
RUNS = 6


def run(line: int, settings: Any) -> subprocess.CompletedProcess[str]:
    database = connection.settings_dict
    url = f"host={database['HOST']} user={database['USER']} dbname={database['NAME']}"
    for name, key in (("port", "PORT"), ("password", "PASSWORD")):
        url += f" {name}={database[key]}" if database.get(key) else ""
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "ARTIFACT_DIR": settings.ARTIFACT_DIR,
        "PYTHONPATH": str(SOURCE_ROOT),
    }
    script = str(Path(__file__).with_name("publish_and_die.py"))
    return subprocess.run(
        [sys.executable, script, str(line), database["NAME"]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.django_db(transaction=True)
def test_killed_at_any_line_it_leaves_all_or_nothing(folder_store: ArtifactStore, settings: Any) -> None:
    cast.load_cast()
    whole = run(ENOUGH, settings)
    assert whole.stdout.startswith("done "), whole.stderr
    lines = ENOUGH - int(whole.stdout.split()[1])
    _assert_whole(folder_store)
    # The last few lines run after the commit.
    for line in sorted(random.Random(6).sample(range(1, lines - 20), RUNS)):
        _start_over(folder_store)
        died = run(line, settings)
        assert died.returncode == -9, died.stderr
        assert not Release.objects.filter(state="published").exists() or _assert_whole(folder_store)
        assert not Channel.objects.exists() or _assert_whole(folder_store)
        for file in StoredFile.objects.all():
            assert folder_store.digest_of(as_stored(file)) == file.sha256
        for stored, _ in folder_store.all_files():
            assert folder_store.digest_of(stored) == stored.sha256
    # Whatever it left behind is in nobody's way.
    again = run(ENOUGH, settings)
    assert again.stdout.startswith("done "), again.stderr
    _assert_whole(folder_store)


def _assert_whole(store: ArtifactStore) -> bool:
    release = Release.objects.get()
    assert release.is_published
    assert Channel.objects.get().head_id == release.pk
    artifacts = list(Artifact.objects.select_related("file"))
    assert sorted(artifact.target for artifact in artifacts) == ["darwin/arm64", "linux/amd64"]
    assert all(store.digest_of(as_stored(artifact.file)) == artifact.sha256 for artifact in artifacts)
    return True


def _start_over(store: ArtifactStore) -> None:
    Channel.objects.all().delete()
    Artifact.objects.all().delete()
    Release.objects.all().delete()
    collect_unreferenced(store=store, now=cast.now(), grace=NO_GRACE)
