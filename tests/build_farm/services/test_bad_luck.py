"""One build that meets a full disk, a stuck compiler and a full store: it is finished once, by the next who tries."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.build_farm.conftest import HOST

if TYPE_CHECKING:
    from build_farm.models import Build
    from build_farm.workplace import Workplace
    from registry.models import Release
    from registry.storage import ArtifactStore, Stored
    from tests.licensing.cast import Cast


class FullStore:
    """A store whose disk is full: it reads, and takes nothing in."""

    def __init__(self, store: ArtifactStore, error: Exception) -> None:
        self._store = store
        self._error = error

    def put_stream(self, chunks: Iterable[bytes], *, max_bytes: int) -> Stored:
        for _ in chunks:
            raise self._error
        raise AssertionError("nothing was to be stored")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def waits_no_longer(build: Build) -> None:
    type(build).objects.filter(pk=build.pk).update(not_before=None)
    build.refresh_from_db()


def test_it_is_finished_once_whatever_comes(
    farm_cast: Cast, release: Release, store: ArtifactStore, warm_farm: Workplace
) -> None:
    from build_farm.services.compile_build import build_next
    from build_farm.services.prepare_build import prepare_waiting
    from build_farm.services.request_build import request_build
    from build_farm.services.sign_build import sign_next
    from build_farm.signing.local import current_signer
    from licensing.core.models import OutboxEvent
    from licensing.models import BuildCredential
    from registry.models import Artifact
    from registry.storage import StoreUnavailable
    from tests.licensing.cast import ACTOR

    build = request_build(release=release, customer=farm_cast.acme.customer, target=HOST, actor=ACTOR)
    assert prepare_waiting(now=datetime.now(UTC)) == 1

    # The machine's disk is full when the binary is to be kept.
    full: Any = FullStore(store, OSError(errno.ENOSPC, "No space left on device"))
    assert build_next(worker="w", workplace=warm_farm, store=full)
    build.refresh_from_db()
    assert (build.state, build.attempt, build.failure) == ("queued", 1, "")
    assert build.log.endswith("attempt 1: the build machine's disk is full.\n")
    assert build.not_before is not None
    assert not build_next(worker="w", workplace=warm_farm, store=store), "not at once"

    # The compiler hangs.
    waits_no_longer(build)
    impatient = replace(warm_farm.sandbox.limits, wall_seconds=0.2)
    hasty = replace(warm_farm, sandbox=replace(warm_farm.sandbox, limits=impatient))
    assert build_next(worker="w", workplace=hasty, store=store)
    build.refresh_from_db()
    assert (build.state, build.attempt) == ("queued", 2)
    assert "attempt 2: the compiler took longer than is allowed and was stopped.\n" in build.log

    # The same worker and slot are as good as before.
    waits_no_longer(build)
    assert build_next(worker="w", workplace=warm_farm, store=store)
    build.refresh_from_db()
    assert (build.state, build.attempt) == ("signing", 0), (build.failure, build.log)

    # The store is full when the package is to be kept.
    full = FullStore(store, StoreUnavailable(note="no space"))
    assert sign_next(worker="s", store=full, signer=current_signer())
    build.refresh_from_db()
    assert (build.state, build.attempt) == ("signing", 1)
    assert not Artifact.objects.exists()
    waits_no_longer(build)
    assert sign_next(worker="s", store=store, signer=current_signer())
    assert not sign_next(worker="s", store=store, signer=current_signer())
    build.refresh_from_db()
    assert build.state == "published"
    assert Artifact.objects.filter(build_id=build.pk).count() == 1
    assert BuildCredential.objects.filter(pk=build.pk).count() == 1
    assert OutboxEvent.objects.filter(name="build.published").count() == 1


def test_a_compiler_that_always_hangs_is_given_up(
    farm_cast: Cast, release: Release, store: ArtifactStore, warm_farm: Workplace
) -> None:
    from build_farm.services.compile_build import build_next
    from build_farm.services.prepare_build import prepare_waiting
    from build_farm.services.queue import MAX_ATTEMPTS
    from build_farm.services.request_build import request_build
    from tests.licensing.cast import ACTOR

    build = request_build(release=release, customer=farm_cast.acme.customer, target=HOST, actor=ACTOR)
    prepare_waiting(now=datetime.now(UTC))
    impatient = replace(warm_farm.sandbox.limits, wall_seconds=0.05)
    hasty = replace(warm_farm, sandbox=replace(warm_farm.sandbox, limits=impatient))
    for _ in range(MAX_ATTEMPTS):
        waits_no_longer(build)
        assert build_next(worker="w", workplace=hasty, store=store)
    build.refresh_from_db()
    assert (build.state, build.constants) == ("failed", None)
    assert build.failure.startswith(f"Given up after {MAX_ATTEMPTS} attempts: the compiler took longer")
