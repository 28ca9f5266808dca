"""Asking for a build, and cancelling one."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import ApiKey
from accounts.portal.access import CustomerRequest, actor, customer_page
from accounts.portal.fields import refuse
from build_farm import selectors
from build_farm.errors import BuildOver
from build_farm.models import Build
from build_farm.services.entitled import require_entitled
from build_farm.services.request_build import cancel_build, request_build
from licensing.core.errors import DomainError, NotFound
from licensing.portal import reads
from licensing.services.remedies import remedy_for
from registry.models import Release

_MOST_RELEASES = 200
_MOST_KEYS = 200


class BuildForm(forms.Form):
    """What to build, and for which API key."""

    release = forms.ChoiceField(label=gettext_lazy("Plugin and version"))
    target = forms.ChoiceField(
        label=gettext_lazy("Target"),
        help_text=gettext_lazy("The system it will run on: operating system and processor."),
    )
    api_key_id = forms.ChoiceField(
        label=gettext_lazy("API key it is for"),
        required=False,
        help_text=gettext_lazy("The build starts with this key. Your other keys work with it too."),
    )
    again = forms.BooleanField(
        label=gettext_lazy("Build it anew, even if there is one"),
        required=False,
        help_text=gettext_lazy("For when your features or keys have changed. The one that is there stays until then."),
    )

    def __init__(self, *args: Any, releases: list[Release], keys: list[ApiKey], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        targets = sorted({target for release in releases for target in release.build_targets})
        choices: dict[str, list[tuple[str, Any]]] = {
            "release": [(str(release), str(release)) for release in releases],
            "target": [(target, target) for target in targets],
            "api_key_id": [
                ("", _("The oldest live one")),
                *((key.pk, f"{key.name} (…{key.last4})") for key in keys),
            ],
        }
        for name, found in choices.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101  for the type
            field.choices = found


@customer_page("builds.write", methods=("GET", "POST"))
def create(request: CustomerRequest) -> HttpResponse:
    """Ask for a build; who asks for one that is there, or on its way, is shown that one."""
    initial = {
        "release": f"{request.GET.get('plugin', '')} {request.GET.get('version', '')}",
        "target": request.GET.get("target", ""),
    }
    releases = _buildable(request, request.POST.get("release", initial["release"]))
    form = BuildForm(request.POST or None, releases=releases, keys=_live_keys(request), initial=initial)
    if request.method == "POST" and form.is_valid():
        row = _ask(request, form, {str(release): release for release in releases}[form.cleaned_data["release"]])
        if row is not None:
            is_there = row.state == Build.State.PUBLISHED
            messages.success(request, _("It is built already.") if is_there else _("It is on its way."))
            return redirect("own-build", customer_id=request.customer.pk, build_id=row.pk)
    return render(request, "portal/builds/build_form.html", {"form": form, "has_releases": bool(releases)})


@customer_page("builds.write", methods=("GET", "POST"))
def cancel(request: CustomerRequest, build_id: str) -> HttpResponse:
    """Stop a build."""
    row = selectors.build(build_id, customer_id=request.customer.pk)
    here = reverse("own-build", kwargs={"customer_id": request.customer.pk, "build_id": row.pk})
    if not row.is_live or (request.method == "POST" and not _is_cancelled(request, row)):
        messages.warning(request, _("The build was over before it could be cancelled."))
        return redirect(here)
    if request.method == "POST":
        messages.success(request, _("Cancelled. Nothing of it is kept."))
        return redirect(here)
    effects = [
        _("What has been made of %(release)s for %(target)s is thrown away.")
        % {"release": row.release, "target": row.target},
        _("Whoever waits to download it is told that it was cancelled. You can ask for it again at any time."),
    ]
    context = {"title": _("Cancel this build?"), "effects": effects, "verb": _("Cancel the build"), "back": here}
    return render(request, "portal/builds/cancel.html", context)


def _ask(request: CustomerRequest, form: BuildForm, release: Release) -> Build | None:
    customer_id = request.customer.pk
    try:
        require_entitled(customer_id=customer_id, plugin=release.plugin_id, version=release.version, now=request.now)
        key_id = form.cleaned_data["api_key_id"]
        return request_build(
            release=release,
            customer=request.customer,
            target=form.cleaned_data["target"],
            actor=actor(request),
            api_key=selectors.api_key(customer_id, key_id) if key_id else None,
            again=form.cleaned_data["again"],
        )
    except NotFound:
        form.add_error("release", _("There is no such release any more."))
    except DomainError as error:
        refuse(form, error)
        if remedy := remedy_for(error.code, for_customer=True):
            form.add_error(None, remedy)
    return None


def _is_cancelled(request: CustomerRequest, row: Build) -> bool:
    try:
        cancel_build(build=row, actor=actor(request), now=request.now)
    except BuildOver:
        return False
    return True


def _buildable(request: CustomerRequest, named: str) -> list[Release]:
    """What can be built of the plugins that the customer may use: the newest, and the one that is named."""
    standings = reads.plugin_standings(reads.holding(request.customer.pk), request.now)
    rows = Release.objects.filter(
        plugin__in=[each.name for each in standings if each.valid],
        state=Release.State.PUBLISHED,
        source__isnull=False,
        yanked_at=None,
    ).defer("notes")
    found = {row.pk: row for row in rows.order_by("-published_at")[:_MOST_RELEASES]}
    plugin, _space, version = named.replace("\x00", "").partition(" ")
    found |= {row.pk: row for row in rows.filter(plugin=plugin, version=version)}
    # As they were found within each plugin: the newest first.
    return sorted(found.values(), key=lambda row: row.plugin_id)


def _live_keys(request: CustomerRequest) -> list[ApiKey]:
    rows = ApiKey.objects.filter(customer=request.customer, revoked_at=None)
    return list(rows.filter(Q(expires_at=None) | Q(expires_at__gt=request.now)).order_by("created_at")[:_MOST_KEYS])
