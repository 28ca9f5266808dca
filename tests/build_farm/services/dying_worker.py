"""Workers that are killed by SIGKILL at a given line: one process each, forked from one that has loaded Django.

Reads lines of JSON, `[STEP, POINT, BUILD_ID]`, and answers each with the wait status of the process that did it. STEP
is `prepare`, `build` or `sign`; POINT names the moment. Its environment is the test's, with the test's database. The
compiler is not run: `build` writes the fake binary of the tests.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import django


def die(*_arguments: Any, **_options: Any) -> Any:
    """No clean-up of any kind."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do the work, then die."""

    def run(*arguments: Any, **options: Any) -> Any:
        function(*arguments, **options)
        die()

    return run


def serve() -> None:
    """Fork before any connection is open, so that no two processes share one."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                work(*json.loads(line))
            except BaseException:  # noqa: BLE001  whatever it is, the parent must hear of it
                traceback.print_exc()
            os._exit(1)  # it should be dead by now
        _, status = os.waitpid(pid, 0)
        print(status, flush=True)  # noqa: T201


def work(step: str, point: str, build_id: str) -> None:
    if step == "prepare":
        from build_farm.services import prepare_build

        prepare_build.hint_on_commit = die if point == "before commit" else prepare_build.hint_on_commit
        prepare_build.prepare_build(build_id=build_id, now=datetime.now(UTC))
    elif step == "build":
        build(point)
    else:
        sign(point)
    if point == "after commit":
        die()


def build(point: str) -> None:
    from build_farm.services.queue import claim_build, hand_to_signing
    from registry.storage import artifact_store
    from tests.build_farm.go_binary import go_binary

    claimed = claim_build(worker="dying", now=datetime.now(UTC))
    assert claimed is not None
    if point == "claimed":
        die()
    stored = artifact_store().put_stream([go_binary(filling=claimed.pk.encode())], max_bytes=10**9)
    if point == "bytes stored":
        die()
    hand_to_signing(claimed, result={"binary_sha256": stored.sha256, "binary_size": stored.size})


def sign(point: str) -> None:
    from build_farm.services import sign_build
    from build_farm.signing.local import current_signer
    from registry.storage import artifact_store

    changes = {
        "claimed": ("make_package", die),
        "package stored": ("make_package", dying_after(sign_build.make_package)),
        "artifact added": ("add_artifact", dying_after(sign_build.add_artifact)),
        "before commit": ("record_build", dying_after(sign_build.record_build)),
    }
    if point in changes:
        setattr(sign_build, *changes[point])
    sign_build.sign_next(worker="dying", store=artifact_store(), signer=current_signer())


if __name__ == "__main__":
    django.setup()
    serve()
