"""Signing and publishing: all of it or nothing, once, and only what the database says of bytes that were read here."""

from __future__ import annotations

import contextlib
import hashlib
import io
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tests.build_farm.go_binary import go_binary
from tests.build_farm.services.conftest import fresh, now

if TYPE_CHECKING:
    from build_farm.models import Build
    from tests.build_farm.services.conftest import Farm


def package_of(farm: Farm, build: Build) -> dict[str, bytes]:
    from build_farm.packaging.archive import read_archive
    from registry.services.stored_files import as_stored

    with contextlib.closing(farm.store.open(as_stored(build.artifact.file))) as file:
        return read_archive(io.BytesIO(b"".join(file.chunks(0, file.size))))


def test_what_is_published_is_whole_and_registered(farm: Farm) -> None:
    from build_farm.packaging import verify_package
    from licensing.core.models import AuditEvent, OutboxEvent
    from licensing.crypto.authority import Purpose
    from licensing.crypto.signatures import verify_binary
    from licensing.models import BuildCredential
    from licensing.services.key_lifecycle import certificate_key, load_authority

    build = farm.publish(farm.ask())
    files = package_of(farm, build)
    verified = verify_package(files, authority=load_authority().public_key, expected={"build_id": build.pk})
    assert verified.manifest["customer_id"] == "cust_123"
    assert verified.manifest["permissions"][0]["resource"] == "network"
    assert verified.manifest["resources"]["rate_limit"] == {"calls": 1000, "period_seconds": 60}
    credential = BuildCredential.objects.get(pk=build.pk)
    assert bytes(credential.signature_digest) == hashlib.sha256(files["plugin.sig"]).digest()
    assert credential.binary_sha256 == verified.manifest["hash"] == build.binary_sha256
    assert build.artifact.filename == "api-logger-2.1.0-linux-amd64.kmpkg"
    digest = bytes.fromhex(build.artifact.file_id)
    verify_binary(certificate_key(Purpose.BINARY)[1].public_key(), digest, bytes(build.artifact.signature))
    assert AuditEvent.objects.get(action="build.published").subject_id == build.pk
    assert OutboxEvent.objects.get(name="build.published").payload["build_id"] == build.pk
    assert {"sign", "total"} <= build.timings.keys()


def test_the_verifying_command_knows_which_certificates_were_withdrawn(farm: Farm, tmp_path: Path) -> None:
    from licensing.models import Certificate
    from registry.services.stored_files import as_stored

    build = farm.publish(farm.ask())
    assert build.artifact is not None
    package = tmp_path / build.artifact.filename
    with contextlib.closing(farm.store.open(as_stored(build.artifact.file))) as file:
        package.write_bytes(b"".join(file.chunks(0, file.size)))
    current = Certificate.objects.filter(purpose="binary")
    current.update(retired_at=now() + timedelta(minutes=1))
    call_command("verify_package", str(package), stdout=io.StringIO())
    current.update(retired_at=now() - timedelta(hours=1))
    with pytest.raises(CommandError, match="CERTIFICATE_RETIRED: the binary certificate was withdrawn"):
        call_command("verify_package", str(package), stdout=io.StringIO())


def test_its_signature_authenticates_the_plugin_and_nobody_elses(farm: Farm) -> None:
    signature = package_of(farm, farm.publish(farm.ask()))["plugin.sig"].hex()

    def authenticate(member: Any) -> Any:
        asked = {
            "plugin_name": "api-logger",
            "plugin_version": "2.1.0",
            "plugin_signature": signature,
            "customer_id": member.id,
        }
        headers = {"authorization": f"Bearer {member.key}"}
        return Client().post("/api/plugins/authenticate", asked, content_type="application/json", headers=headers)

    assert authenticate(farm.cast.acme).json()["success"] is True
    refused = authenticate(farm.cast.globex)
    assert (refused.status_code, refused.json()["code"]) == (403, "BUILD_UNKNOWN")


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_cancelled_build_is_not_published(farm: Farm, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from build_farm.services import sign_build
    from build_farm.services.request_build import cancel_build
    from licensing.models import BuildCredential
    from registry.models import Artifact
    from tests.licensing.cast import ACTOR

    build = farm.stage(farm.ask())
    if when == "before":
        cancel_build(build=build, actor=ACTOR, now=now())
        assert not farm.sign()
    else:
        make_package = sign_build.make_package

        def slowly(*arguments: Any, **options: Any) -> Any:
            made = make_package(*arguments, **options)
            cancel_build(build=build, actor=ACTOR, now=now())
            return made

        monkeypatch.setattr(sign_build, "make_package", slowly)
        assert farm.sign()
    assert fresh(build).state == "cancelled"
    assert not Artifact.objects.filter(build_id=build.pk).exists()
    assert not BuildCredential.objects.filter(pk=build.pk).exists()


def test_lost_bytes_are_compiled_again(farm: Farm) -> None:
    from registry.storage import Stored

    build = farm.stage(farm.ask())
    farm.store.delete(Stored(build.binary_sha256, build.binary_size or 0))
    assert farm.sign()
    row = fresh(build)
    assert (row.state, row.attempt, row.lease_owner) == ("queued", 0, "")
    assert row.constants is not None
    assert farm.publish(row).state == "published"


def test_bytes_that_were_changed_in_the_store_are_never_signed(farm: Farm, settings: Any) -> None:
    from pathlib import Path

    build = farm.stage(farm.ask())
    path = next((Path(settings.ARTIFACT_DIR) / "sha256").glob(f"??/??/{build.binary_sha256}"))
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:-1] + b"\x01")
    assert farm.sign()
    assert fresh(build).state == "queued"


def test_what_is_no_go_binary_is_not_signed(farm: Farm) -> None:
    build = farm.stage(farm.ask(), b"#!/bin/sh\n")
    assert farm.sign()
    assert fresh(build).state == "failed"
    assert "cannot be signed" in fresh(build).failure


def test_a_signer_that_is_away_is_asked_again_later(farm: Farm) -> None:
    from build_farm.services.sign_build import sign_next
    from build_farm.signing.interface import SignerUnavailable
    from build_farm.signing.local import LocalSigner

    class Away(LocalSigner):
        def sign_binary(self, digest: bytes) -> bytes:
            raise SignerUnavailable("the token was pulled out")

    build = farm.stage(farm.ask())
    assert sign_next(worker="s", store=farm.store, signer=Away())
    row = fresh(build)
    assert (row.state, row.attempt) == ("signing", 1)
    assert row.not_before is not None
    type(row).objects.update(not_before=None)
    assert farm.sign()
    assert fresh(build).state == "published"


def test_two_customers_get_different_packages_of_the_same_release(farm: Farm) -> None:
    ours, theirs = farm.publish(farm.ask()), farm.publish(farm.ask(farm.cast.globex.customer))
    assert package_of(farm, ours)["plugin.manifest"] != package_of(farm, theirs)["plugin.manifest"]
    assert ours.artifact.customer_id == "cust_123"
    assert theirs.artifact.customer_id == "enterprise_456"


def test_the_local_signer_signs_with_the_key_of_each_purpose(farm: Farm) -> None:
    from build_farm.signing.local import current_signer
    from licensing.crypto.authority import Purpose, load_certificate, verify_certificate
    from licensing.crypto.signatures import verify_text
    from licensing.services.key_lifecycle import load_authority

    signer = current_signer()
    for purpose in (Purpose.MANIFEST, Purpose.PROVENANCE, Purpose.KEYSLOTS):
        der = signer.certificate(purpose)
        verify_certificate(der, authority=load_authority().public_key, purpose=purpose, at=now())
        key = load_certificate(der).public_key()
        verify_text(key, b"text", signer.sign_text(purpose, b"text"))  # type: ignore[arg-type]
    assert len(signer.sign_binary(hashlib.sha256(go_binary()).digest())) == 384
