"""A build's whole life with the real compiler: made, verified, made again, and nothing in it that should not be."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from tests.build_farm.conftest import HOST

if TYPE_CHECKING:
    from build_farm.models import Build
    from build_farm.workplace import Workplace
    from registry.models import Release
    from registry.storage import ArtifactStore
    from tests.licensing.cast import Cast


def make(release: Release, cast: Cast, store: ArtifactStore, farm: Workplace) -> Build:
    """Ask, prepare, compile, sign."""
    from build_farm.services.compile_build import build_next
    from build_farm.services.prepare_build import prepare_waiting
    from build_farm.services.request_build import request_build
    from build_farm.services.sign_build import sign_next
    from build_farm.signing.local import current_signer
    from tests.licensing.cast import ACTOR

    build = request_build(release=release, customer=cast.acme.customer, target=HOST, actor=ACTOR)
    assert prepare_waiting(now=datetime.now(UTC)) == 1
    assert build_next(worker="w", workplace=farm, store=store)
    build.refresh_from_db()
    assert build.state == "signing", (build.failure, build.log)
    assert sign_next(worker="s", store=store, signer=current_signer())
    build.refresh_from_db()
    assert build.state == "published", build.failure
    return build


def test_a_build_is_made_verified_and_made_again(
    farm_cast: Cast, release: Release, store: ArtifactStore, warm_farm: Workplace, tmp_path: Path, settings: Any
) -> None:
    from build_farm.packaging.archive import read_archive
    from build_farm.services.prepare_build import recorded_constants
    from licensing.services.key_lifecycle import load_authority
    from licensing.services.proofs import build_secret
    from registry.services.stored_files import as_stored

    build = make(release, farm_cast, store, warm_farm)
    assert build.artifact is not None
    package = tmp_path / build.artifact.filename
    with contextlib.closing(store.open(as_stored(build.artifact.file))) as file:
        package.write_bytes(b"".join(file.chunks(0, file.size)))
    files = read_archive(io.BytesIO(package.read_bytes()))

    # The command accepts it by the server's own authority and by one from a file, and refuses it as somebody else's.
    authority = tmp_path / "authority.der"
    authority.write_bytes(load_authority().certificate_der)
    call_command("verify_package", str(package), stdout=io.StringIO())
    call_command("verify_package", str(package), "--authority", str(authority), stdout=io.StringIO())
    with pytest.raises(CommandError, match="MANIFEST_MISMATCH"):
        call_command("verify_package", str(package), "--customer", "enterprise_456", stdout=io.StringIO())

    # Go itself reads the same of the binary as the bill of materials says.
    binary = tmp_path / "plugin"
    binary.write_bytes(files["plugin"])
    go = warm_farm.toolchain.root / "bin" / "go"
    told = subprocess.run([str(go), "version", "-m", str(binary)], capture_output=True, text=True, check=True).stdout
    assert warm_farm.toolchain.version.removeprefix("go") in files["plugin.sbom.json"].decode()
    named = {part["name"] for part in json.loads(files["plugin.sbom.json"])["components"]}
    assert named - {"go"} == {line.split("\t")[2] for line in told.splitlines() if line.startswith("\tdep\t")}

    # No key, no secret, and nothing of the machine that built it.
    secret = build_secret(build.pk)
    assert secret is not None
    hidden = [
        farm_cast.acme.key.encode(),
        secret,
        secret.hex().encode(),
        base64.b64encode(secret),
        os.fsencode(warm_farm.root),
        os.fsencode(Path.home()) + b"/",
        settings.KEY_ENCRYPTION_KEYS["builds"].partition(":")[2].encode(),
    ]
    hidden += [socket.gethostname().encode()] if len(socket.gethostname()) > 6 else []
    constants = recorded_constants(build)
    beside = b"".join(content for name, content in files.items() if name != "plugin")
    for text in hidden:
        assert text not in files["plugin"]
        assert text not in beside
    for text in [*constants.secrets(), *(entry.decode("latin-1") for entry in hidden)]:
        assert text not in build.log + told + beside.decode("latin-1")

    # From the record alone it comes out the same, byte for byte.
    settings.BUILD_DIR, settings.BUILD_CACHE_DIR = str(warm_farm.root), str(warm_farm.cache.folder)
    settings.BUILD_BASE_UID = warm_farm.pool.base_uid
    said = io.StringIO()
    call_command("rebuild", build.pk, stdout=said)
    assert build.binary_sha256 in said.getvalue()


def test_a_source_that_does_not_compile_fails_with_its_log_and_the_next_build_is_fine(
    farm_cast: Cast, store: ArtifactStore, warm_farm: Workplace, tmp_path: Path
) -> None:
    from build_farm.services.compile_build import build_next
    from build_farm.services.prepare_build import prepare_waiting
    from build_farm.services.request_build import request_build
    from tests.build_farm.conftest import DEMO, publish_demo
    from tests.licensing.cast import ACTOR

    broken = tmp_path / "broken"
    shutil.copytree(DEMO, broken)
    manifest = broken / "keywright.toml"
    manifest.write_text(manifest.read_text().replace('version = "2.1.0"', 'version = "2.1.1"'))
    (broken / "wrong.go").write_text("package main\n\nfunc wrong() { return undefinedName }\n")
    bad = request_build(release=publish_demo(store, broken), customer=farm_cast.acme.customer, target=HOST, actor=ACTOR)
    prepare_waiting(now=datetime.now(UTC))
    assert build_next(worker="w", workplace=warm_farm, store=store)
    bad.refresh_from_db()
    assert (bad.state, bad.constants) == ("failed", None)
    assert "undefinedName" in bad.log
    assert bad.failure == "The compiler ended with exit code 1."
    assert make(publish_demo(store), farm_cast, store, warm_farm).state == "published"


def test_without_a_sandbox_nothing_is_compiled(
    farm_cast: Cast, release: Release, store: ArtifactStore, warm_farm: Workplace, tmp_path: Path
) -> None:
    from dataclasses import replace

    from build_farm.services.compile_build import build_next
    from build_farm.services.prepare_build import prepare_waiting
    from build_farm.services.request_build import request_build
    from tests.licensing.cast import ACTOR

    build = request_build(release=release, customer=farm_cast.acme.customer, target=HOST, actor=ACTOR)
    prepare_waiting(now=datetime.now(UTC))
    bare = replace(warm_farm, sandbox=replace(warm_farm.sandbox, bubblewrap=tmp_path / "no-bwrap"))
    assert build_next(worker="w", workplace=bare, store=store)
    build.refresh_from_db()
    assert build.state == "failed"
    assert "sandbox cannot be had" in build.failure
