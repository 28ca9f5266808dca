"""Fixtures of the farm: the cast of `licensing`, an artifact store, a published demo plugin, and a real workplace.

The warm cache is kept from one session to the next, shared with the tests of `compile`: compiling the standard library
takes half a minute. What needs Django is imported inside the fixtures.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_django import Settings

    from build_farm.workplace import Workplace
    from registry.models import Release
    from registry.storage import ArtifactStore
    from tests.licensing.cast import Cast

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "build_farm" / "demo" / "api-logger"
TEST_CACHE = Path(tempfile.gettempdir()) / "keywright-test-cache"
HOST = "linux/amd64" if os.uname().machine == "x86_64" else "linux/arm64"


@pytest.fixture
def farm_cast(transactional_db: None) -> Cast:
    """The cast of `licensing`, committed for one test."""
    from tests.licensing.cast import load_cast

    return load_cast()


@pytest.fixture
def store(tmp_path: Path, settings: Settings) -> ArtifactStore:
    """The configured artifact store, empty, in a folder."""
    from registry.storage import artifact_store

    settings.ARTIFACT_DIR = str(tmp_path / "artifacts")
    return artifact_store()


@pytest.fixture
def release(farm_cast: Cast, store: ArtifactStore) -> Release:
    """The demo plugin, published from its source."""
    return publish_demo(store)


def publish_demo(store: ArtifactStore, folder: Path = DEMO) -> Release:
    """Publish a folder's source as the demo's plugin."""
    from datetime import UTC, datetime

    from build_farm.services.publish_source import PublishOptions, publish_source
    from build_farm.source_archive import pack_folder
    from licensing.models import Plugin
    from tests.licensing.cast import ACTOR

    packed = io.BytesIO()
    pack_folder(folder, packed)
    published = publish_source(
        plugin=Plugin.objects.get(pk="api-logger"),
        chunks=[packed.getvalue()],
        options=PublishOptions(require_installation=False),
        actor=ACTOR,
        now=datetime.now(UTC),
        store=store,
    )
    return published.release


@pytest.fixture(scope="session")
def farm_base_uid() -> int:
    """Uids of this process's own: a slot is not free while another test run has processes under its uid."""
    return 70_000 + os.getpid() % 1000 * 20 + 14


@pytest.fixture(scope="session")
def farm_place() -> Iterator[Path]:
    """A folder that the slots' users can pass through (pytest's own folders are closed to them)."""
    folder = Path(tempfile.mkdtemp(prefix="keywright-farm-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def warm_farm(farm_place: Path, farm_base_uid: int) -> Workplace:
    """One machine's workplace with a warm cache, for every test of the session."""
    from django.test import override_settings

    from build_farm.compile import WarmCache, WarmUp
    from build_farm.workplace import configured_workplace

    TEST_CACHE.mkdir(mode=0o755, exist_ok=True)
    with override_settings(BUILD_DIR=str(farm_place / "builds"), BUILD_BASE_UID=farm_base_uid, BUILD_SECONDS=120):
        workplace = replace(configured_workplace(), cache=WarmCache(TEST_CACHE))
    with (TEST_CACHE / "lock").open("w") as lock, workplace.pool.take() as slot:
        fcntl.flock(lock, fcntl.LOCK_EX)
        warm_up = WarmUp(cache=workplace.cache, kit=workplace.kit, toolchain=workplace.toolchain, slot=slot)
        warm_up.warm_base(HOST, workplace=workplace.scratch())
    return workplace
