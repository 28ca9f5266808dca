"""Finding out who calls: operators by their keys, people by their portal session.

Customers' API keys are judged by `licensing.api.authentication`, since the rules about keys live there; the settings
name it, so that views here need not import upwards.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from django.contrib.auth import get_user
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.crypto import salted_hmac
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.keyrings import peppers
from accounts.models import Membership, OperatorKey
from accounts.permissions import actions_of_operator, actions_of_role
from accounts.services.key_material import operator_prefix
from accounts.services.stored_peppers import require_peppers_of_stored_keys
from licensing.core.actor import Actor
from licensing.core.api.principal import Principal
from licensing.core.endpoint import bearer_credential
from licensing.core.errors import CredentialMissing, CredentialRefused, PermissionMissing
from licensing.core.request_id import request_id
from licensing.core.source import client_address, in_networks
from licensing.crypto import keys
from licensing.crypto.sealing import seal_for_bearer, unseal_for_bearer

CURRENT_CUSTOMER = "customer_id"
CUSTOMER_HEADER = "HTTP_X_CUSTOMER_ID"


@dataclass(frozen=True, slots=True)
class BearerSeal:
    """Seals remembered answers under a credential that the database does not hold."""

    _credential: str = field(repr=False)

    def seal(self, plaintext: bytes, *, idempotency_key: str, identity: str) -> bytes:
        """Seal an answer for this caller."""
        return seal_for_bearer(self._credential, idempotency_key, plaintext, identity=identity)

    def unseal(self, sealed: bytes, *, idempotency_key: str, identity: str) -> bytes:
        """Open an answer of this caller."""
        return unseal_for_bearer(self._credential, idempotency_key, sealed, identity=identity)


class OperatorKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer kmop_…`: acts as the operator that the key belongs to."""

    def authenticate(self, request: Request) -> tuple[Principal, None]:
        """Return who it is. Raises as `operator_principal` for anything but a live key of an active operator."""
        http = request._request
        return operator_principal(http, now=datetime.now(UTC)), None

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401."""
        return "Bearer"


def operator_principal(request: HttpRequest, *, now: datetime) -> Principal:
    """Find the operator whose key came with the request.

    Raises:
        CredentialMissing, CredentialRefused: the latter for every reason, since none is the caller's to know.
        ServiceUnavailable: the key may be one that is stored under a pepper which this process does not hold.
    """
    credential = bearer_credential(request)
    parsed = keys.parse_key(credential, (operator_prefix(),))
    row = find_operator_key(parsed.text) if parsed else None
    if row is None or row.revoked_at is not None or (row.expires_at is not None and now >= row.expires_at):
        raise CredentialRefused
    user = row.user
    if not (user.is_staff and user.is_active):
        raise CredentialRefused
    return Principal(
        actor=Actor("operator", str(user.pk), client_address(request), request_id(), display=user.email),
        scope=f"operator_key:{row.id}",
        permissions=actions_of_operator(is_superuser=user.is_superuser),
        answer_seal=BearerSeal(credential),
    )


def find_operator_key(key: str) -> OperatorKey | None:
    """The row of an operator's key: one lookup in a unique index.

    Raises:
        ServiceUnavailable: whether there is such a key cannot be known.
    """
    digests = peppers().digests(keys.fingerprint(key))
    row = OperatorKey.objects.select_related("user").filter(digest__in=digests).first()
    if row is None:
        require_peppers_of_stored_keys(OperatorKey)
    return row


class PortalSessionAuthentication(BaseAuthentication):
    """A person signed in to the portal, in one organisation: `X-Customer-ID`, else the session's current one."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        """Return who it is, or None where no session came along.

        Raises:
            PermissionMissing: the session is good, and not for this (no CSRF token, another network, no second factor).
            CredentialMissing: the person is no member of the organisation.
        """
        http = request._request
        session = getattr(http, "session", None)
        if session is None or "HTTP_AUTHORIZATION" in http.META or "HTTP_X_API_KEY" in http.META:
            return None
        user = get_user(http)
        if not (user.is_authenticated and user.is_active):
            return None
        _check_csrf(http)
        membership = _membership(http, user.pk)
        _check_policy(http, membership)
        return _person(http, membership), None

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401."""
        return "Bearer"


def _membership(request: HttpRequest, user_id: int) -> Membership:
    memberships = Membership.objects.select_related("customer", "user").filter(user_id=user_id)
    wanted = request.META.get(CUSTOMER_HEADER) or request.session.get(CURRENT_CUSTOMER)
    if wanted is not None:
        memberships = memberships.filter(customer_id=str(wanted).replace("\x00", ""))
    found = list(memberships[:2])
    if len(found) != 1:
        raise CredentialMissing("Name one of your organisations in X-Customer-ID.")
    return found[0]


class _CsrfCheck(CsrfViewMiddleware):
    """Django's own check, whose refusal here is a problem document and no page."""

    def _reject(self, request: HttpRequest, reason: str) -> NoReturn:
        raise PermissionMissing("The CSRF token is missing or wrong.", note=reason)


def _check_csrf(request: HttpRequest) -> None:
    """A cookie comes along by itself, so a write needs the token that other sites cannot read."""
    check = _CsrfCheck(_unused)
    check.process_request(request)
    check.process_view(request, _unused, (), {})


def _unused(request: HttpRequest) -> Any:
    raise AssertionError("this view is never called")


def _check_policy(request: HttpRequest, membership: Membership) -> None:
    """Hold the session against what the organisation asks of its people."""
    customer = membership.customer
    if customer.portal_cidrs and not in_networks(client_address(request), tuple(customer.portal_cidrs)):
        raise PermissionMissing("The portal may not be used from this address.")
    if customer.require_mfa and not is_session_with_second_factor(request):
        raise PermissionMissing("This organisation asks for a second factor; sign in with one.")


def is_session_with_second_factor(request: HttpRequest) -> bool:
    """Whether the session was opened with a second factor (as django-allauth records it)."""
    methods = request.session.get("account_authentication_methods", [])
    return any(isinstance(method, dict) and method.get("method") == "mfa" for method in methods)


def _person(request: HttpRequest, membership: Membership) -> Principal:
    user = membership.user
    # The session's key stands in the database; with the server's own secret over it, what is sealed under it does not
    # open with the database alone.
    credential = salted_hmac("accounts.session-seal", request.session.session_key or "", algorithm="sha256").hexdigest()
    return Principal(
        actor=Actor("person", str(user.pk), client_address(request), request_id(), display=user.email),
        scope=f"session:{credential[:32]}:{membership.customer_id}",
        permissions=actions_of_role(membership.role),
        answer_seal=BearerSeal(credential),
        customer_id=membership.customer_id,
    )
