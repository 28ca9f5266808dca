"""The cast and a published release, committed once a module; and a build brought to any state without a compiler."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.build_farm.go_binary import go_binary

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

    from accounts.models import Customer
    from build_farm.models import Build
    from registry.models import Release
    from registry.storage import ArtifactStore
    from tests.licensing.cast import Cast

HOST = "linux/amd64"


@dataclass
class Farm:
    """The farm of one test: asks, prepares, and stages bytes as a build worker would leave them."""

    cast: Cast
    release: Release
    store: ArtifactStore

    @property
    def customer(self) -> Customer:
        return self.cast.acme.customer

    def ask(self, customer: Customer | None = None, *, target: str = HOST, **options: Any) -> Build:
        from build_farm.services.request_build import request_build
        from tests.licensing.cast import ACTOR

        return request_build(
            release=self.release, customer=customer or self.customer, target=target, actor=ACTOR, **options
        )

    def prepare(self, build: Build) -> Build:
        from build_farm.services.prepare_build import prepare_build

        assert prepare_build(build_id=build.pk, now=now())
        return fresh(build)

    def stage(self, build: Build, binary: bytes | None = None) -> Build:
        """Leave a build compiled: its bytes in the store, waiting to be signed."""
        from build_farm.models import Build
        from build_farm.services.queue import hand_to_signing

        if build.prepared_at is None:
            build = self.prepare(build)
        # Claimed by its own id: others may wait before it.
        Build.objects.filter(pk=build.pk).update(state="building", lease_owner="w", attempt=1, claimed_at=now())
        stored = self.store.put_stream([binary or go_binary(filling=build.pk.encode())], max_bytes=10**9)
        result = {
            "binary_sha256": stored.sha256,
            "binary_size": stored.size,
            "kit_version": "v1.0.0",
            "kit_digest": "22" * 32,
            "toolchain": "go1.27.0",
            "log": "compiled",
        }
        assert hand_to_signing(fresh(build), result=result)
        return fresh(build)

    def sign(self) -> bool:
        from build_farm.services.sign_build import sign_next
        from build_farm.signing.local import current_signer

        return sign_next(worker="signer", store=self.store, signer=current_signer())

    def publish(self, build: Build) -> Build:
        self.stage(build)
        assert self.sign()
        build = fresh(build)
        assert build.state == "published", build.failure
        return build


def now() -> datetime:
    return datetime.now(UTC)


def fresh(build: Build) -> Build:
    from build_farm.models import Build

    return Build.objects.select_related("release", "customer").get(pk=build.pk)


def _open_farm() -> tuple[Farm, Path, Any]:
    from django.test import override_settings

    from registry.storage import artifact_store
    from tests.build_farm.conftest import publish_demo
    from tests.licensing.cast import load_cast

    folder = Path(tempfile.mkdtemp(prefix="keywright-store-"))
    changed = override_settings(ARTIFACT_DIR=str(folder))
    changed.enable()
    store = artifact_store()
    return Farm(load_cast(), publish_demo(store), store), folder, changed


@pytest.fixture(scope="module")
def committed_farm(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Farm]:
    from tests.licensing.cast import empty_tables

    with django_db_blocker.unblock():
        farm, folder, changed = _open_farm()
    yield farm
    with django_db_blocker.unblock():
        empty_tables()
    changed.disable()
    shutil.rmtree(folder)


@pytest.fixture
def farm(committed_farm: Farm, db: None) -> Farm:
    """The farm; what a test does to the database is rolled back with it."""
    return committed_farm


@pytest.fixture
def real_farm(transactional_db: None) -> Iterator[Farm]:
    """A farm for a test that commits, with threads or processes of its own."""
    farm, folder, changed = _open_farm()
    yield farm
    changed.disable()
    shutil.rmtree(folder)


@pytest.fixture
def at_once() -> Callable[..., list[Any]]:
    """Call a function with each of some arguments, all at the same moment, each in a thread of its own."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    from django.db import connection

    def run(work: Callable[[Any], Any], arguments: list[Any]) -> list[Any]:
        barrier = Barrier(len(arguments))

        def one(argument: Any) -> Any:
            try:
                barrier.wait(20)
                return work(argument)
            finally:
                connection.close()

        with ThreadPoolExecutor(len(arguments)) as pool:
            return list(pool.map(one, arguments))

    return run
