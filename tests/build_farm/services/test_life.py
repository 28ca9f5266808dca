"""A build's whole life with the real compiler: asked for, prepared, compiled, signed, published, verified."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.build_farm.conftest import HOST

if TYPE_CHECKING:
    from build_farm.workplace import Workplace
    from registry.models import Release
    from registry.storage import ArtifactStore
    from tests.licensing.cast import Cast


def test_life(farm_cast: Cast, release: Release, store: ArtifactStore, warm_farm: Workplace) -> None:
    from build_farm.models import Build
    from build_farm.packaging import verify_package
    from build_farm.packaging.archive import read_archive
    from build_farm.services.compile_build import build_next
    from build_farm.services.prepare_build import prepare_waiting
    from build_farm.services.request_build import request_build
    from build_farm.services.sign_build import sign_next
    from build_farm.signing.local import current_signer
    from licensing.services.key_lifecycle import load_authority
    from registry.services.stored_files import as_stored
    from tests.licensing.cast import ACTOR

    build = request_build(release=release, customer=farm_cast.acme.customer, target=HOST, actor=ACTOR)
    assert prepare_waiting(now=datetime.now(UTC)) == 1
    assert build_next(worker="w", workplace=warm_farm, store=store)
    build.refresh_from_db()
    assert build.state == Build.State.SIGNING, (build.state, build.failure, build.log)
    assert sign_next(worker="s", store=store, signer=current_signer())
    build.refresh_from_db()
    assert build.state == Build.State.PUBLISHED, (build.failure, build.log)
    opened = store.open(as_stored(build.artifact.file))
    files = read_archive(io.BytesIO(b"".join(opened.chunks(0, opened.size))))
    opened.close()
    verified = verify_package(files, authority=load_authority().public_key, expected={"build_id": build.id})
    assert verified.manifest["customer_id"] == "cust_123"
