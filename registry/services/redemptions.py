"""Using a download URL: everything that was checked when it was handed out is checked again.

So a URL dies with the credential, the customer's standing, the plugin, the build or the file it was given for, within
the second of DESIGN §7; it needs no list of its own. Every redemption is written down before its first byte, and what
became of it when the last one is sent.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.clock import from_epoch
from licensing.core.errors import DomainError, NotFound
from licensing.crypto.urls import DownloadClaims, UrlInvalid
from licensing.rules import codes
from licensing.rules.codes import Verdict
from licensing.services.state import State
from registry.errors import AllowlistViolation, DownloadCapReached, HeaderMismatch, UrlExpired, UrlRevoked
from registry.models import Artifact, DownloadGrant
from registry.services.downloads import described
from registry.services.policies import effective_policy, refuses_unsigned, violation
from registry.services.registry_tokens import give_bytes_back, note_used, take_bytes
from registry.services.visitors import REGISTRY_TOKEN, revisit
from registry.url_keys import url_keys

# A URL is good for the file, for starting over, and for what cut connections swallowed; not for passing around.
TIMES = 4
SPARE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sender:
    """Where a redemption comes from, and what its headers claim."""

    address: str
    request_id: str
    customer_id: str | None = None
    plugin: str | None = None


@dataclass(frozen=True, slots=True)
class Redemption:
    """A URL that is honoured at this moment."""

    claims: DownloadClaims
    artifact: Artifact
    actor: Actor
    now: float

    @property
    def at(self) -> datetime:
        """The instant."""
        return from_epoch(self.now)


def redeem(*, segment: str, sender: Sender, state: State, now: float) -> Redemption | DomainError:
    """Judge a URL by the state of this moment. An error that is returned is yet to be recorded (`record_refusal`).

    Raises:
        NotFound: it is no URL of ours.
    """
    try:
        claims = url_keys().open(segment)
    except UrlInvalid:
        raise NotFound() from None
    actor = _actor(claims, sender)
    artifact = (
        Artifact.objects.select_related("release", "file").filter(pk=claims.artifact_id, file=claims.sha256).first()
    )
    if artifact is None:
        return UrlRevoked("ARTIFACT_GONE")
    redemption = Redemption(claims, artifact, actor, now)
    return _refusal(redemption, sender, state) or redemption


def _refusal(redemption: Redemption, sender: Sender, state: State) -> DomainError | None:
    claims, artifact, now = redemption.claims, redemption.artifact, redemption.now
    if now >= claims.expires_at:
        return UrlExpired()
    release = artifact.release
    if sender.customer_id not in (None, claims.customer_id):
        return HeaderMismatch("X-Customer-ID names another customer than the URL is for.")
    if sender.plugin not in (None, release.plugin_id):
        return HeaderMismatch("X-Plugin-Name names another plugin than the URL is for.")
    visitor = revisit(claims=claims, actor=redemption.actor, state=state, now=now)
    if isinstance(visitor, Verdict):
        return UrlRevoked(visitor.code)
    if not visitor.may_see(release.plugin_id):
        return UrlRevoked(codes.PLUGIN_UNKNOWN)
    verdict = visitor.judge(release.plugin_id, release.version, build_id=artifact.build_id, sha256=artifact.sha256)
    if not verdict.valid:
        return UrlRevoked(verdict.code)
    if artifact.superseded_at is not None or artifact.customer_id not in (None, claims.customer_id):
        return UrlRevoked("SUPERSEDED")
    policy = effective_policy(claims.customer_id)
    broken = violation(policy, plugin=release.plugin_id, version=release.version)
    if broken is None and not artifact.is_signed and refuses_unsigned(policy):
        broken = "The policy does not allow unsigned plugins."
    return AllowlistViolation(broken) if broken else None


def take(redemption: Redemption, *, length: int, detail: dict[str, object]) -> None:
    """Count bytes that are about to be sent, and record the download: all in one transaction, before the first byte.

    Raises:
        DownloadCapReached: the URL was used too often, or the token has no such bytes left.
    """
    claims, artifact = redemption.claims, redemption.artifact
    most = TIMES * artifact.file.size + SPARE_BYTES
    with transaction.atomic():
        grant = DownloadGrant.objects.filter(pk=claims.grant_id, bytes_taken__lte=Value(most) - length)
        if grant.update(bytes_taken=F("bytes_taken") + length) != 1:
            raise DownloadCapReached("This URL has been used too often; ask for a new one.")
        if claims.credential_kind == REGISTRY_TOKEN:
            if not take_bytes(claims.credential_id, length):
                raise DownloadCapReached("The token's bytes are used up.")
            note_used(claims.credential_id, redemption.at)
        _record(redemption, "artifact.download_started", codes.VALID, {"bytes": length, **detail})


def settle(redemption: Redemption, *, promised: int, sent: int, outcome: str) -> None:
    """Record how a download ended, and give back what was counted and not sent. `sent` is what left this process."""
    claims = redemption.claims
    unsent = max(0, promised - sent)
    with transaction.atomic():
        if unsent:
            DownloadGrant.objects.filter(pk=claims.grant_id).update(
                bytes_taken=Greatest(F("bytes_taken") - unsent, Value(0))
            )
            if claims.credential_kind == REGISTRY_TOKEN:
                give_bytes_back(claims.credential_id, unsent)
        _record(redemption, "artifact.download_ended", outcome, {"bytes_sent": sent, "bytes": promised})
        if outcome == "COMPLETE":
            _emit_served(redemption, sent)


def record_refusal(segment: str, sender: Sender, error: DomainError) -> None:
    """Write down that a URL was not honoured."""
    claims = url_keys().open(segment)
    artifact = Artifact.objects.select_related("release").filter(pk=claims.artifact_id).first()
    code = error.reason if isinstance(error, UrlRevoked) else error.code
    actor = _actor(claims, sender)
    with transaction.atomic():
        audit.record(
            actor=actor,
            action="download.denied",
            subject_kind="artifact",
            subject_id=claims.artifact_id,
            customer_id=claims.customer_id,
            code=code,
            is_change=False,
            detail={"grant_id": claims.grant_id, **(described(artifact) if artifact else {})},
        )
        if artifact is not None:
            payload = {
                "plugin": artifact.release.plugin_id,
                "version": artifact.release.version,
                "code": code,
                "reason": "allowlist" if isinstance(error, AllowlistViolation) else "access",
                "request": "download",
            }
            outbox.emit("plugin.denied", customer_id=claims.customer_id, payload=payload)


def _actor(claims: DownloadClaims, sender: Sender) -> Actor:
    return Actor(claims.credential_kind, claims.credential_id, sender.address, sender.request_id)


def _emit_served(redemption: Redemption, sent: int) -> None:
    release = redemption.artifact.release
    outbox.emit(
        "plugin.served",
        customer_id=redemption.claims.customer_id,
        payload={
            "plugin": release.plugin_id,
            "version": release.version,
            "sha256": redemption.artifact.sha256,
            "bytes": sent,
        },
    )


def _record(redemption: Redemption, action: str, code: str, detail: dict[str, object]) -> None:
    audit.record(
        actor=redemption.actor,
        action=action,
        subject_kind="artifact",
        subject_id=redemption.artifact.id,
        customer_id=redemption.claims.customer_id,
        code=code,
        is_change=False,
        detail={**described(redemption.artifact), "grant_id": redemption.claims.grant_id, **detail},
    )
