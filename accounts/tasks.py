"""Jobs of `accounts`: mails to people. A request that asks for one takes equally long whoever it is for."""

from datetime import UTC, datetime

from celery import shared_task

from accounts.models import Invitation, User
from licensing.core.models import OutboxEvent


@shared_task(name="accounts.send_password_reset")
def send_password_reset(email: str) -> None:
    """Send the link to whoever has this address; nobody learns whether anybody has."""
    from accounts.portal.mail import mail_password_reset

    user = User.objects.filter(email__iexact=email, is_active=True).first()
    if user is not None:
        mail_password_reset(user)


@shared_task(name="accounts.send_security_notice")
def send_security_notice(user_id: int, notice: str) -> None:
    """Tell a person what was changed about how they sign in."""
    from accounts.portal.mail import NOTICES, mail_security_notice

    user = User.objects.filter(pk=user_id).first()
    if user is not None and notice in NOTICES:
        mail_security_notice(user, notice)


@shared_task(name="accounts.send_invitation")
def send_invitation(invitation_id: str) -> None:
    """Send an invitation's link, unless it was accepted, withdrawn or has lapsed meanwhile."""
    from accounts.portal.mail import mail_invitation

    row = Invitation.objects.select_related("customer").filter(
        pk=invitation_id, accepted_at=None, withdrawn_at=None, expires_at__gt=datetime.now(UTC)
    )
    invitation = row.first()
    if invitation is not None:
        mail_invitation(invitation)


def on_invited(event: OutboxEvent) -> None:
    """Subscriber of `member.invited`: the mail is a job of its own, so that a mail server holds up no events."""
    send_invitation.delay(event.payload["invitation_id"])
