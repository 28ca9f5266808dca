"""The operator's pages about plugins: the list, everything about one, and what its channels offer."""

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.portal.access import PageRequest, actor, operator_page
from accounts.portal.fields import refuse
from accounts.portal.listing import numbered, render_listing
from accounts.selectors import one
from licensing import scoped_reads
from licensing.core.errors import DomainError
from registry import selectors
from registry.models import Channel
from registry.portal import operator_reads as reads
from registry.services.releases import move_channel


class PluginFilter(forms.Form):
    """Which plugins."""

    q = forms.CharField(
        label=gettext_lazy("Search"),
        required=False,
        max_length=64,
        widget=forms.SearchInput(attrs={"placeholder": gettext_lazy("Part of the name or description")}),
    )


class ChannelForm(forms.Form):
    """What a channel is to offer."""

    version = forms.ChoiceField(label=gettext_lazy("Offer from now on"))


@operator_page("manage.catalogue.read")
def plugins(request: PageRequest) -> HttpResponse:
    """Every plugin with what it offers, and the tiers beside them."""
    form = PluginFilter(request.GET)
    form.is_valid()
    listing = numbered(request, reads.plugins(form.cleaned_data.get("q", "")))
    context = {
        "form": form,
        "listing": listing,
        "lines": reads.plugin_lines(listing.rows),
        "tiers": list(scoped_reads.tiers().order_by("rank")),
    }
    return render_listing(request, "portal/operator/plugins.html", "portal/operator/plugin_table.html", context)


@operator_page("manage.releases.read")
def plugin(request: PageRequest, plugin: str) -> HttpResponse:
    """Everything about one plugin: its settings, channels, releases, and what is in quarantine."""
    row = scoped_reads.plugin(plugin)
    held, channels = reads.in_quarantine(plugin), reads.channels_of(plugin)
    listing = numbered(request, reads.releases_of(plugin))
    context = {
        "row": row,
        "lease_hours": row.lease_seconds / 3600,
        "held": held,
        "channels": channels,
        "listing": listing,
        "lines": reads.release_lines(listing.rows, channels, held),
    }
    return render(request, "portal/operator/plugin.html", context)


@operator_page("manage.releases.write", methods=("GET", "POST"))
def channel(request: PageRequest, plugin: str, channel: str) -> HttpResponse:
    """Roll a channel back, or forward again."""
    row = one(Channel.objects.filter(plugin=plugin, name=channel).select_related("head", "previous"))
    form = ChannelForm(request.POST or None, initial={"version": row.previous.version if row.previous else ""})
    found = reads.offerable(plugin, channel)
    form.fields["version"].choices = [  # type: ignore[attr-defined]
        (version, _("%(version)s, published %(day)s") % {"version": version, "day": f"{published:%-d %b %Y}"})
        for version, published in found
        if version != row.head.version
    ]
    if request.method == "POST" and form.is_valid() and _moved(request, row, form):
        messages.success(request, _("Moved. From this moment on it offers that version."))
        return redirect("operator-plugin", plugin=plugin)
    context = {
        "title": _("What %(channel)s of %(plugin)s offers") % {"channel": channel, "plugin": plugin},
        "effects": [
            _("Now it offers %(version)s.") % {"version": row.head.version},
            _(
                "Whoever asks for updates is offered the version you choose, and nothing newer until something newer "
                "is published. What is installed goes on running, and exact versions can still be fetched."
            ),
        ],
        "form": form,
        "verb": _("Move the channel"),
        "back": reverse("operator-plugin", kwargs={"plugin": plugin}),
        "has_nothing": not form.fields["version"].choices,  # type: ignore[attr-defined]
    }
    return render(request, "portal/operator/channel.html", context)


def _moved(request: PageRequest, row: Channel, form: ChannelForm) -> bool:
    try:
        release = selectors.release(row.plugin_id, form.cleaned_data["version"])
        move_channel(plugin=row.plugin, name=row.name, release=release, actor=actor(request), now=request.now)
    except DomainError as error:
        refuse(form, error)
        return False
    return True
