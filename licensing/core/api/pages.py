"""Lists in pages by cursor: the next page starts after the last row of this one, however the table has grown.

A cursor is opaque and signed. It holds the sort values of the last row, so a forged one could only have moved the
caller about in what it may see anyway; signing lets us trust its types.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.conf import settings
from django.core import signing
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from licensing.core.api.shapes import ListQuery
from licensing.core.errors import BadRequest

_SALT = "licensing.core.api.pages"


@dataclass(frozen=True, slots=True)
class Page:
    """One page: what is on it, and the absolute URL of the next, or None on the last."""

    results: Sequence[msgspec.Struct]
    next: str | None


def page_of(
    request: HttpRequest,
    rows: QuerySet[Any],
    query: ListQuery,
    *,
    order: Sequence[str],
    show: Callable[[Any], msgspec.Struct],
) -> Page:
    """Return the page of `rows` that `query` asks for.

    `order` names the sort fields, all ascending or all descending (`-` before each), the last one unique.

    Raises:
        BadRequest: the cursor is none of ours, or of another order.
    """
    descending = order[0].startswith("-")
    fields = [name.removeprefix("-") for name in order]
    if query.cursor:
        rows = rows.filter(_after(fields, _open(query.cursor, order), descending=descending))
    found = list(rows.order_by(*order)[: query.limit + 1])
    kept = found[: query.limit]
    is_last = len(found) <= query.limit
    return Page([show(row) for row in kept], None if is_last else _next_url(request, kept[-1], fields, order))


def _after(fields: Sequence[str], values: Sequence[Any], *, descending: bool) -> Q:
    """What sorts after `values`: written so that an index on the first field bounds the scan."""
    beyond = "lt" if descending else "gt"
    first, *rest = fields
    if not rest:
        return Q(**{f"{first}__{beyond}": values[0]})
    strictly = Q(**{f"{first}__{beyond}": values[0]})
    return Q(**{f"{first}__{beyond}e": values[0]}) & (strictly | _after(rest, values[1:], descending=descending))


def _next_url(request: HttpRequest, row: Model, fields: Sequence[str], order: Sequence[str]) -> str:
    values = [_packed(getattr(row, name)) for name in fields]
    cursor = signing.dumps([list(order), values], salt=_SALT)
    kept = {name: value for name, value in request.GET.items() if name != "cursor"}
    return f"{settings.PUBLIC_URL}{request.path}?{urlencode({**kept, 'cursor': cursor})}"


def _open(cursor: str, order: Sequence[str]) -> list[Any]:
    try:
        made_for, values = signing.loads(cursor, salt=_SALT)
    except signing.BadSignature:
        raise BadRequest("cursor: use the URL in `next` as it is.", field="cursor") from None
    if made_for != list(order):
        raise BadRequest("cursor: this one belongs to another order.", field="cursor")
    return [_unpacked(value) for value in values]


def _packed(value: Any) -> Any:
    return {"at": value.isoformat()} if isinstance(value, datetime) else value


def _unpacked(value: Any) -> Any:
    return datetime.fromisoformat(value["at"]) if isinstance(value, dict) else value
