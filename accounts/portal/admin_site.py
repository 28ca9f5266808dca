"""Django's admin, for what the operator's pages do not show. Its sign-in is ours, which asks for both factors."""

from collections.abc import Callable
from typing import Any, Final

from csp.constants import SELF
from csp.decorators import csp_replace
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _

from accounts.api.authentication import is_session_with_second_factor

# Django's own scripts are files without nonces, and write markup.
_POLICY: Final = {"script-src": [SELF], "require-trusted-types-for": None, "trusted-types": None}


class OperatorAdminSite(admin.AdminSite):
    """The admin as operators reach it."""

    site_header = _("Keywright records")
    site_title = _("Keywright records")
    index_title = _("Records")
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether this is an active operator who has shown a second factor where operators must."""
        if settings.OPERATORS_REQUIRE_MFA and not is_session_with_second_factor(request):
            return False
        return super().has_permission(request)

    def login(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Send people to the portal's sign-in: a second one here would be one without a second factor."""
        if request.user.is_authenticated:
            return redirect("portal-home")
        return redirect_to_login(request.get_full_path())

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Give Django's pages the policy that their scripts need; still none inline and none from elsewhere."""
        inner: Callable[..., HttpResponseBase] = super().admin_view(view, cacheable)
        return csp_replace(_POLICY)(inner)
