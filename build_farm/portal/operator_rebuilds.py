"""The operator's pages about mass rebuilds: begin one, and watch how far it is."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts import selectors as account_selectors
from accounts.portal.access import PageRequest, actor, operator_page
from build_farm import selectors
from build_farm.models.build import LIVE
from build_farm.portal import operator_reads as reads
from build_farm.portal.operator_progress import render_progress
from build_farm.services.request_build import MassRebuild, rebuild_for_customer, rebuild_for_release
from licensing.core.errors import DomainError
from licensing.portal import charts


@operator_page("manage.builds.write", methods=("GET", "POST"))
def rebuild_release(request: PageRequest, plugin: str, version: str) -> HttpResponse:
    """Make a release for everybody who has a build of its plugin."""
    row = selectors.published_release(plugin, version)
    back = reverse("operator-release", kwargs={"plugin": plugin, "version": version})
    if request.method == "POST":
        try:
            made = rebuild_for_release(release=row, actor=actor(request))
        except DomainError as error:
            messages.error(request, error.detail)
            return redirect(back)
        return _begun(request, made, back)
    found = reads.holders_of(plugin, row.build_targets)
    context = {
        "title": _("Rebuild %(release)s for everybody?") % {"release": row},
        "effects": [
            _("Customers who have a build of this plugin: %(customers)s. Builds to be made: %(builds)s.") % found,
            *_how_it_goes(),
        ],
        "verb": _("Rebuild"),
        "back": back,
        "is_harmless": True,
    }
    return render(request, "portal/confirm.html", context)


@operator_page("manage.builds.write", methods=("GET", "POST"))
def rebuild_customer(request: PageRequest, customer_id: str) -> HttpResponse:
    """Make everything of a customer anew."""
    row = account_selectors.customer(customer_id)
    back = reverse("operator-customer", kwargs={"customer_id": customer_id})
    if request.method == "POST":
        return _begun(request, rebuild_for_customer(customer=row, actor=actor(request)), back)
    context = {
        "title": _("Rebuild everything of %(name)s?") % {"name": row.name},
        "effects": [
            _("Every build of theirs that is handed out now is made anew, with their state and key of that moment."),
            *_how_it_goes(),
        ],
        "verb": _("Rebuild"),
        "back": back,
        "is_harmless": True,
    }
    return render(request, "portal/confirm.html", context)


@operator_page("manage.builds.read")
def batch(request: PageRequest, batch: str) -> HttpResponse:
    """How far a mass rebuild is; refreshes itself where scripts run."""
    found = selectors.progress(batch, now=request.now)
    left = sum(found.by_state.get(state, 0) for state in LIVE)
    context = {
        "found": found,
        "left": left,
        "states": sorted(found.by_state.items()),
        "done": charts.meter(found.total - left, found.total),
        "minutes_left": None if found.seconds_left is None else max(1, round(found.seconds_left / 60)),
    }
    return render_progress(
        request, "portal/operator/batch.html", "portal/operator/batch_numbers.html", context, is_over=not left
    )


def _how_it_goes() -> list[str]:
    return [
        _("They wait behind every build that somebody waits for, and customers take turns."),
        _("What is published stays until its new build is."),
    ]


def _begun(request: PageRequest, made: MassRebuild, back: str) -> HttpResponse:
    if made.queued:
        words = ngettext("%(count)s build is in the queue.", "%(count)s builds are in the queue.", made.queued)
        messages.success(request, words % {"count": made.queued})
        return redirect("operator-batch", batch=made.batch)
    if made.joined:
        messages.warning(request, _("All %(count)s of them were on their way already.") % {"count": made.joined})
    else:
        messages.warning(request, _("There is nothing to rebuild: nobody has a build."))
    return redirect(back)
