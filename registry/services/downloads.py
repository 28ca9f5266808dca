"""Asking for a download: a URL, or the place to wait while the customer's build is made.

Every refusal is written down before it is answered, so refusals are returned and not raised: an error would roll back
its own record.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings

from licensing.api.authentication import VerdictRefused
from licensing.core import audit, outbox
from licensing.core.clock import from_epoch
from licensing.core.errors import DomainError, NotFound
from licensing.core.ids import new_id
from licensing.crypto.urls import DownloadClaims
from licensing.rules import codes
from registry import selectors
from registry.errors import AllowlistViolation, DownloadCapReached
from registry.models import Artifact, DownloadGrant, Release, RequestedBuild
from registry.services.policies import effective_policy, refuses_unsigned, violation
from registry.services.registry_tokens import take_download
from registry.services.requested_builds import request_build
from registry.services.visitors import REGISTRY_TOKEN, Visitor, judge_customer
from registry.url_keys import url_keys


@dataclass(frozen=True, slots=True)
class Handed:
    """A download URL, and what it leads to."""

    url: str = field(repr=False)
    expires_at: datetime
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class Waiting:
    """The build is being made."""

    request: RequestedBuild


@dataclass(frozen=True, slots=True)
class Refused:
    """No, with the error to answer; it has been recorded."""

    error: DomainError


def ask_download(*, visitor: Visitor, plugin: str, version: str, target: str) -> Handed | Waiting | Refused:
    """Hand out a URL for a release's file for a target, or have it built; inside a transaction of the caller's."""
    if not visitor.may_see(plugin):
        return _refused(visitor, plugin, version, codes.PLUGIN_UNKNOWN, NotFound())
    verdict = visitor.judge(plugin, version)
    if not verdict.valid:
        return _refused(visitor, plugin, version, verdict.code, VerdictRefused(verdict))
    try:
        release = selectors.published_release(plugin, version)
    except NotFound as exc:
        return _refused(visitor, plugin, version, exc.code, exc)
    policy = effective_policy(visitor.customer.id)
    broken = violation(policy, plugin=plugin, version=version)
    if broken is not None:
        return _refused(visitor, plugin, version, AllowlistViolation.code, AllowlistViolation(broken))
    artifact = selectors.current_artifact(release, visitor.customer.id, target)
    if artifact is None:
        return _build(visitor, release, target)
    verdict = visitor.judge(plugin, version, build_id=artifact.build_id, sha256=artifact.sha256)
    if not verdict.valid:
        return _refused(visitor, plugin, version, verdict.code, VerdictRefused(verdict))
    if not artifact.is_signed and refuses_unsigned(policy):
        unsigned = AllowlistViolation("The policy does not allow unsigned plugins.")
        return _refused(visitor, plugin, version, unsigned.code, unsigned)
    return _hand_out(visitor, artifact)


def ask_download_as_person(*, visitor: Visitor, plugin: str, version: str, target: str) -> Handed | Waiting | Refused:
    """The same for one of the customer's people, who come with no credential that was judged before."""
    verdict = judge_customer(visitor)
    if not verdict.valid:
        return _refused(visitor, plugin, version, verdict.code, VerdictRefused(verdict))
    return ask_download(visitor=visitor, plugin=plugin, version=version, target=target)


def _build(visitor: Visitor, release: Release, target: str) -> Waiting | Refused:
    if release.source_id is None or target not in release.build_targets:
        return _refused(visitor, release.plugin_id, release.version, NotFound.code, NotFound())
    return Waiting(request_build(release=release, customer_id=visitor.customer.id, target=target, actor=visitor.actor))


def _hand_out(visitor: Visitor, artifact: Artifact) -> Handed | Refused:
    release, credential = artifact.release, visitor.credential
    if credential.kind == REGISTRY_TOKEN and not take_download(credential.id):
        capped = DownloadCapReached("The token's downloads are used up.")
        return _refused(visitor, release.plugin_id, release.version, capped.code, capped)
    ends = visitor.now + settings.DOWNLOAD_URL_SECONDS
    # A URL never outlives its credential; it is whole seconds that it carries.
    ends = int(ends if credential.ends_at is None else min(ends, credential.ends_at))
    grant = DownloadGrant.objects.create(
        id=new_id("dlg"),
        artifact=artifact,
        customer_id=visitor.customer.id,
        credential_kind=credential.kind,
        credential_id=credential.id,
        expires_at=from_epoch(ends),
    )
    audit.record(
        actor=visitor.actor,
        action="artifact.url_issued",
        subject_kind="artifact",
        subject_id=artifact.id,
        customer_id=visitor.customer.id,
        code=codes.VALID,
        is_change=False,
        detail={**described(artifact), "grant_id": grant.id, "expires_at": ends},
    )
    segment = url_keys().seal(_claims(visitor, artifact, grant, ends))
    return Handed(f"{settings.FILES_URL}/files/{segment}", from_epoch(ends), artifact)


def _claims(visitor: Visitor, artifact: Artifact, grant: DownloadGrant, ends: int) -> DownloadClaims:
    return DownloadClaims(
        grant_id=grant.id,
        artifact_id=artifact.id,
        sha256=artifact.sha256,
        customer_id=visitor.customer.id,
        credential_kind=visitor.credential.kind,
        credential_id=visitor.credential.id,
        expires_at=ends,
        token=visitor.credential.token,
    )


def described(artifact: Artifact) -> dict[str, object]:
    """An artifact as audit rows name it."""
    return {
        "plugin": artifact.release.plugin_id,
        "version": artifact.release.version,
        "target": artifact.target,
        "sha256": artifact.sha256,
        "build_id": artifact.build_id,
    }


def _refused(visitor: Visitor, plugin: str, version: str, code: str, error: DomainError) -> Refused:
    audit.record(
        actor=visitor.actor,
        action="download.denied",
        subject_kind="plugin",
        subject_id=plugin,
        customer_id=visitor.customer.id,
        code=code,
        is_change=False,
        detail={"version": version},
    )
    outbox.emit(
        "plugin.denied",
        customer_id=visitor.customer.id,
        payload={"plugin": plugin, "version": version, "code": code, "reason": _reason(code), "request": "download"},
    )
    return Refused(error)


def _reason(code: str) -> str:
    """The event dictionary's word for a refusal (seed: security-compliance-addendum.md)."""
    if code == AllowlistViolation.code:
        return "allowlist"
    return "quarantine" if code in (codes.PLUGIN_QUARANTINED, codes.BUILD_QUARANTINED) else "access"


def forget_old_grants(*, now: datetime, kept: timedelta = timedelta(days=1)) -> int:
    """Remove grants that ended a day ago; the audit log has what became of them."""
    deleted, _ = DownloadGrant.objects.filter(expires_at__lt=now - kept).delete()
    return deleted
