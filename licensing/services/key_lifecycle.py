"""The life of signing keys, certificates and the signed key set. Runs in the `sign` worker alone (DESIGN §6).

    pending ─(in the set that is out, long enough)─▶ active ─▶ retiring ─(nothing it signed lives)─▶ retired

A key is published before it signs: in the JWKS, which clients may cache for JWKS_CACHE_SECONDS, and in the signed key
set. An emergency skips that wait, never the publication: old key out, new key in, one transaction with the set that
says so. Every function may be run twice, by two workers at once: all take the same lock.
"""

from datetime import datetime, timedelta

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import connection, transaction

from accounts.keyrings import ring
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.errors import ServiceUnavailable
from licensing.core.ids import new_id
from licensing.crypto import jwk, keyset
from licensing.crypto.authority import (
    LeafPrivateKey,
    PluginAuthority,
    Purpose,
    certificate_to_der,
    generate_purpose_key,
    load_purpose_key,
)
from licensing.models import Certificate, Plugin, SignedKeySet, SigningKey
from licensing.services.signing_keys import sealing_identity

log = structlog.get_logger(__name__)

JWKS_CACHE_SECONDS = 300
PUBLISH_LEAD = timedelta(seconds=2 * JWKS_CACHE_SECONDS)
KEY_AGE = timedelta(days=30)
KEY_SET_AGE = timedelta(days=1)
CERTIFICATE_LIFETIME = timedelta(days=90)
CERTIFICATE_RENEWAL = timedelta(days=30)
CLOCK_MARGIN = timedelta(minutes=5)
AUTHORITY = "authority"
CERTIFIED = tuple(Purpose)
_LOCK = (0x6B77, 0x7367)  # advisory: one hand on the keys at a time


class AuthorityOffline(ServiceUnavailable):
    """A certificate is needed that only PluginAuthority's key, which is on another machine, can give."""


class CertificateLapsed(ServiceUnavailable):
    """A certificate of a purpose has lapsed: whatever its key signed now would be refused."""


def bootstrap(*, actor: Actor, now: datetime) -> bool:
    """Make what a new deployment lacks: PluginAuthority, the key-set certificate, the first keys, the first set.

    Returns whether there was no key set before, which makes this the deployment's first start.

    Raises:
        AuthorityOffline: the authority's key is on another machine, and no key-set certificate has come from there.
    """
    with transaction.atomic():
        lock_keys()
        is_first = not SignedKeySet.objects.exists()
        if not Certificate.objects.filter(purpose=AUTHORITY, retired_at=None).exists():
            _create_authority(actor, now)
        for certified in CERTIFIED:
            _ensure_certificate(certified, actor, now)
        for purpose in SigningKey.Purpose.values:
            if not SigningKey.objects.filter(purpose=purpose, state=SigningKey.State.ACTIVE).exists():
                pending = _pending(purpose) or _create_key(purpose, actor, now)
                _activate(pending, actor, now)
        publish_if_due(now)
    return is_first


def maintain(*, actor: Actor, now: datetime) -> None:
    """Do whatever is due: renew, publish, activate, retire. Run every minute; a run that is missed is made up."""
    with transaction.atomic():
        lock_keys()
        for certified in CERTIFIED:
            _ensure_certificate(certified, actor, now)
        for purpose in SigningKey.Purpose.values:
            _advance(purpose, actor, now)
        try:
            publish_if_due(now)
        except (AuthorityOffline, CertificateLapsed) as exc:
            log.error("key_set.not_signed", reason=exc.detail)


def rotate(
    *, purpose: str, emergency: bool, actor: Actor, now: datetime, leaving: str | None = None
) -> SigningKey | None:
    """Start a rotation: a new pending key, published now and active after the lead.

    In an emergency the new key takes over at once and the old one is believed no more: whatever it signed is refused
    from this commit on, and plugins authenticate anew.

    With `leaving`, only if the key of that `kid` is still the active one; else None. So an order that is delivered
    twice rotates once.

    Raises:
        AuthorityOffline, CertificateLapsed: the key set cannot be signed, so nothing was changed.
    """
    with transaction.atomic():
        lock_keys()
        if leaving is not None and not _is_active(leaving, purpose):
            return None
        key = _pending(purpose) or _create_key(purpose, actor, now)
        if emergency:
            SigningKey.objects.filter(
                purpose=purpose, state__in=[SigningKey.State.ACTIVE, SigningKey.State.RETIRING]
            ).update(state=SigningKey.State.RETIRED, retired_at=now, sealed_private_key=b"")
            _activate(key, actor, now)
        publish_if_due(now)
        _record(actor, "signing_key.rotated", key.kid, {"purpose": purpose, "emergency": emergency})
        outbox.emit("signing_key.rotated", payload={"kid": key.kid, "purpose": purpose, "emergency": emergency})
    return key


def is_key_set_late(now: datetime) -> bool:
    """Whether the set that is out should have been signed anew long ago: the alarm of DESIGN §6."""
    newest = SignedKeySet.objects.order_by("-version").first()
    return newest is None or now > newest.issued_at + 2 * KEY_SET_AGE


def is_authority_offline() -> bool:
    """Whether PluginAuthority's private key is on another machine (`services.offline_authority`)."""
    return Certificate.objects.filter(purpose=AUTHORITY, retired_at=None, sealed_private_key=None).exists()


def load_authority() -> PluginAuthority:
    """Unseal PluginAuthority. Needs the `artifacts` key, which the `sign` worker alone has.

    Raises:
        AuthorityOffline: its key is on another machine.
    """
    row = Certificate.objects.get(purpose=AUTHORITY, retired_at=None)
    if row.sealed_private_key is None:
        raise AuthorityOffline("PluginAuthority's private key is kept on another machine.")
    private = ring("artifacts").unseal(bytes(row.sealed_private_key), identity=certificate_identity(row.id))
    return PluginAuthority.load(bytes(row.der), private)


def certificate_identity(certificate_id: str) -> str:
    """What a certificate's sealed private key is bound to."""
    return f"certificate.private:{certificate_id}"


def lock_keys() -> None:
    """Wait until nobody else has a hand on the keys; held to the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", list(_LOCK))


def _is_active(kid: str, purpose: str) -> bool:
    return SigningKey.objects.filter(kid=kid, purpose=purpose, state=SigningKey.State.ACTIVE).exists()


def _pending(purpose: str) -> SigningKey | None:
    return SigningKey.objects.filter(purpose=purpose, state=SigningKey.State.PENDING).first()


def _create_key(purpose: str, actor: Actor, now: datetime) -> SigningKey:
    private = jwk.generate_private_key()
    kid = jwk.thumbprint(private.public_key())
    key = SigningKey.objects.create(
        kid=kid,
        purpose=purpose,
        public_jwk=jwk.verification_jwk(private.public_key()),
        sealed_private_key=ring("tokens").seal(jwk.private_to_der(private), identity=sealing_identity(kid)),
        # The lead is counted by the clock that it is held against.
        created_at=now,
    )
    _record(actor, "signing_key.created", kid, {"purpose": purpose})
    return key


def _activate(key: SigningKey, actor: Actor, now: datetime) -> None:
    """Let `key` sign from this commit on; the set that lists it is published in the same transaction."""
    SigningKey.objects.filter(purpose=key.purpose, state=SigningKey.State.ACTIVE).update(
        state=SigningKey.State.RETIRING, retiring_at=now
    )
    key.state = SigningKey.State.ACTIVE
    key.activated_at = now
    key.save(update_fields=["state", "activated_at"])
    _record(actor, "signing_key.activated", key.kid, {"purpose": key.purpose})


def _advance(purpose: str, actor: Actor, now: datetime) -> None:
    pending = _pending(purpose)
    if pending is not None and now >= pending.created_at + PUBLISH_LEAD and _is_published(pending):
        _activate(pending, actor, now)
        pending = None
    active = SigningKey.objects.filter(purpose=purpose, state=SigningKey.State.ACTIVE).first()
    if pending is None and (active is None or now >= (active.activated_at or active.created_at) + KEY_AGE):
        _create_key(purpose, actor, now)
    outlived = now - _longest_life(purpose) - CLOCK_MARGIN
    for key in SigningKey.objects.filter(purpose=purpose, state=SigningKey.State.RETIRING, retiring_at__lte=outlived):
        key.state, key.retired_at, key.sealed_private_key = SigningKey.State.RETIRED, now, b""
        key.save(update_fields=["state", "retired_at", "sealed_private_key"])
        _record(actor, "signing_key.retired", key.kid, {"purpose": purpose})


def _longest_life(purpose: str) -> timedelta:
    """How long after its last signature something signed by a key of this purpose may be alive."""
    if purpose == SigningKey.Purpose.TOKEN:
        return timedelta(seconds=settings.TOKEN_TTL_SECONDS)
    leases = Plugin.objects.order_by("-lease_seconds").values_list("lease_seconds", flat=True)
    # A lease that was handed out before its plugin's policy was shortened keeps its own end.
    return timedelta(seconds=max([72 * 3600, *leases[:1]])) + timedelta(days=7)


def _is_published(key: SigningKey) -> bool:
    newest = SignedKeySet.objects.order_by("-version").first()
    return newest is not None and key.kid in newest.kids


def publish_if_due(now: datetime, *, is_due: bool = False) -> None:
    """Sign the key set anew when a day has passed, the keys are others or `is_due` says so; versions only go up.

    Raises:
        AuthorityOffline, CertificateLapsed: there is no certificate to sign it with.
    """
    newest = SignedKeySet.objects.order_by("-version").first()
    keys = list(SigningKey.objects.exclude(state=SigningKey.State.RETIRED).order_by("created_at", "kid"))
    kids = [key.kid for key in keys]
    if newest is not None and newest.kids == kids and now < newest.issued_at + KEY_SET_AGE and not is_due:
        return
    certificate, private = _key_set_certificate(now)
    issued_at = now.replace(microsecond=0)
    version = (newest.version if newest else 0) + 1
    jws = keyset.sign_key_set(
        keys=[keyset.ListedKey(jwk.public_from_jwk(key.public_jwk), keyset.KeyPurpose(key.purpose)) for key in keys],
        issuer=settings.PUBLIC_URL,
        version=version,
        issued_at=int(issued_at.timestamp()),
        certificate_der=bytes(certificate.der),
        private_key=private,
    )
    SignedKeySet.objects.create(
        version=version,
        jws=jws,
        issued_at=issued_at,
        expires_at=issued_at + timedelta(seconds=keyset.LIFETIME_SECONDS),
        kids=kids,
    )
    log.info("key_set.published", version=version, keys=len(kids))


def _create_authority(actor: Actor, now: datetime) -> None:
    authority = PluginAuthority.create(now=now - timedelta(days=1))  # before every certificate of its own
    row_id = new_id("crt")
    Certificate.objects.create(
        id=row_id,
        purpose=AUTHORITY,
        der=authority.certificate_der,
        sealed_private_key=ring("artifacts").seal(
            jwk.private_to_der(authority.private_key), identity=certificate_identity(row_id)
        ),
        not_before=authority.certificate.not_valid_before_utc,
        not_after=authority.certificate.not_valid_after_utc,
    )
    _record(actor, "certificate.created", row_id, {"purpose": AUTHORITY})


def _ensure_certificate(purpose: Purpose, actor: Actor, now: datetime) -> None:
    """See that a purpose has a certificate; make a new one while the old has thirty days to live.

    Where the authority is on another machine an operator has to (`services.key_alarm` says so in time).
    """
    current = current_certificate(purpose)
    if (current is not None and now < current.not_after - CERTIFICATE_RENEWAL) or is_authority_offline():
        return
    private = generate_purpose_key(purpose)
    # Clocks differ: a certificate that is new here must not be of the future elsewhere.
    not_before = (now - CLOCK_MARGIN).replace(microsecond=0)
    certificate = load_authority().issue(
        purpose, private.public_key(), not_before=not_before, not_after=not_before + CERTIFICATE_LIFETIME
    )
    install_certificate(purpose, certificate, private, actor=actor, now=now)


def install_certificate(
    purpose: Purpose, certificate: x509.Certificate, private: LeafPrivateKey, *, actor: Actor, now: datetime
) -> Certificate:
    """Make a certificate, which was verified, the current one of its purpose; the one before is retired."""
    Certificate.objects.filter(purpose=purpose.value, retired_at=None).update(retired_at=now)
    row_id = new_id("crt")
    row = Certificate.objects.create(
        id=row_id,
        purpose=purpose.value,
        der=certificate_to_der(certificate),
        sealed_private_key=ring("artifacts").seal(jwk.private_to_der(private), identity=certificate_identity(row_id)),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )
    _record(actor, "certificate.created", row_id, {"purpose": purpose.value})
    return row


def current_certificate(purpose: Purpose) -> Certificate | None:
    """The certificate of a purpose that is in use, lapsed or not."""
    return Certificate.objects.filter(purpose=purpose.value, retired_at=None).first()


def certificate_key(purpose: Purpose, *, now: datetime | None = None) -> tuple[Certificate, LeafPrivateKey]:
    """The current certificate of a purpose and its private key. Needs `artifacts`, which `sign` alone has.

    Raises:
        Certificate.DoesNotExist: there is none.
        CertificateLapsed: with `now`, it is over by then.
    """
    row = Certificate.objects.get(purpose=purpose.value, retired_at=None)
    if now is not None and now > row.not_after:
        raise CertificateLapsed(f"The {purpose.value} certificate has lapsed on {row.not_after:%Y-%m-%d}.")
    der = ring("artifacts").unseal(bytes(row.sealed_private_key or b""), identity=certificate_identity(row.id))
    return row, load_purpose_key(purpose, der)


def _certificate_key(
    purpose: Purpose, *, now: datetime | None = None
) -> tuple[Certificate, ec.EllipticCurvePrivateKey]:
    row, private = certificate_key(purpose, now=now)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError("JSON texts are signed by an EC key")
    return row, private


def _key_set_certificate(now: datetime) -> tuple[Certificate, ec.EllipticCurvePrivateKey]:
    try:
        return _certificate_key(Purpose.KEYSET, now=now)
    except Certificate.DoesNotExist:
        raise AuthorityOffline(
            "There is no key-set certificate yet: request and import one (docs/operations.md, PluginAuthority offline)."
        ) from None


def _record(actor: Actor, action: str, subject_id: str, detail: dict[str, object]) -> None:
    audit.record(
        actor=actor, action=action, subject_kind=action.partition(".")[0], subject_id=subject_id, detail=detail
    )
