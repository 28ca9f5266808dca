"""Signing prebuilt files: the `sign` worker reads the bytes itself and never signs a digest that it was given."""

from datetime import datetime

import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import transaction

from licensing.core import audit
from licensing.core.actor import Actor
from licensing.crypto.authority import Purpose
from licensing.crypto.signatures import sign_binary
from licensing.services.key_lifecycle import certificate_key
from registry.models import Artifact, Release
from registry.services.stored_files import as_stored
from registry.storage import ArtifactStore, FileDamaged

log = structlog.get_logger(__name__)


def sign_due_artifacts(*, store: ArtifactStore, actor: Actor, now: datetime, limit: int = 50) -> int:
    """Sign the files of drafts that have no signature yet; return how many (`sign` only; safe to run twice)."""
    due = Artifact.objects.filter(
        kind=Artifact.Kind.PREBUILT, signature=None, superseded_at=None, release__state=Release.State.DRAFT
    ).select_related("file", "release")
    return sum(_sign(artifact, store, actor, now) for artifact in list(due.order_by("created_at")[:limit]))


def _sign(artifact: Artifact, store: ArtifactStore, actor: Actor, now: datetime) -> bool:
    try:
        digest = store.digest_of(as_stored(artifact.file))
    except FileDamaged as exc:
        digest = exc.reason
    if digest != artifact.sha256:
        # Not published, so nobody is harmed: it stays unsigned, and can never be published as it is.
        log.error("artifact.not_signed", artifact_id=artifact.id, found=digest)
        return False
    certificate, private = certificate_key(Purpose.BINARY, now=now)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise TypeError("files are signed by an RSA key")
    signature = sign_binary(private, bytes.fromhex(digest))
    with transaction.atomic():
        is_ours = Artifact.objects.filter(pk=artifact.pk, signature=None).update(
            signature=signature, certificate=bytes(certificate.der)
        )
        if is_ours:
            audit.record(
                actor=actor,
                action="artifact.signed",
                subject_kind="artifact",
                subject_id=artifact.id,
                customer_id=artifact.customer_id or "",
                is_change=False,
                detail={"sha256": digest, "certificate_id": certificate.id},
            )
    return bool(is_ours)
