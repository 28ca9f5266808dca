"""Bases of the management API's and the account API's views."""

from typing import ClassVar

from django.conf import settings
from django.utils.module_loading import import_string
from rest_framework.authentication import BaseAuthentication

from accounts.api.authentication import OperatorKeyAuthentication
from accounts.models import CUSTOMER_ID_PATTERN
from licensing.core.api.views import ApiView


class ManageView(ApiView):
    """`/api/manage/…`, for operators."""

    authentication_classes = [OperatorKeyAuthentication]
    path_patterns: ClassVar = {"customer_id": CUSTOMER_ID_PATTERN}
    security: ClassVar = ("operatorKey",)


class AccountView(ApiView):
    """`/api/account/…`, for one customer: its API keys, and its people through the portal.

    The settings say how they are told: API keys are judged by rules that live above this app.
    """

    security: ClassVar = ("apiKey", "portalSession")

    def get_authenticators(self) -> list[BaseAuthentication]:
        """The authenticators that ACCOUNT_AUTHENTICATION names."""
        return [import_string(path)() for path in settings.ACCOUNT_AUTHENTICATION]
