"""How pages are routed: every path with and without its trailing slash, ids that cannot hold a surprise."""

import re
from typing import Any, Final

from django.urls import URLPattern, re_path

from accounts.portal.access import View

_TYPES: Final = {
    "customer_id": r"[a-z][a-z0-9_]{2,62}",
    "key": r"[A-Za-z0-9_:.-]{1,200}",
    "token": r"[A-Za-z0-9_:.-]{1,200}",
    "number": r"[0-9]{1,18}",
    "pk": r"[0-9]{1,18}",
    "uidb36": r"[0-9A-Za-z]{1,13}",
    "plugin": r"[a-z0-9][a-z0-9._-]{0,63}",
    "version": r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}",
}
_DEFAULT: Final = r"[A-Za-z0-9_-]{1,64}"
_PART: Final = re.compile(r"<(\w+)>")
CUSTOMER_PREFIX: Final = "portal/<customer_id>"


def page(route: str, view: View, name: str, **kwargs: Any) -> URLPattern:
    """A page at `route`, in which `<name>` stands for an id; `<customer_id>`, `<token>`, … have shapes of their own."""
    pattern = _PART.sub(lambda part: f"(?P<{part[1]}>{_TYPES.get(part[1], _DEFAULT)})", re.escape(route))
    return re_path(rf"^{pattern}/?\Z", view, kwargs, name=name)


def customer_page_at(route: str, view: View, name: str) -> URLPattern:
    """A page of a customer's organisation, at `/portal/<customer_id>/<route>`."""
    return page(f"{CUSTOMER_PREFIX}/{route}".rstrip("/"), view, name)
