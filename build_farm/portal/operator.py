"""The operator's pages about builds: the queue and its workers now, every build, one build, and stopping it."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.portal.access import PageRequest, actor, operator_page
from accounts.portal.listing import numbered, render_listing
from build_farm import selectors
from build_farm.models import Build
from build_farm.portal import operator_reads as reads
from build_farm.portal import words
from build_farm.portal.operator_progress import render_progress
from build_farm.services.request_build import cancel_build
from licensing.core.errors import DomainError

_STATES = [("", gettext_lazy("any"))]


class BuildFilter(forms.Form):
    """Which builds."""

    state = forms.ChoiceField(label=gettext_lazy("State"), required=False, choices=[*_STATES, *Build.State.choices])
    customer = forms.CharField(label=gettext_lazy("Customer's id"), required=False, max_length=63)
    plugin = forms.CharField(label=gettext_lazy("Plugin"), required=False, max_length=64)
    target = forms.CharField(
        label=gettext_lazy("Target"),
        required=False,
        max_length=32,
        widget=forms.TextInput(attrs={"placeholder": "linux/amd64"}),
    )
    batch = forms.CharField(label=gettext_lazy("Mass rebuild"), required=False, max_length=40)


@operator_page("manage.builds.read")
def farm(request: PageRequest) -> HttpResponse:
    """What the farm does now; refreshes itself where scripts run."""
    context = reads.numbers(request.now)
    return render_listing(request, "portal/operator/farm.html", "portal/operator/farm_numbers.html", context)


@operator_page("manage.builds.read")
def builds(request: PageRequest) -> HttpResponse:
    """Every build, the newest first."""
    form = BuildFilter(request.GET)
    form.is_valid()
    context = {"form": form, "listing": numbered(request, reads.filtered(form.cleaned_data))}
    return render_listing(request, "portal/operator/builds.html", "portal/operator/build_table.html", context)


@operator_page("manage.builds.read")
def build(request: PageRequest, build_id: str) -> HttpResponse:
    """One build, with its log; while it is on its way, scripts ask for the part that changes."""
    row = selectors.build(build_id)
    context: dict[str, Any] = {
        "row": row,
        "worker": row.lease_owner.rpartition(":")[0],
        "position": selectors.position(row, now=request.now),
        "stages": words.stages(row),
        "failure": words.failure(row),
    }
    return render_progress(
        request, "portal/operator/build.html", "portal/operator/build_progress.html", context, is_over=not row.is_live
    )


@operator_page("manage.builds.write", methods=("GET", "POST"))
def cancel(request: PageRequest, build_id: str) -> HttpResponse:
    """Stop a build."""
    row = selectors.build(build_id)
    here = reverse("operator-build", kwargs={"build_id": row.pk})
    if request.method == "POST":
        try:
            cancel_build(build=row, actor=actor(request), now=request.now)
        except DomainError as error:
            messages.warning(request, error.detail)
        else:
            messages.success(request, _("Cancelled. Whatever is made of it from now on is thrown away."))
        return redirect(here)
    context = {
        "title": _("Cancel this build?"),
        "effects": [
            _("%(release)s for %(customer)s, %(target)s.")
            % {"release": row.release, "customer": row.customer_id, "target": row.target},
            _("What has been made of it is thrown away. Who waits for it is told; it can be asked for again."),
        ],
        "verb": _("Cancel the build"),
        "back": here,
    }
    return render(request, "portal/confirm.html", context)
