"""Answering a page that asks again and again how far something is."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from accounts.portal.listing import render_listing


def render_progress(
    request: HttpRequest, page: str, part: str, context: dict[str, Any], *, is_over: bool
) -> HttpResponse:
    """Answer the page, or to a script the part that changes; once it is over, have the script load the whole page."""
    response = render_listing(request, page, part, context)
    if is_over and getattr(request, "htmx", False):
        response.headers["HX-Refresh"] = "true"
    return response
