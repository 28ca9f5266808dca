"""Cancelling a build whose compiler runs: the compiler is killed, and the worker takes the next build."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from tests.build_farm.conftest import DEMO, HOST, publish_demo
from tests.licensing.embedded.processes import descendants

if TYPE_CHECKING:
    from build_farm.models import Build
    from build_farm.workplace import Workplace
    from registry.models import Release
    from registry.storage import ArtifactStore
    from tests.licensing.cast import Cast

PATIENCE_SECONDS = 90.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def slow_source(folder: Path) -> Path:
    """The demo with one function so long that compiling it takes most of a minute."""
    source = folder / "slow"
    shutil.copytree(DEMO, source)
    manifest = source / "keywright.toml"
    manifest.write_text(manifest.read_text().replace('version = "2.1.0"', 'version = "2.1.1"'))
    body = "\n".join(
        f"\tif a%{number % 97 + 3} == {number % 7} {{ a, b = b*{number + 3}+a, a^b }} else {{ b += a << {number % 5} }}"
        for number in range(25_000)
    )
    text = (
        f"package main\n\nfunc init() {{ _ = slow(1, 2) }}\n\nfunc slow(a, b int) int {{\n{body}\n\treturn a + b\n}}\n"
    )
    (source / "slow.go").write_text(text)
    return source


def compilers() -> list[int]:
    """Processes of Go's compiler that this one has started."""
    found = []
    for pid in descendants(os.getpid()):
        try:
            if b"/compile\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def ask(release: Release, cast: Cast) -> Build:
    from build_farm.services.prepare_build import prepare_waiting
    from build_farm.services.request_build import request_build
    from tests.licensing.cast import ACTOR

    build = request_build(release=release, customer=cast.acme.customer, target=HOST, actor=ACTOR)
    assert prepare_waiting(now=datetime.now(UTC)) == 1
    return build


def test_a_compiler_under_way_is_killed_and_the_worker_goes_on(
    farm_cast: Cast, store: ArtifactStore, warm_farm: Workplace, tmp_path: Path, settings: Any
) -> None:
    from django.db import connection

    from build_farm.services.compile_build import build_next
    from build_farm.services.request_build import cancel_build
    from registry.models import Artifact
    from tests.licensing.cast import ACTOR

    settings.BUILD_LEASE_SECONDS = 2
    build = ask(publish_demo(store, slow_source(tmp_path)), farm_cast)
    worked: list[bool] = []
    jobs = set((warm_farm.root / "jobs").iterdir())

    def work() -> None:
        try:
            worked.append(build_next(worker="w", workplace=warm_farm, store=store))
        finally:
            connection.close()

    with capture_logs() as said:
        worker = threading.Thread(target=work)
        worker.start()
        try:
            until(lambda: bool(compilers()))
            build.refresh_from_db()
            assert build.state == "building"
            cancel_build(build=build, actor=ACTOR, now=datetime.now(UTC))
        finally:
            worker.join(PATIENCE_SECONDS)
    assert worked == [True]
    assert [line["build_id"] for line in said if line["event"] == "build.called_off"] == [build.pk]
    assert compilers() == []
    build.refresh_from_db()
    assert (build.state, build.failure, build.constants, build.binary_sha256) == ("cancelled", "", None, "")

    # The same worker, slot and folders: nothing of it stands in the way of the next one.
    following = ask(publish_demo(store), farm_cast)
    assert build_next(worker="w", workplace=warm_farm, store=store)
    following.refresh_from_db()
    assert following.state == "signing", (following.failure, following.log)
    assert not Artifact.objects.exists()
    assert set((warm_farm.root / "jobs").iterdir()) == jobs


def test_a_build_that_another_worker_has_is_given_up(farm_cast: Cast, release: Release, settings: Any) -> None:
    from build_farm.models import Build
    from build_farm.services.compile_build import heartbeat
    from build_farm.services.queue import claim_build

    settings.BUILD_LEASE_SECONDS = 2
    ask(release, farm_cast)
    claimed = claim_build(worker="late", now=datetime.now(UTC))
    assert claimed is not None
    with heartbeat(claimed) as is_lost:
        assert not is_lost.wait(1.2), "its own beats do not count against it"
        Build.objects.filter(pk=claimed.pk).update(lease_owner="another")
        assert is_lost.wait(PATIENCE_SECONDS)
