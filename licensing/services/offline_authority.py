"""PluginAuthority whose private key is on another machine: its certificate adopted, others asked for and imported.

The keys of the purposes are made here, in the `sign` role, and never leave; what leaves is a request, what comes back
is a certificate (`licensing.crypto.certificate_request`). A certificate is believed only if the authority that plugins
pin has issued it, for a key that was asked for here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec
from django.db import transaction

from accounts.keyrings import ring
from licensing.core import audit
from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue
from licensing.core.ids import new_id
from licensing.crypto import jwk
from licensing.crypto.authority import (
    AUTHORITY_NAME,
    AuthorityError,
    LeafPrivateKey,
    PluginAuthority,
    Purpose,
    generate_purpose_key,
    load_certificate,
    load_purpose_key,
    verify_authority,
    verify_certificate,
)
from licensing.crypto.certificate_request import make_request
from licensing.models import Certificate, CertificateRequest, SigningKey
from licensing.services.key_lifecycle import (
    AUTHORITY,
    CERTIFICATE_RENEWAL,
    CERTIFIED,
    current_certificate,
    install_certificate,
    is_authority_offline,
    lock_keys,
    publish_if_due,
)

_REASONS = {
    "malformed": "it cannot be read",
    "issuer": "another authority has issued it",
    "signature": "the authority has not signed it",
    "is_authority": "it is itself an authority's",
    "purpose": "its extended key usage is not exactly its purpose, critical",
    "key": "its key is of the wrong kind",
    "lifetime": "a key-set certificate lives ninety days at most",
    "not_yet_valid": "it is not valid yet (is the other machine's clock ahead?)",
    "expired": "it has lapsed already",
}


@dataclass(frozen=True, slots=True)
class Imported:
    """A certificate that was taken in; `is_new` is False for one that was in use already."""

    purpose: Purpose
    certificate: Certificate
    is_new: bool


def adopt_authority(*, certificate_der: bytes, actor: Actor, now: datetime) -> Certificate:
    """Take in the certificate of a PluginAuthority whose key was made, and stays, on another machine.

    Again with the same certificate it changes nothing.

    Raises:
        Conflict: there is another authority, which plugins may pin.
        InvalidValue: it is no certificate of a PluginAuthority, or is not valid now.
    """
    try:
        certificate = verify_authority(certificate_der, at=now)
    except AuthorityError as exc:
        raise InvalidValue(f"This is no certificate of {AUTHORITY_NAME}: {exc.reason}.") from exc
    with transaction.atomic():
        lock_keys()
        present = Certificate.objects.filter(purpose=AUTHORITY, retired_at=None).first()
        if present is not None:
            if bytes(present.der) == certificate_der:
                return present
            raise Conflict("There is a PluginAuthority already, and plugins pin it: it cannot be replaced.")
        row = Certificate.objects.create(
            id=new_id("crt"),
            purpose=AUTHORITY,
            der=certificate_der,
            sealed_private_key=None,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )
        _record(actor, "certificate.created", row.id, {"purpose": AUTHORITY, "offline": True})
    return row


def forget_authority_key(*, kept: PluginAuthority, actor: Actor, now: datetime) -> None:
    """Remove PluginAuthority's private key from the database, for good; `kept` is what was read back from its file.

    Raises:
        Conflict: it is not the key of this server's authority, or it is on another machine already.
    """
    with transaction.atomic():
        lock_keys()
        row = Certificate.objects.filter(purpose=AUTHORITY, retired_at=None, sealed_private_key__isnull=False).first()
        if row is None:
            raise Conflict("PluginAuthority's private key is not here.")
        if bytes(row.der) != kept.certificate_der:
            raise Conflict("What was kept is not this server's PluginAuthority.")
        row.sealed_private_key = None
        row.save(update_fields=["sealed_private_key"])
        _record(actor, "certificate.taken_offline", row.id, {"purpose": AUTHORITY, "at": now.isoformat()})


def purposes_due(*, now: datetime) -> list[Purpose]:
    """The purposes that need a certificate: it was asked for, none is there, or it has thirty days or less to live."""

    def is_due(purpose: Purpose) -> bool:
        row = current_certificate(purpose)
        return row is None or now >= row.not_after - CERTIFICATE_RENEWAL or _open_request(purpose) is not None

    return [purpose for purpose in CERTIFIED if is_due(purpose)]


def request_certificates(
    *, purposes: Iterable[Purpose], actor: Actor, now: datetime, with_new_keys: bool = False
) -> list[CertificateRequest]:
    """Make a key for each purpose and ask for its certificate; what was asked for and has not come is asked for again.

    `with_new_keys` drops what was asked for before and makes other keys: certificates for those are no good any more.

    Raises:
        Conflict: the authority's key is here, so nothing has to be asked for; or there is no authority at all.
    """
    with transaction.atomic():
        lock_keys()
        if not is_authority_offline():
            raise Conflict("PluginAuthority's private key is not kept on another machine: nothing has to be asked for.")
        if with_new_keys:
            wanted = [purpose.value for purpose in purposes]
            CertificateRequest.objects.filter(purpose__in=wanted, closed_at=None).update(
                closed_at=now, sealed_private_key=b""
            )
        return [_open_request(purpose) or _make_request(purpose, actor, now) for purpose in purposes]


def import_certificates(*, ders: Sequence[bytes], actor: Actor, now: datetime) -> list[Imported]:
    """Take in certificates that came back, all of them or none, and sign the key set anew with its own.

    Each was issued by this server's authority, for one purpose, is valid now, and is for the key that was asked for. A
    key-set certificate is not older than the one in use, since plugins accept none that goes back.

    Raises:
        InvalidValue: what is wrong with which of them.
        Conflict: there is no authority.
    """
    with transaction.atomic():
        lock_keys()
        authority = _authority_key()
        imported = [_import(der, authority, actor, now) for der in ders]
        if any(each.is_new and each.purpose is Purpose.KEYSET for each in imported) and SigningKey.objects.exists():
            publish_if_due(now, is_due=True)
    return imported


def request_identity(request_id: str) -> str:
    """What a request's sealed private key is bound to."""
    return f"certificate_request.private:{request_id}"


def _import(der: bytes, authority: ec.EllipticCurvePublicKey, actor: Actor, now: datetime) -> Imported:
    purpose = _purpose_of(der)
    try:
        certificate = verify_certificate(der, authority=authority, purpose=purpose, at=now)
    except AuthorityError as exc:
        raise InvalidValue(f"The {purpose.value} certificate is refused: {_REASONS[exc.reason]}.") from exc
    current = current_certificate(purpose)
    if current is not None and bytes(current.der) == der:
        return Imported(purpose, current, is_new=False)
    request = _open_request(purpose)
    private = _requested_key(request) if request is not None else None
    if request is None or private is None or private.public_key() != certificate.public_key():
        raise InvalidValue(f"The {purpose.value} certificate is for another key than the one that was asked for.")
    if current is not None and certificate.not_valid_before_utc < current.not_before:
        raise InvalidValue(f"The {purpose.value} certificate begins before the one in use: plugins would refuse it.")
    request.closed_at, request.sealed_private_key = now, b""
    request.save(update_fields=["closed_at", "sealed_private_key"])
    row = install_certificate(purpose, certificate, private, actor=actor, now=now)
    return Imported(purpose, row, is_new=True)


def _purpose_of(der: bytes) -> Purpose:
    """What a certificate claims to be for; `verify_certificate` holds it to that."""
    try:
        names = [name.value for name in load_certificate(der).subject]
    except AuthorityError as exc:
        raise InvalidValue(f"A certificate is refused: {_REASONS['malformed']}.") from exc
    for purpose in Purpose:
        if names == [purpose.common_name]:
            return purpose
    raise InvalidValue("A certificate is refused: its subject is none of the purposes.")


def _authority_key() -> ec.EllipticCurvePublicKey:
    row = Certificate.objects.filter(purpose=AUTHORITY, retired_at=None).first()
    key = load_certificate(bytes(row.der)).public_key() if row is not None else None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Conflict("There is no PluginAuthority yet: adopt its certificate first.")
    return key


def _open_request(purpose: Purpose) -> CertificateRequest | None:
    return CertificateRequest.objects.filter(purpose=purpose.value, closed_at=None).first()


def _requested_key(request: CertificateRequest) -> LeafPrivateKey:
    der = ring("artifacts").unseal(bytes(request.sealed_private_key), identity=request_identity(request.id))
    return load_purpose_key(Purpose(request.purpose), der)


def _make_request(purpose: Purpose, actor: Actor, now: datetime) -> CertificateRequest:
    private, row_id = generate_purpose_key(purpose), new_id("crq")
    row = CertificateRequest.objects.create(
        id=row_id,
        purpose=purpose.value,
        der=make_request(purpose, private),
        sealed_private_key=ring("artifacts").seal(jwk.private_to_der(private), identity=request_identity(row_id)),
        created_at=now,
    )
    _record(actor, "certificate.requested", row_id, {"purpose": purpose.value})
    return row


def _record(actor: Actor, action: str, subject_id: str, detail: dict[str, object]) -> None:
    audit.record(actor=actor, action=action, subject_kind="certificate", subject_id=subject_id, detail=detail)
