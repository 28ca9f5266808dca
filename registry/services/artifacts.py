"""Adding files to releases: a customer's build, or a vendor's prebuilt file."""

import re
from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.models import Customer
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue
from licensing.core.ids import new_id
from registry.errors import VersionExists
from registry.models import Artifact, Release, RequestedBuild
from registry.services.releases import checked_targets
from registry.services.stored_files import refer_to
from registry.storage import ArtifactStore, Stored

_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")


def add_artifact(
    *,
    release: Release,
    target: str,
    stored: Stored,
    filename: str,
    kind: str,
    actor: Actor,
    now: datetime,
    store: ArtifactStore,
    customer: Customer | None = None,
    build_id: str = "",
    signature: bytes | None = None,
    certificate: bytes | None = None,
    supersede: bool = False,
) -> Artifact:
    """Add a file to a release; call it inside the transaction that the file belongs to, if there is one.

    The file must be in the store (`put_stream`). The same file again is the artifact that is there. Public files are
    added while the release is a draft; a customer's own at any time. With `supersede`, a customer's newer build takes
    the place of the one that is there; what is out under its digest stays verifiable, and is no longer handed out.

    Raises:
        InvalidValue: naming the field.
        VersionExists: another file is there for this target.
        Conflict: a public file for a release that is published.
        FileGone: the file was collected; put it again.
    """
    (target,) = checked_targets([target])
    if not _FILENAME.fullmatch(filename):
        raise InvalidValue("filename: letters, digits and . _ + - only.", field="filename")
    with transaction.atomic():
        # Whoever publishes or adds to a release holds its row: no file can slip in while it is being published.
        release = Release.objects.select_for_update(no_key=True).get(pk=release.pk)
        there = Artifact.objects.filter(release=release, target=target, customer=customer, superseded_at=None).first()
        if there is not None and there.file_id == stored.sha256:
            return there
        if there is not None and not (supersede and customer is not None):
            raise VersionExists(f"{release.version} has another file for {target} already; files never change.")
        if customer is None and release.is_published:
            raise Conflict("This release is published; its public files are what they are.")
        file = refer_to(stored, store=store, now=now)
        if there is not None:
            there.superseded_at = now
            there.save(update_fields=["superseded_at"])
        artifact = _create(
            Artifact(
                id=new_id("art"),
                release=release,
                target=target,
                customer=customer,
                file=file,
                filename=filename,
                kind=kind,
                build_id=build_id,
                signature=signature,
                certificate=certificate,
            )
        )
        _note(artifact, actor, now)
    return artifact


def _create(artifact: Artifact) -> Artifact:
    try:
        with transaction.atomic():
            artifact.save(force_insert=True)
    except IntegrityError as exc:
        raise Conflict("The file cannot be added as it is.", note="artifact constraint") from exc
    return artifact


def _note(artifact: Artifact, actor: Actor, now: datetime) -> None:
    """End the waiting of whoever asked for it, and remember where the file came from."""
    if artifact.customer_id is not None:
        RequestedBuild.objects.filter(
            release=artifact.release,
            customer=artifact.customer_id,
            target=artifact.target,
            status__in=[RequestedBuild.Status.REQUESTED, RequestedBuild.Status.BUILDING],
        ).update(status=RequestedBuild.Status.READY, detail="", updated_at=now)
    detail = {
        "artifact_id": artifact.id,
        "plugin": artifact.release.plugin_id,
        "version": artifact.release.version,
        "target": artifact.target,
        "sha256": artifact.file_id,
        "kind": artifact.kind,
        "build_id": artifact.build_id,
    }
    customer_id = artifact.customer_id or ""
    audit.record(
        actor=actor,
        action="artifact.added",
        subject_kind="artifact",
        subject_id=artifact.id,
        customer_id=customer_id,
        is_change=False,
        detail=detail,
    )
    outbox.emit("artifact.added", customer_id=customer_id, payload=detail)
