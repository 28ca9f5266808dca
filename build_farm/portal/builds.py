"""The organisation's builds: the list, and one build with how far it is."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _

from accounts.portal.access import CustomerRequest, customer_page
from accounts.portal.listing import numbered, render_listing
from accounts.selectors import memberships_of
from build_farm import selectors
from build_farm.models import Build
from build_farm.portal import words

_STATES = (
    ("", _("All")),
    (Build.State.QUEUED.value, _("queued")),
    (Build.State.BUILDING.value, _("building")),
    (Build.State.SIGNING.value, _("signing")),
    (Build.State.PUBLISHED.value, _("published")),
    (Build.State.FAILED.value, _("failed")),
    (Build.State.CANCELLED.value, _("cancelled")),
    (Build.State.SUPERSEDED.value, _("superseded")),
)


class BuildFilter(forms.Form):
    """Which builds are wanted."""

    state = forms.ChoiceField(label=_("State"), required=False, choices=_STATES)
    plugin = forms.CharField(label=_("Plugin"), required=False, max_length=64)
    target = forms.CharField(
        label=_("Target"),
        required=False,
        max_length=32,
        widget=forms.TextInput(attrs={"placeholder": "linux/amd64"}),
    )


@customer_page("builds.read")
def builds(request: CustomerRequest) -> HttpResponse:
    """The list, the newest first."""
    form = BuildFilter(request.GET)
    rows = _filtered(form, selectors.builds_of(request.customer.pk).defer("log"))
    context = {"form": form, "listing": numbered(request, rows.order_by("-created_at", "-id"))}
    return render_listing(request, "portal/builds/builds.html", "portal/builds/build_table.html", context)


@customer_page("builds.read")
def build(request: CustomerRequest, build_id: str) -> HttpResponse:
    """One build. While it is on its way, scripts ask for the part that changes; when it is over, for the whole page."""
    row = selectors.build(build_id, customer_id=request.customer.pk)
    context: dict[str, Any] = {
        "row": row,
        "stages": words.stages(row),
        "position": selectors.position(row, now=request.now),
    }
    if getattr(request, "htmx", False):
        response = render(request, "portal/builds/progress.html", context)
        if not row.is_live:
            response.headers["HX-Refresh"] = "true"
    else:
        context |= {"failure": words.failure(row), "asked_by": _asked_by(row), "superseded_by": row.superseded_by_id}
        response = render(request, "portal/builds/build.html", context)
    response.headers["Vary"] = "HX-Request, Cookie"
    return response


def _filtered(form: BuildFilter, rows: QuerySet[Build]) -> QuerySet[Build]:
    form.is_valid()
    wanted = form.cleaned_data
    if state := wanted.get("state"):
        rows = rows.filter(state=state)
    if plugin := wanted.get("plugin"):
        rows = rows.filter(release__plugin=plugin)
    if target := wanted.get("target"):
        rows = rows.filter(target=target)
    return rows


def _asked_by(row: Build) -> str:
    """Whoever asked, by their address if they are a member; else the id of the key or job."""
    asker = row.created_by
    if asker.isascii() and asker.isdecimal() and len(asker) < 18:
        member = memberships_of(row.customer_id).filter(user_id=int(asker)).first()
        return member.user.email if member else ""
    return asker
