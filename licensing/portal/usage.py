"""Usage by day, plugin and feature, and the same as CSV."""

import csv
import io
from datetime import date, timedelta
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.portal.access import CustomerRequest, customer_page
from licensing.models import UsageDay
from licensing.portal import charts, reads
from licensing.services.counts import EVENT_PREFIX, REQUEST_PREFIX

_LONGEST_DAYS = 366


class UsageFilter(forms.Form):
    """Which days."""

    since = forms.DateField(label=gettext_lazy("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=gettext_lazy("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}))


@customer_page("usage.read")
def usage(request: CustomerRequest) -> HttpResponse:
    """Charts and sums."""
    since, until = _days(request)
    form = UsageFilter(initial={"since": since.isoformat(), "until": until.isoformat()})
    context = {
        "form": form,
        "since": since,
        "until": until,
        "events": _chart(request, since, until, EVENT_PREFIX, _("Events that plugins reported, by day")),
        "requests": _chart(request, since, until, REQUEST_PREFIX, _("Requests that were served, by day")),
        "sums": reads.usage_by_plugin(request.customer.pk, since=since, until=until),
    }
    return render(request, "portal/usage.html", context)


@customer_page("usage.read")
def export(request: CustomerRequest) -> HttpResponse:
    """Every count of these days, one line each."""
    since, until = _days(request)
    rows = UsageDay.objects.filter(customer_id=request.customer.pk, day__gte=since, day__lte=until)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(("day", "plugin", "measure", "count"))
    writer.writerows(
        rows.order_by("day", "plugin_name", "measure").values_list("day", "plugin_name", "measure", "count")
    )
    name = f"usage-{request.customer.pk}-{since}-{until}.csv"
    return HttpResponse(
        buffer.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _chart(request: CustomerRequest, since: date, until: date, prefix: str, words: str) -> charts.Bars:
    days = reads.usage_by_day(request.customer.pk, since=since, until=until, prefix=prefix)
    points: list[tuple[str, Any]] = [(day.isoformat(), count) for day, count in days]
    return charts.bars(points, summary=words)


def _days(request: CustomerRequest) -> tuple[date, date]:
    form = UsageFilter(request.GET)
    form.is_valid()
    until: date = form.cleaned_data.get("until") or request.now.date()
    since: date = form.cleaned_data.get("since") or until - timedelta(days=29)
    if since > until:
        since, until = until, since
    return max(since, until - timedelta(days=_LONGEST_DAYS - 1)), until
