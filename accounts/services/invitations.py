"""Asking people into an organisation. The link in the mail is the invitation's id, signed: nothing secret is stored.

Whoever follows the link has shown that the mail reached them; so the link goes out by mail alone, never in an answer.
"""

from datetime import datetime, timedelta
from typing import Final

from django.core import signing
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts.models import Customer, Invitation, Membership, User
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue, NotFound
from licensing.core.ids import new_id

LIFETIME: Final = timedelta(days=7)
_SALT: Final = "accounts.invitation"


def invite_member(*, customer: Customer, email: str, role: str, actor: Actor, now: datetime) -> Invitation:
    """Ask a person in; a mail goes out after the commit (event `member.invited`).

    Raises:
        InvalidValue: not an e-mail address.
        Conflict: that person is a member, or is invited already.
    """
    address = checked_email(email)
    with transaction.atomic():
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        if Membership.objects.filter(customer=customer, user__email__iexact=address).exists():
            raise Conflict("This person is a member already.", field="email")
        waiting = Invitation.objects.filter(
            customer=customer, email__iexact=address, accepted_at=None, withdrawn_at=None
        ).first()
        if waiting is not None and waiting.expires_at > now:
            raise Conflict("This person is invited already; withdraw that invitation first.", field="email")
        if waiting is not None:
            _withdraw(waiting, now)
        row = Invitation.objects.create(
            id=new_id("inv"),
            customer=customer,
            email=address,
            role=role,
            invited_by=actor.display,
            created_at=now,
            expires_at=now + LIFETIME,
        )
        _record(row, "member.invited", actor)
        outbox.emit("member.invited", customer_id=customer.pk, payload={"invitation_id": row.id, "role": role})
    return row


def withdraw_invitation(*, invitation: Invitation, actor: Actor, now: datetime) -> None:
    """Take an invitation back; its link is good for nothing from now on."""
    with transaction.atomic():
        row = Invitation.objects.select_for_update().get(pk=invitation.pk)
        if row.accepted_at is None and row.withdrawn_at is None:
            _withdraw(row, now)
            _record(row, "member.invitation_withdrawn", actor)


def invitation_token(invitation: Invitation) -> str:
    """What the link in the mail carries."""
    return signing.Signer(salt=_SALT).sign(invitation.id)


def open_invitation(*, token: str, now: datetime) -> Invitation:
    """The waiting invitation that a link names.

    Raises:
        NotFound: the link is not ours, or its invitation was accepted, withdrawn or has lapsed.
    """
    try:
        invitation_id = signing.Signer(salt=_SALT).unsign(token)
    except signing.BadSignature:
        raise NotFound("This invitation is no longer good.") from None
    row = Invitation.objects.filter(pk=invitation_id, accepted_at=None, withdrawn_at=None, expires_at__gt=now).first()
    if row is None:
        raise NotFound("This invitation is no longer good.")
    return row


def accept_invitation(*, token: str, user: User, actor: Actor, now: datetime) -> Membership:
    """Make `user`, who followed the link, a member.

    Raises:
        NotFound: as `open_invitation`.
        Conflict: the person is signed in under another address than the one invited, or is a member already.
    """
    with transaction.atomic():
        row = Invitation.objects.select_for_update().get(pk=open_invitation(token=token, now=now).pk)
        if row.accepted_at is not None or row.withdrawn_at is not None:
            raise NotFound("This invitation is no longer good.")
        if row.email.casefold() != user.email.casefold():
            raise Conflict("This invitation is for another address; sign in with that one.")
        try:
            with transaction.atomic():
                membership = Membership.objects.create(user=user, customer_id=row.customer_id, role=row.role)
        except IntegrityError as exc:
            raise Conflict("You are a member already.") from exc
        row.accepted_at = now
        row.save(update_fields=["accepted_at"])
        _record(row, "member.joined", actor)
        outbox.emit("member.changed", customer_id=row.customer_id, payload={"person_id": user.pk, "action": "joined"})
    return membership


def checked_email(email: str) -> str:
    """Return the address, its domain in lower case. Raises `InvalidValue`."""
    address = User.objects.normalize_email(email.strip())
    try:
        validate_email(address)
    except ValidationError as exc:
        raise InvalidValue("email: not an e-mail address.", field="email") from exc
    return address


def _withdraw(row: Invitation, now: datetime) -> None:
    row.withdrawn_at = now
    row.save(update_fields=["withdrawn_at"])


def _record(row: Invitation, action: str, actor: Actor) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject_kind="invitation",
        subject_id=row.id,
        customer_id=row.customer_id,
        detail={"email": row.email, "role": row.role},
    )
