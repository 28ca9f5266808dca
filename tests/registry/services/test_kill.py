"""Killed at any line of an upload or a publication, a process leaves all of the release or nothing of it."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from accounts.models import User
from accounts.services.operators import issue_operator_key
from licensing.core.actor import system
from licensing.services.key_lifecycle import bootstrap
from registry.models import Artifact, Channel, Release, StoredFile
from registry.services.stored_files import as_stored, collect_unreferenced
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.services.test_stored_files import NO_GRACE

SOURCE_ROOT = Path(__file__).resolve().parents[3]
NEVER = 10_000_000
RUNS = 8


class Publisher:
    """The process of `publish_and_die`."""

    def __init__(self, key: str, settings: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("publish_and_die.py"))],
            env={
                **os.environ,
                **cast.store_environment(settings),
                "DATABASE_URL": database_url(),
                "PYTHONPATH": str(SOURCE_ROOT),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=SOURCE_ROOT,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._stdin.write(f"{connection.settings_dict['NAME']}\n{key}\n")

    def publish(self, *, until_line: int) -> str:
        self._stdin.write(f"{until_line}\n")
        self._stdin.flush()
        return self._stdout.readline().strip()

    def close(self) -> None:
        self._stdin.close()
        self._process.wait(60)
        self._stdout.close()


def database_url() -> str:
    database = connection.settings_dict
    url = f"host={database['HOST']} user={database['USER']} dbname={database['NAME']}"
    for name, key in (("port", "PORT"), ("password", "PASSWORD")):
        url += f" {name}={database[key]}" if database.get(key) else ""
    return url


@pytest.fixture
def publisher(store: ArtifactStore, transactional_db: None, settings: Any) -> Iterator[Publisher]:
    cast.load_cast()
    bootstrap(actor=system("tests"), now=cast.now())
    user = User.objects.create_user("ada@vendor.example", is_staff=True, is_superuser=True)
    process = Publisher(issue_operator_key(user=user, name="tests", actor=cast.ACTOR).key, settings)
    yield process
    process.close()


@pytest.mark.django_db(transaction=True)
def test_killed_at_any_line_it_leaves_all_or_nothing(publisher: Publisher, store: ArtifactStore) -> None:
    word, _, lines = publisher.publish(until_line=NEVER).partition(" ")
    assert word == "done"
    _assert_whole(store)
    published = 0
    for line in sorted(random.Random(6).sample(range(1, int(lines)), RUNS)):
        _start_over(store)
        assert publisher.publish(until_line=line) == "killed"
        if Release.objects.filter(state="published").exists() or Channel.objects.exists():
            published += 1
            _assert_whole(store)
        _assert_only_whole_files(store)
    assert published < RUNS
    # Whatever it left behind is in nobody's way.
    assert publisher.publish(until_line=NEVER).startswith("done ")
    _assert_whole(store)


def _assert_whole(store: ArtifactStore) -> None:
    release = Release.objects.get()
    assert release.is_published
    assert Channel.objects.get().head_id == release.pk
    artifacts = list(Artifact.objects.select_related("file"))
    assert sorted(artifact.target for artifact in artifacts) == ["darwin/arm64", "linux/amd64"]
    assert all(artifact.is_signed for artifact in artifacts)
    assert all(store.digest_of(as_stored(artifact.file)) == artifact.sha256 for artifact in artifacts)


def _assert_only_whole_files(store: ArtifactStore) -> None:
    """What is in place is what it is named by, and whatever is referred to is in place."""
    for file in StoredFile.objects.all():
        assert store.digest_of(as_stored(file)) == file.sha256
    for stored, _ in store.all_files():
        assert store.digest_of(stored) == stored.sha256


def _start_over(store: ArtifactStore) -> None:
    Channel.objects.all().delete()
    Artifact.objects.all().delete()
    Release.objects.all().delete()
    collect_unreferenced(store=store, now=cast.now(), grace=NO_GRACE)
