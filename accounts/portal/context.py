"""What every page's frame needs: who reads it, their organisations, the menu and the theme."""

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import Membership
from accounts.permissions import actions_of_operator
from accounts.portal import navigation
from accounts.portal.access import Visitor, viewing_until

THEMES: Final = ("dark", "light")


def theme_cookie() -> str:
    """The name of the cookie that remembers a reader's choice."""
    return f"{settings.COOKIE_PREFIX}theme"


def portal(request: HttpRequest) -> dict[str, Any]:
    """Context for every template; what costs a query is asked for only where it is shown."""
    theme = request.COOKIES.get(theme_cookie(), "")
    visitor: Visitor | None = getattr(request, "visitor", None)
    return {
        "portal_name": settings.PORTAL_NAME,
        "theme": theme if theme in THEMES else "",
        "visitor": visitor,
        "now": getattr(request, "now", None),
        "memberships": SimpleLazyObject(lambda: _memberships(request)),
        "menu": SimpleLazyObject(lambda: _menu(request, visitor)),
        "viewing_until": _viewing_until(request, visitor),
    }


def _memberships(request: HttpRequest) -> list[Membership]:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return []
    return list(Membership.objects.select_related("customer").filter(user_id=user.pk).order_by("customer__name")[:100])


def _menu(request: HttpRequest, visitor: Visitor | None) -> list[navigation.Link]:
    if visitor is not None:
        return navigation.links(
            navigation.CUSTOMER, actions=visitor.actions, path=request.path, customer_id=visitor.customer.pk
        )
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated and user.is_staff and request.path.startswith("/operator"):
        actions = actions_of_operator(is_superuser=user.is_superuser)
        return navigation.links(navigation.OPERATOR, actions=actions, path=request.path)
    return []


def _viewing_until(request: HttpRequest, visitor: Visitor | None) -> Any:
    if visitor is None or not visitor.is_onlooker:
        return None
    return viewing_until(request, visitor.customer.pk, request.now)  # type: ignore[attr-defined]
