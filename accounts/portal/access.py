"""Who may see a page: each view carries one decorator that says so, and keeps what it said as data on the view.

A customer's page belongs to the organisation in its URL. Who is no member learns nothing, not even that it exists.
An operator who signed in as a customer reads what an owner reads, and changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final, cast

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from accounts.api.authentication import is_session_with_second_factor
from accounts.models import Customer, Membership, User
from accounts.permissions import OPERATOR_READS, TABLE, actions_of_operator, actions_of_role
from licensing.core.actor import Actor
from licensing.core.errors import MethodNotAllowed, NotFound, PermissionMissing
from licensing.core.request_id import request_id
from licensing.core.source import client_address, in_networks

VIEWING: Final = "viewing"
READS: Final = frozenset(action for action in TABLE if action.endswith(".read"))
_SAFE: Final = frozenset({"GET", "HEAD"})

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Access:
    """Who a page is for: `kind` is `public`, `person`, `customer` or `operator`; `action`, of accounts.permissions."""

    kind: str
    action: str = ""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person on a page of one customer's. `role` is empty for an operator who looks on."""

    user: User
    customer: Customer
    role: str
    actions: frozenset[str]

    @property
    def is_onlooker(self) -> bool:
        """Whether this is an operator who signed in as the customer."""
        return not self.role


class PageRequest(HttpRequest):
    """A request whose page knows its person and the instant; `user` is signed in wherever access says so."""

    user: User
    now: datetime
    actions: frozenset[str]


class CustomerRequest(PageRequest):
    """A request for one customer's page."""

    visitor: Visitor
    customer: Customer


def actor(request: HttpRequest) -> Actor:
    """Who acts with this request: the operator on operators' pages, the person on all others."""
    user = cast(User, request.user)
    kind = "operator" if request.path.startswith("/operator/") else "person"
    return Actor(kind, str(user.pk), client_address(request), request_id(), display=user.email)  # type: ignore[arg-type]


def public_page(view: View) -> View:
    """A page for anybody, such as sign-in."""
    return _with_access(view, Access("public"))


def person_page(view: View) -> View:
    """A page for whoever is signed in."""

    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        _prepare(request)
        return view(request, *args, **kwargs)

    return _with_access(page, Access("person"))


def customer_page(action: str, *, methods: tuple[str, ...] = ("GET",)) -> Callable[[View], View]:
    """A page of one customer's organisation, for those whose role has `action`."""
    if action not in TABLE:
        raise LookupError(action)

    def decorate(view: View) -> View:
        @wraps(view)
        def page(request: HttpRequest, customer_id: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            _prepare(request)
            visitor = _visitor(request, customer_id)
            refused = None if visitor.is_onlooker else held_against_policy(request, visitor.customer)
            if refused is not None:
                return refused
            _require_method(request, methods)
            if visitor.is_onlooker and request.method not in _SAFE:
                raise PermissionMissing(_("You are looking on as the vendor's operator. Nothing can be changed here."))
            if action not in visitor.actions:
                raise PermissionMissing(_("Your role in this organisation does not allow that."))
            request.visitor, request.customer = visitor, visitor.customer  # type: ignore[attr-defined]
            return view(request, *args, **kwargs)

        return _with_access(page, Access("customer", action))

    return decorate


def operator_page(action: str, *, methods: tuple[str, ...] = ("GET",)) -> Callable[[View], View]:
    """A page for the vendor's operators; for anybody else it does not exist."""

    def decorate(view: View) -> View:
        @wraps(view)
        def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            _prepare(request)
            user = request.user
            if not user.is_staff:
                raise NotFound()
            if settings.OPERATORS_REQUIRE_MFA and not is_session_with_second_factor(request):
                return _ask_for_second_factor(request, _("Operators need a second factor. Set one up to go on."))
            _require_method(request, methods)
            actions = actions_of_operator(is_superuser=user.is_superuser)
            if action not in actions:
                raise PermissionMissing(_("Only a superuser may do that."))
            request.actions = actions  # type: ignore[attr-defined]
            return view(request, *args, **kwargs)

        return _with_access(page, Access("operator", action))

    if action not in OPERATOR_READS and action not in actions_of_operator(is_superuser=True):
        raise LookupError(action)
    return decorate


def held_against_policy(request: HttpRequest, customer: Customer) -> HttpResponse | None:
    """What stands between a member and the organisation's pages: its networks, and its second factor.

    Raises:
        PermissionMissing: the portal may not be used from here.
    """
    if customer.portal_cidrs and not in_networks(client_address(request), tuple(customer.portal_cidrs)):
        raise PermissionMissing(_("This organisation's portal may not be used from your address."))
    if customer.require_mfa and not is_session_with_second_factor(request):
        return _ask_for_second_factor(request, _("This organisation asks for a second factor. Set one up to go on."))
    return None


def viewing_until(request: HttpRequest, customer_id: str, now: datetime) -> datetime | None:
    """Until when an operator looks on at this customer's pages; None if they do not."""
    viewing = request.session.get(VIEWING)
    if not (isinstance(viewing, dict) and viewing.get("customer_id") == customer_id):
        return None
    until = datetime.fromtimestamp(float(viewing["until"]), UTC)
    return until if until > now else None


def _visitor(request: HttpRequest, customer_id: str) -> Visitor:
    user = cast(User, request.user)
    membership = Membership.objects.select_related("customer").filter(user=user, customer_id=customer_id).first()
    if membership is not None:
        return Visitor(user, membership.customer, membership.role, actions_of_role(membership.role))
    now: datetime = request.now  # type: ignore[attr-defined]
    if not (user.is_staff and viewing_until(request, customer_id, now)):
        raise NotFound()
    if settings.OPERATORS_REQUIRE_MFA and not is_session_with_second_factor(request):
        raise NotFound()
    customer = Customer.objects.filter(pk=customer_id).first()
    if customer is None:
        raise NotFound()
    return Visitor(user, customer, "", READS)


def _ask_for_second_factor(request: HttpRequest, text: str) -> HttpResponse:
    if Authenticator.objects.filter(user_id=request.user.pk).exists():
        # They have one, and this session was opened before they had: it has to be opened anew.
        text = _("This needs a session opened with your second factor. Sign out and in again.")
    messages.warning(request, text)
    return redirect("mfa_index")


def _prepare(request: HttpRequest) -> None:
    request.now = datetime.now(UTC)  # type: ignore[attr-defined]


def _require_method(request: HttpRequest, methods: tuple[str, ...]) -> None:
    if request.method not in (*methods, "HEAD"):
        raise MethodNotAllowed(headers={"Allow": ", ".join(methods)})


def _with_access(view: View, access: Access) -> View:
    view.access = access  # type: ignore[attr-defined]
    return view
