"""Installations: search and filter, release, quarantine and lift, export."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from django import forms
from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.portal.access import CustomerRequest, actor, customer_page
from accounts.portal.listing import numbered, render_listing
from accounts.selectors import memberships_of
from licensing import scoped_reads
from licensing.core.clock import rfc3339
from licensing.models import Installation, Quarantine
from licensing.portal import charts, reads
from licensing.services.installations import places_taken, release_installation
from licensing.services.quarantines import lift_quarantine, quarantine

_COLUMNS: Final = (
    "id", "plugin", "version", "mode", "hostname", "os", "arch", "fingerprint", "first_seen_at", "last_seen_at",
    "last_seen_from", "released_at",
)  # fmt: skip
_CHUNK: Final = 1000
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


class InstallationFilter(forms.Form):
    """Which installations are wanted."""

    q = forms.CharField(
        label=gettext_lazy("Search"),
        required=False,
        max_length=128,
        widget=forms.SearchInput(attrs={"placeholder": gettext_lazy("Host, id or fingerprint begins with")}),
    )
    plugin = forms.CharField(label=gettext_lazy("Plugin"), required=False, max_length=64)
    version = forms.CharField(label=gettext_lazy("Version"), required=False, max_length=64)
    show = forms.ChoiceField(
        label=gettext_lazy("Show"),
        required=False,
        choices=[
            ("", gettext_lazy("In use")),
            ("silent", gettext_lazy("Silent for a day")),
            ("clones", gettext_lazy("Possible clones")),
            ("released", gettext_lazy("Released")),
            ("all", gettext_lazy("All")),
        ],
    )


@customer_page("installations.read")
def installations(request: CustomerRequest) -> HttpResponse:
    """The list, last seen first."""
    form = InstallationFilter(request.GET)
    listing = numbered(request, _filtered(form, request))
    quarantined = reads.quarantined_installations(request.customer.pk)
    for row in listing.rows:
        row.standing = _standing(row, quarantined)
    context = {"form": form, "listing": listing}
    if not getattr(request, "htmx", False):
        limit = reads.holding(request.customer.pk).installation_limit
        context["places"] = charts.meter(places_taken(request.customer.pk, "live", request.now), limit)
    return render_listing(request, "portal/installations.html", "portal/parts/installation_table.html", context)


@customer_page("installations.read")
def installation(request: CustomerRequest, installation_id: str) -> HttpResponse:
    """One installation."""
    row = scoped_reads.installation(request.customer.pk, installation_id)
    quarantined = reads.quarantined_installations(request.customer.pk)
    return render(request, "portal/installation.html", {"row": row, "standing": _standing(row, quarantined)})


@customer_page("installations.write", methods=("GET", "POST"))
def release(request: CustomerRequest, installation_id: str) -> HttpResponse:
    """Give an installation's place back."""
    row = scoped_reads.installation(request.customer.pk, installation_id)
    if request.method == "POST":
        release_installation(
            installation=row, reason="customer", confirmed=False, actor=actor(request), now=request.now
        )
        messages.success(request, _("Released. It takes a place again as soon as it authenticates."))
        return redirect("installations", customer_id=request.customer.pk)
    effects = [
        _("Tokens of %(host)s stop working within a second.") % {"host": row.hostname or row.id},
        _("If the machine still runs the plugin it authenticates and takes a place again: remove it there first."),
    ]
    if row.lease_until and row.lease_until > request.now:
        effects.append(
            _("It holds a lease for working offline, so its place is free only after %(instant)s.")
            % {"instant": rfc3339(row.lease_until)}
        )
    context = {
        "title": _("Release this installation?"),
        "effects": effects,
        "verb": _("Release"),
        "back": _back(request),
    }
    return render(request, "portal/confirm.html", context)


@customer_page("installations.write", methods=("GET", "POST"))
def isolate(request: CustomerRequest, installation_id: str) -> HttpResponse:
    """Put an installation under quarantine."""
    row = scoped_reads.installation(request.customer.pk, installation_id)
    if request.method == "POST":
        quarantine(
            plugin=row.plugin,
            scope=Quarantine.Scope.INSTALLATION,
            target=row.id,
            reason="by the customer, in the portal",
            actor=actor(request),
            now=request.now,
        )
        messages.success(request, _("In quarantine. It is refused everything until you lift it."))
        return redirect("installation", customer_id=request.customer.pk, installation_id=row.pk)
    effects = [
        _("%(host)s is refused everything within a second, and its plugin turns itself off.")
        % {"host": row.hostname or row.id},
        _("It keeps its place. You can lift the quarantine at any time."),
    ]
    context = {
        "title": _("Quarantine this installation?"),
        "effects": effects,
        "verb": _("Quarantine"),
        "back": _back(request),
    }
    return render(request, "portal/confirm.html", context)


@customer_page("installations.write", methods=("GET", "POST"))
def lift(request: CustomerRequest, installation_id: str) -> HttpResponse:
    """Lift the quarantine that the customer itself put on an installation."""
    row = scoped_reads.installation(request.customer.pk, installation_id)
    entry = scoped_reads.quarantines().filter(
        customer_id=row.customer_id, scope=Quarantine.Scope.INSTALLATION, target=row.id, lifted_at=None
    )
    if request.method == "POST":
        found = entry.first()
        if found is not None and _is_of_vendor(found, request):
            messages.error(request, _("The vendor set this quarantine. Ask them to lift it."))
        elif found is not None:
            lift_quarantine(entry=found, actor=actor(request), now=request.now)
            messages.success(request, _("Lifted. It is served again from its next refresh on."))
        return redirect("installation", customer_id=request.customer.pk, installation_id=row.pk)
    context = {
        "title": _("Lift the quarantine?"),
        "effects": [_("%(host)s is served again.") % {"host": row.hostname or row.id}],
        "verb": _("Lift"),
        "back": _back(request),
        "is_harmless": True,
    }
    return render(request, "portal/confirm.html", context)


@customer_page("installations.read")
def export(request: CustomerRequest) -> StreamingHttpResponse:
    """What the filters leave, as CSV."""
    name = f"installations-{request.customer.pk}.csv"
    return StreamingHttpResponse(
        _csv(_filtered(InstallationFilter(request.GET), request)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _filtered(form: InstallationFilter, request: CustomerRequest) -> QuerySet[Installation]:
    rows = scoped_reads.installations_of(request.customer.pk)
    form.is_valid()
    wanted = form.cleaned_data
    if text := wanted.get("q"):
        starts = Q(hostname__istartswith=text) | Q(fingerprint__startswith=text) | Q(id__startswith=text)
        rows = rows.filter(starts)
    if plugin := wanted.get("plugin"):
        rows = rows.filter(plugin_id=plugin)
    if version := wanted.get("version"):
        rows = rows.filter(version=version)
    match wanted.get("show"):
        case "all":
            pass
        case "released":
            rows = rows.filter(released_at__isnull=False)
        case "silent":
            rows = rows.filter(released_at=None, last_seen_at__lte=request.now - reads.DAY)
        case "clones":
            rows = rows.filter(released_at=None, possible_clone_at__isnull=False)
        case _:
            rows = rows.filter(released_at=None)
    return rows.order_by("-last_seen_at", "-id")


def _standing(row: Installation, quarantined: set[str]) -> str:
    if row.id in quarantined:
        return "quarantined"
    if row.released_at is not None:
        return "released"
    return "possible clone" if row.possible_clone_at else "active"


def _is_of_vendor(entry: Quarantine, request: CustomerRequest) -> bool:
    """Whether no member of the organisation set it: what the vendor shut, the customer cannot open."""
    setter = entry.created_by
    return not (setter.isdecimal() and memberships_of(request.customer.pk).filter(user_id=int(setter)).exists())


def _csv(rows: QuerySet[Installation]) -> Iterator[bytes]:
    yield _lines([_COLUMNS])
    start = 0
    while True:
        chunk = list(rows[start : start + _CHUNK])
        if chunk:
            yield _lines([_cells(row) for row in chunk])
        if len(chunk) < _CHUNK:
            return
        start += _CHUNK


def _cells(row: Installation) -> list[str]:
    values = (
        row.id, row.plugin_id, row.version, row.mode, row.hostname, row.os, row.arch, row.fingerprint,
        rfc3339(row.first_seen_at), rfc3339(row.last_seen_at), row.last_seen_from or "",
        rfc3339(row.released_at) if row.released_at else "",
    )  # fmt: skip
    # What a spreadsheet would take for a formula gets a ' before: host names come from outside.
    return [f"'{value}" if value.startswith(_FORMULA_STARTS) else value for value in values]


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def _back(request: CustomerRequest) -> str:
    return reverse("installations", kwargs={"customer_id": request.customer.pk})
