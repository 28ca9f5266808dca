"""The operator's pages about one release: its files, who has builds of it, its notes, and withdrawing it."""

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.portal.access import PageRequest, actor, operator_page
from accounts.portal.fields import refuse
from accounts.portal.listing import numbered, render_listing
from licensing.core.errors import DomainError
from licensing.portal.operator import ReasonForm
from registry import selectors
from registry.models import Release
from registry.notes import rendered
from registry.portal import operator_reads as reads
from registry.services.releases import MAX_NOTES_CHARACTERS, set_notes, unyank_release, yank_release


class BuildFilter(forms.Form):
    """Whose builds."""

    q = forms.CharField(
        label=gettext_lazy("Search"),
        required=False,
        max_length=128,
        widget=forms.SearchInput(attrs={"placeholder": gettext_lazy("Customer's id or name begins with")}),
    )


class NotesForm(forms.Form):
    """Release notes."""

    notes = forms.CharField(
        label=gettext_lazy("Release notes"),
        required=False,
        strip=False,
        max_length=MAX_NOTES_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 16}),
        help_text=gettext_lazy("Markdown. Customers read them beside the release; raw HTML and images are left out."),
    )


@operator_page("manage.releases.read")
def release(request: PageRequest, plugin: str, version: str) -> HttpResponse:
    """One release."""
    row = selectors.release(plugin, version)
    form = BuildFilter(request.GET)
    form.is_valid()
    held = reads.in_quarantine(plugin)
    listing = numbered(request, reads.customers_files(row, form.cleaned_data.get("q", "")))
    context = {
        "row": row,
        "held": held,
        "quarantine": held.version(version),
        "offered_by": [channel.name for channel in reads.channels_of(plugin) if channel.head_id == row.pk],
        "files": reads.public_files(row, held),
        # Made safe by `rendered`, whatever the vendor wrote.
        "notes": mark_safe(rendered(row.notes)),  # noqa: S308
        "form": form,
        "listing": listing,
        "builds": reads.file_lines(listing.rows, held),
    }
    return render_listing(request, "portal/operator/release.html", "portal/operator/release_builds.html", context)


@operator_page("manage.releases.write", methods=("GET", "POST"))
def yank(request: PageRequest, plugin: str, version: str) -> HttpResponse:
    """Offer a release no more, or again."""
    row = selectors.release(plugin, version)
    form = None if row.is_yanked else ReasonForm(request.POST or None)
    if request.method == "POST" and (form is None or form.is_valid()):
        _turn(request, row, form)
        return redirect("operator-release", plugin=plugin, version=version)
    context = {
        "title": _("Offer %(release)s again?") % {"release": row}
        if row.is_yanked
        else _("Yank %(release)s?") % {"release": row},
        "effects": _yank_effects(row),
        "form": form,
        "verb": _("Offer it again") if row.is_yanked else _("Yank"),
        "back": reverse("operator-release", kwargs={"plugin": plugin, "version": version}),
        "is_harmless": row.is_yanked,
    }
    return render(request, "portal/confirm.html", context)


@operator_page("manage.releases.write", methods=("GET", "POST"))
def notes(request: PageRequest, plugin: str, version: str) -> HttpResponse:
    """Change the release notes: the one thing of a release that may change."""
    row = selectors.release(plugin, version)
    form = NotesForm(request.POST or None, initial={"notes": row.notes})
    if request.method == "POST" and form.is_valid():
        try:
            # Browsers send CRLF, whatever the vendor's own line ends were.
            text = form.cleaned_data["notes"].replace("\r\n", "\n")
            set_notes(release=row, notes=text, actor=actor(request))
        except DomainError as error:
            refuse(form, error)
        else:
            messages.success(request, _("Saved."))
            return redirect("operator-release", plugin=plugin, version=version)
    return render(request, "portal/operator/release_notes.html", {"row": row, "form": form})


def _turn(request: PageRequest, row: Release, form: ReasonForm | None) -> None:
    try:
        if form is None:
            unyank_release(release=row, actor=actor(request))
            messages.success(request, _("It is offered again."))
        else:
            reason = form.cleaned_data["reason"]
            yank_release(release=row, reason=reason, actor=actor(request), now=request.now)
            messages.success(request, _("Yanked. It is no longer offered; who names its version still gets it."))
    except DomainError as error:
        messages.error(request, error.detail)


def _yank_effects(row: Release) -> list[str]:
    if row.is_yanked:
        return [
            _("It is offered in its channels again."),
            _("It was yanked because: %(reason)s") % {"reason": row.yanked_reason or "–"},
        ]
    return [
        _("It is no longer offered as an update, in any channel. Who names its exact version still gets it."),
        _("What is installed goes on running. To stop that as well, put the version under quarantine."),
        _("You can offer it again."),
    ]
