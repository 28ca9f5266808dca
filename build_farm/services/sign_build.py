"""Signing and publishing (`sign`): the bytes are read and hashed here, the manifest is rebuilt from the database.

Nothing that another process computed is signed. Artifact, credential, state, event and audit row are one transaction:
a signer that dies before it leaves nothing, and another one signs again.
"""

import contextlib
import hashlib
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Final

import structlog
from django.conf import settings
from django.db import transaction

from accounts.models import Customer
from build_farm.models import Build, SourceArchive
from build_farm.packaging import BuildInfoInvalid, PackageContents, ProvenanceFacts, assemble, package_filename
from build_farm.packaging.archive import write_archive
from build_farm.packaging.contents import AssembledPackage
from build_farm.services.compile_build import heartbeat
from build_farm.services.prepare_build import FARM_VERSION
from build_farm.services.queue import back_to_queue, claim_signing, fail_build, try_again_later
from build_farm.services.record import record_build
from build_farm.signing import Signer, SignerUnavailable
from licensing.core.actor import system
from licensing.crypto.authority import Purpose
from licensing.models import BuildCredential
from registry.models import Artifact
from registry.services.artifacts import add_artifact
from registry.storage import ArtifactStore, FileDamaged, Stored, StoreUnavailable
from registry.storage.interface import CHUNK_BYTES

log = structlog.get_logger(__name__)

_LARGEST_PACKAGE_BYTES: Final = 1200 * 1024 * 1024
_SPOOLED_BYTES: Final = 64 * 1024 * 1024
_ACTOR: Final = system("sign")


@dataclass(frozen=True, slots=True)
class SignedPackage:
    """A package in the store, with the signature over its file."""

    stored: Stored
    package: AssembledPackage
    signature: bytes
    certificate: bytes
    signed_at: datetime


def sign_next(*, worker: str, store: ArtifactStore, signer: Signer) -> bool:
    """Sign and publish the next compiled build; False if there is none."""
    build = claim_signing(worker=worker, now=datetime.now(UTC))
    if build is None:
        return False
    with heartbeat(build):
        _sign(build, store, signer)
    return True


def _sign(build: Build, store: ArtifactStore, signer: Signer) -> None:
    began = datetime.now(UTC)
    try:
        signed = make_package(build, store=store, signer=signer, now=began)
        publish_build(build, signed, store=store, now=datetime.now(UTC))
    except FileDamaged as exc:
        # Compiled bytes are not kept for ever, and a disk may lose them: they can be made again.
        log.warning("build.bytes_lost", build_id=build.pk, reason=exc.reason)
        back_to_queue(build, note="The compiled bytes were lost before they were signed; compiling again.", now=began)
    except BuildInfoInvalid as exc:
        fail_build(build, failure=f"What was compiled cannot be signed: {exc}.", now=datetime.now(UTC))
    except (SignerUnavailable, StoreUnavailable, OSError) as exc:
        log.error("build.not_signed", build_id=build.pk, error_type=type(exc).__name__)
        try_again_later(build, reason="the signer or the artifact store cannot be reached.", now=datetime.now(UTC))
    except Exception as exc:
        try_again_later(build, reason="an internal error; the server's log has more.", now=datetime.now(UTC))
        log.exception("build.signing_crashed", build_id=build.pk, error_type=type(exc).__name__)
        raise


def make_package(build: Build, *, store: ArtifactStore, signer: Signer, now: datetime) -> SignedPackage:
    """Read the compiled bytes, sign, and put the finished package into the store.

    Raises:
        FileDamaged: the store no longer has the bytes that were compiled.
        BuildInfoInvalid: they are no Go binary.
        SignerUnavailable, StoreUnavailable: not now.
    """
    binary = _read_binary(build, store)
    package = assemble(package_contents(build, now), binary, signer)
    with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as file:
        write_archive(file, package.files)
        file.seek(0)
        digest = _digest(file)
        file.seek(0)
        stored = store.put_stream(iter(lambda: file.read(CHUNK_BYTES), b""), max_bytes=_LARGEST_PACKAGE_BYTES)
    if stored.sha256 != digest.hex():
        raise StoreUnavailable(note="the store took in other bytes than it was given")
    return SignedPackage(
        stored, package, signer.sign_binary(digest), signer.certificate(Purpose.BINARY), now.replace(microsecond=0)
    )


def package_contents(build: Build, now: datetime) -> PackageContents:
    """What the database says of a build, as its manifest and provenance will say it."""
    source = SourceArchive.objects.get(pk=build.release_id)
    if build.build_time is None or build.prepared_at is None:
        raise ValueError("a build that is signed was prepared")
    return PackageContents(
        tier=build.tier,
        features=tuple(build.features),
        permissions=source.permissions,
        resources=source.resources,
        build_time=build.build_time,
        signed_at=now,
        provenance=ProvenanceFacts(
            build_id=build.id,
            customer_id=build.customer_id,
            plugin=build.release.plugin_id,
            version=build.release.version,
            target=build.target,
            issuer=settings.PUBLIC_URL,
            source_sha256=build.source_sha256,
            kit_version=build.kit_version,
            kit_digest=build.kit_digest,
            toolchain=build.toolchain,
            farm_version=FARM_VERSION,
            started_at=build.claimed_at or build.prepared_at,
            finished_at=now,
        ),
    )


def publish_build(build: Build, signed: SignedPackage, *, store: ArtifactStore, now: datetime) -> Build | None:
    """Let the customer have a signed build; None if it was cancelled or taken away meanwhile."""
    with transaction.atomic():
        row = (
            Build.objects.select_related("release")
            .select_for_update(of=("self",), no_key=True)
            .filter(pk=build.pk, state=Build.State.SIGNING, lease_owner=build.lease_owner)
            .first()
        )
        if row is None:
            log.info("build.dropped", build_id=build.pk)
            return None
        artifact = _add_artifact(row, signed, store, now)
        _supersede_older(row, now)
        BuildCredential.objects.create(
            id=row.id,
            customer_id=row.customer_id,
            plugin_id=row.release.plugin_id,
            version=row.release.version,
            target=row.target,
            signature_digest=hashlib.sha256(signed.package.signature).digest(),
            binary_sha256=signed.package.binary_sha256,
            sealed_secret=bytes(row.sealed_secret or b""),
        )
        _finish(row, artifact, signed, now)
        record_build(
            row,
            "build.published",
            actor=_ACTOR,
            detail={
                "artifact_id": artifact.id,
                "sha256": signed.stored.sha256,
                "binary_sha256": signed.package.binary_sha256,
            },
        )
    return row


def _add_artifact(row: Build, signed: SignedPackage, store: ArtifactStore, now: datetime) -> Artifact:
    return add_artifact(
        release=row.release,
        target=row.target,
        stored=signed.stored,
        filename=package_filename(row.release.plugin_id, row.release.version, row.target),
        kind=Artifact.Kind.FARM,
        actor=_ACTOR,
        now=now,
        store=store,
        # Not read from the database: `sign` may not, and needs no more of the customer than its id.
        customer=Customer(pk=row.customer_id),
        build_id=row.id,
        signature=signed.signature,
        certificate=signed.certificate,
        supersede=True,
    )


def _supersede_older(row: Build, now: datetime) -> None:
    older = Build.objects.filter(
        release=row.release, customer=row.customer_id, target=row.target, state=Build.State.PUBLISHED
    )
    # Its credential stays good: copies that are installed go on.
    older.update(state=Build.State.SUPERSEDED, superseded_by=row)


def _finish(row: Build, artifact: Artifact, signed: SignedPackage, now: datetime) -> None:
    row.state, row.artifact, row.finished_at = Build.State.PUBLISHED, artifact, now
    row.constants, row.lease_owner, row.lease_until = None, "", None
    row.timings = {
        **row.timings,
        "sign": round((now - signed.signed_at).total_seconds(), 3),
        "total": round((now - row.created_at).total_seconds(), 3),
    }
    row.save(update_fields=["state", "artifact", "finished_at", "constants", "lease_owner", "lease_until", "timings"])


def _read_binary(build: Build, store: ArtifactStore) -> bytes:
    stored = Stored(build.binary_sha256, build.binary_size or 0, build.binary_object_version)
    with contextlib.closing(store.open(stored)) as file:
        binary = b"".join(file.chunks(0, file.size))
    if hashlib.sha256(binary).hexdigest() != build.binary_sha256:
        raise FileDamaged("digest")
    return binary


def _digest(file: IO[bytes]) -> bytes:
    hasher = hashlib.sha256()
    while piece := file.read(CHUNK_BYTES):
        hasher.update(piece)
    return hasher.digest()
