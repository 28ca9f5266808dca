"""The organisation's audit log: filter, search, export."""

from datetime import UTC, datetime, timedelta

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext_lazy as _

from accounts.api import audit_log
from accounts.api.shapes import AuditEventShown
from accounts.portal.access import CustomerRequest, customer_page
from accounts.portal.listing import newest_first, render_listing
from licensing.core.models import AuditEvent


class AuditFilter(forms.Form):
    """What of the log is wanted."""

    q = forms.CharField(
        label=_("Search"), required=False, max_length=128,
        widget=forms.SearchInput(attrs={"placeholder": _("Id, person, address, code")}),
    )  # fmt: skip
    action = forms.CharField(
        label=_("Action begins with"),
        required=False,
        max_length=64,
        widget=forms.TextInput(attrs={"placeholder": "api_key."}),
    )
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}))


@customer_page("audit.read")
def audit(request: CustomerRequest) -> HttpResponse:
    """The log, newest first."""
    form = AuditFilter(request.GET)
    rows = filtered(form, AuditEvent.objects.filter(customer_id=request.customer.pk))
    return render_listing(
        request,
        "portal/audit.html",
        "portal/parts/audit_table.html",
        {"form": form, "listing": newest_first(request, rows), "hides_operators": True},
    )


@customer_page("audit.read")
def export(request: CustomerRequest) -> StreamingHttpResponse:
    """What the filters leave, as a file."""
    rows = filtered(AuditFilter(request.GET), AuditEvent.objects.filter(customer_id=request.customer.pk))
    is_csv = request.GET.get("format") == "csv"
    write = audit_log.csv_lines if is_csv else audit_log.json_lines
    name = f"audit-{request.customer.pk}.{'csv' if is_csv else 'jsonl'}"
    return StreamingHttpResponse(
        write(rows, AuditEventShown.for_customer),
        content_type="text/csv; charset=utf-8" if is_csv else "application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def filtered(form: AuditFilter, rows: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
    """The rows that a filter leaves; what cannot be read filters nothing."""
    form.is_valid()
    wanted = form.cleaned_data
    if text := wanted.get("q"):
        matches = Q(subject_id=text) | Q(actor_id=text) | Q(code=text.upper()) | Q(request_id=text) | Q(action=text)
        matches |= Q(actor_display__iexact=text)
        if _is_address(text):
            matches |= Q(source_address=text)
        rows = rows.filter(matches)
    if action := wanted.get("action"):
        rows = rows.filter(action__startswith=action)
    if since := wanted.get("since"):
        rows = rows.filter(at__gte=datetime(since.year, since.month, since.day, tzinfo=UTC))
    if until := wanted.get("until"):
        rows = rows.filter(at__lt=datetime(until.year, until.month, until.day, tzinfo=UTC) + timedelta(days=1))
    return rows


def _is_address(text: str) -> bool:
    try:
        forms.GenericIPAddressField().clean(text)
    except forms.ValidationError:
        return False
    return True
