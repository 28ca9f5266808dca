"""Lists a page at a time, without counting what nobody asked the number of."""

from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

PAGE_ROWS: Final = 50
_LAST_PAGE: Final = 10_000


@dataclass(slots=True)
class Listing:
    """The rows of one page, and the links to those beside it."""

    rows: list[Any]
    summary: str
    newer: str = ""
    older: str = ""
    newer_label: str = field(default_factory=lambda: _("Previous"))
    older_label: str = field(default_factory=lambda: _("Next"))


def numbered(request: HttpRequest, rows: QuerySet[Any], *, size: int = PAGE_ROWS) -> Listing:
    """The page that `?page=` names, of rows in their own order."""
    number = _whole(request.GET.get("page", ""), 1, _LAST_PAGE)
    start = (number - 1) * size
    found = list(rows[start : start + size + 1])
    shown = found[:size]
    summary = f"{start + 1}–{start + len(shown)}" if shown else ""
    return Listing(
        shown,
        summary,
        newer=_link(request, page=number - 1) if number > 1 else "",
        older=_link(request, page=number + 1) if len(found) > size else "",
    )


def newest_first(request: HttpRequest, rows: QuerySet[Any], *, size: int = PAGE_ROWS) -> Listing:
    """Rows by descending id, from `?before=` on: as fast on the last page as on the first."""
    before = request.GET.get("before", "")
    if before:
        rows = rows.filter(id__lt=_whole(before, 1, 2**62))
    found: list[Model] = list(rows.order_by("-id")[: size + 1])
    shown = found[:size]
    return Listing(
        shown,
        "",
        newer=_link(request, before=None) if before else "",
        older=_link(request, before=shown[-1].pk) if len(found) > size else "",
        newer_label=_("Newest"),
        older_label=_("Older"),
    )


def render_listing(request: HttpRequest, page: str, part: str, context: dict[str, Any]) -> HttpResponse:
    """Answer a page, or where htmx asks for it, that part of it alone which a filter changes."""
    is_part = bool(getattr(request, "htmx", False))
    response = render(request, part if is_part else page, context)
    response.headers["Vary"] = "HX-Request, Cookie"
    return response


def _link(request: HttpRequest, **changes: int | None) -> str:
    query = request.GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = str(value)
    return f"{request.path}?{query.urlencode()}"


def _whole(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        return least
    return max(least, min(most, int(text)))
