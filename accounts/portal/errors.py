"""Errors as pages: what happened, what to do about it, and the request id to name when asking."""

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from licensing.core.errors import DomainError
from licensing.core.request_id import request_id

_TITLES: Final = {
    400: gettext_lazy("That request could not be read"),
    403: gettext_lazy("You may not do that"),
    404: gettext_lazy("There is nothing here"),
    405: gettext_lazy("That cannot be done here"),
    409: gettext_lazy("That conflicts with what is there"),
    411: gettext_lazy("That could not be read"),
    413: gettext_lazy("That is too large"),
    429: gettext_lazy("Too many attempts"),
    503: gettext_lazy("We cannot answer right now"),
}
_ADVICE: Final = {
    400: gettext_lazy("Go back, load the page again and try once more."),
    403: gettext_lazy("Ask an owner or administrator of your organisation if you need this."),
    404: gettext_lazy("The address may be mistyped, or the thing may be gone, or you may not be a member of it."),
    405: gettext_lazy("Go back and use the page's own buttons."),
    409: gettext_lazy("Go back, look at the present state, and decide again."),
    411: gettext_lazy("Go back and send the form with a browser, which says how long it is."),
    413: gettext_lazy("Go back and send less: a form may have a megabyte."),
    429: gettext_lazy("Wait a few minutes, then try again."),
    503: gettext_lazy("A part of the server is away. Try again in a moment; nothing was changed."),
}


def page_for_error(request: HttpRequest, *, status: int, error: DomainError | None = None) -> HttpResponse:
    """Answer an error as a page. Says no more than the error's public detail."""
    title = _TITLES.get(status, _("Something went wrong here"))
    detail = error.detail if error is not None and error.detail != error.title else ""
    context = {
        "title": title,
        "detail": detail,
        "advice": _ADVICE.get(status, _("The error has been recorded. Try again, or tell us the request id.")),
        "request_id": request_id(),
    }
    response = render(request, "portal/error.html", context, status=status)
    for name, value in (error.headers if error else {}).items():
        response.headers[name] = value
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that came without its CSRF token."""
    context = {
        "title": _("This form is no longer good"),
        "detail": _("It was opened in another session, or it did not come from this site."),
        "advice": _("Go back, load the page again and send it once more. Cookies must be allowed."),
        "request_id": request_id(),
    }
    return render(request, "portal/error.html", context, status=403)
