"""Other people's apps as this server has them installed. Imports no model: it is read before there are any."""

from allauth.account.apps import AccountConfig
from django.contrib.admin.apps import AdminConfig


class OperatorAdminConfig(AdminConfig):
    """Django's admin, with our sign-in before it."""

    default_site = "accounts.portal.admin_site.OperatorAdminSite"


class SignInConfig(AccountConfig):  # type: ignore[misc]
    """django-allauth's accounts, whose middleware stands in our chain for pages instead of in MIDDLEWARE."""

    def ready(self) -> None:
        """Register allauth's checks, and count a factor that was just set up for the session that did it."""
        from allauth.account import checks  # noqa: F401  registers by being imported
        from allauth.mfa.signals import authenticator_added

        from accounts.portal.adapters import count_new_factor

        authenticator_added.connect(count_new_factor, dispatch_uid="accounts.portal")
