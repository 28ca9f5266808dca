"""Reading the audit log: filters, and the export as JSON Lines and CSV."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence

import msgspec
from django.db.models import QuerySet

from accounts.api.shapes import AuditEventShown, AuditExportQuery, AuditQuery
from licensing.core.models import AuditEvent

_CHUNK = 1000
_COLUMNS = (
    "id",
    "at",
    "actor_kind",
    "actor_id",
    "actor_display",
    "action",
    "subject_kind",
    "subject_id",
    "customer_id",
    "code",
    "source_address",
    "request_id",
    "detail",
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def events(query: AuditQuery | AuditExportQuery, *, customer_id: str = "") -> QuerySet[AuditEvent]:
    """The events that `query` asks for; of one customer alone where `customer_id` is given."""
    names = ("action", "code", "actor_kind", "actor_id", "subject_kind", "subject_id")
    wanted = {name: getattr(query, name, "") for name in names}
    rows = AuditEvent.objects.filter(**{name: value for name, value in wanted.items() if value})
    if query.since is not None:
        rows = rows.filter(at__gte=query.since)
    if query.until is not None:
        rows = rows.filter(at__lt=query.until)
    return rows.filter(customer_id=customer_id) if customer_id else rows


def json_lines(rows: QuerySet[AuditEvent], show: Callable[[AuditEvent], AuditEventShown]) -> Iterator[bytes]:
    """Write events as JSON Lines, newest first."""
    for chunk in _chunks(rows):
        yield b"".join(msgspec.json.encode(show(row)) + b"\n" for row in chunk)


def csv_lines(rows: QuerySet[AuditEvent], show: Callable[[AuditEvent], AuditEventShown]) -> Iterator[bytes]:
    """Write events as CSV (RFC 4180), newest first. What a spreadsheet would take for a formula gets a `'` before."""
    yield _csv([_COLUMNS])
    for chunk in _chunks(rows):
        yield _csv([_cells(show(row)) for row in chunk])


def _chunks(rows: QuerySet[AuditEvent]) -> Iterator[list[AuditEvent]]:
    """Read by key in portions: a slow reader holds no cursor and no transaction open."""
    before: int | None = None
    while True:
        chunk = list((rows if before is None else rows.filter(id__lt=before)).order_by("-id")[:_CHUNK])
        if chunk:
            yield chunk
        if len(chunk) < _CHUNK:
            return
        before = chunk[-1].id


def _cells(shown: AuditEventShown) -> list[str]:
    members = msgspec.to_builtins(shown)
    actor = members.pop("actor")
    members |= {f"actor_{name}": value for name, value in actor.items()}
    members["detail"] = msgspec.json.encode(members["detail"]).decode()
    return [_cell(members[name]) for name in _COLUMNS]


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()
