"""Where django-allauth asks us: addresses, mails, where to go after sign-in, and how MFA secrets are kept."""

import base64
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from kombu.exceptions import OperationalError as BrokerAway

from accounts.keyrings import ring
from accounts.models import User
from accounts.services.key_material import MFA_IDENTITY
from licensing.core.problems import log
from licensing.core.source import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Accounts as this server has them: made by invitation or by operators, never by signing up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody signs up by themselves."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that rate limits and the list of sessions go by."""
        return client_address(request)

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Where a person goes after signing in."""
        return reverse("portal-home")

    def is_safe_url(self, url: str) -> bool:
        """Only paths of this site; other hosts that we answer to are other sites to a reader."""
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def get_from_email(self) -> str:
        """The sender of our mails."""
        return str(settings.DEFAULT_FROM_EMAIL)

    def format_email_subject(self, subject: str) -> str:
        """A subject without a prefix."""
        return subject

    def send_notification_mail(self, template_prefix: str, user: User, *args: Any, **kwargs: Any) -> None:
        """Tell the person, by a job: a mail server that is slow or away must not break what was just done."""
        from accounts.tasks import send_security_notice

        try:
            send_security_notice.delay(user.pk, template_prefix.rpartition("/")[2])
        except BrokerAway:
            log.warning("mail.not_sent", reason="broker away", notice=template_prefix)


class MfaAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Second factors, their secrets sealed under `web`."""

    def encrypt(self, text: str) -> str:
        """Seal a secret for the database."""
        return base64.b64encode(ring("web").seal(text.encode(), identity=MFA_IDENTITY)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Open a sealed secret. Raises `SealError`."""
        return ring("web").unseal(base64.b64decode(encrypted_text), identity=MFA_IDENTITY).decode()

    def get_totp_issuer(self) -> str:
        """The name that authenticator apps show."""
        return str(settings.PORTAL_NAME)

    def _get_site_name(self) -> str:
        return str(settings.PORTAL_NAME)


def count_new_factor(
    sender: object, request: HttpRequest, user: User, authenticator: Authenticator, **_kwargs: object
) -> None:
    """Remember in the session that a second factor was shown, when one was just set up."""
    # Setting it up took a working code or key: the session has shown its second factor.
    if authenticator.type != Authenticator.Type.RECOVERY_CODES:
        record_authentication(request, user, method="mfa", type=authenticator.type, id=authenticator.pk)
