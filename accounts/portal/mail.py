"""Mails to people. Links are built on PUBLIC_URL, never on the Host header of whoever asked for the mail."""

from collections.abc import Mapping
from typing import Any, Final

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.models import Invitation, User
from accounts.services.invitations import invitation_token

NOTICES: Final = frozenset(
    {
        "password_changed",
        "password_reset",
        "password_set",
        "totp_activated",
        "totp_deactivated",
        "webauthn_added",
        "webauthn_removed",
        "recovery_codes_generated",
    }
)


def mail_password_reset(user: User) -> None:
    """Send the link by which a person sets a new password."""
    path = reverse(
        "account_reset_password_from_key",
        kwargs={"uidb36": user_pk_to_url_str(user), "key": default_token_generator.make_token(user)},
    )
    _send("password_reset", user.email, {"person": user, "url": settings.PUBLIC_URL + path})


def mail_invitation(invitation: Invitation) -> None:
    """Send the link by which a person joins an organisation."""
    path = reverse("invitation", kwargs={"token": invitation_token(invitation)})
    _send("invitation", invitation.email, {"invitation": invitation, "url": settings.PUBLIC_URL + path})


def mail_security_notice(user: User, notice: str) -> None:
    """Tell a person what was changed about how they sign in."""
    _send("security_notice", user.email, {"person": user, "notice": notice})


def _send(name: str, to: str, context: Mapping[str, Any]) -> None:
    context = {**context, "portal_name": settings.PORTAL_NAME, "public_url": settings.PUBLIC_URL}
    subject = " ".join(render_to_string(f"mail/{name}_subject.txt", context).split())
    send_mail(subject, render_to_string(f"mail/{name}.txt", context), settings.DEFAULT_FROM_EMAIL, [to])
