"""The releases of a plugin as a customer's people see them: what is offered, its notes, its files, and fetching one."""

from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.portal.access import CustomerRequest, actor, customer_page
from accounts.portal.fields import refuse
from licensing.core.errors import NotFound
from licensing.portal.plugin_sections import Section
from licensing.services.remedies import remedy_for
from licensing.services.state import decide
from registry import selectors
from registry.models import Artifact
from registry.notes import rendered
from registry.portal import verifying
from registry.portal.builds import BuildStanding, standings
from registry.selectors import Offer, PluginOffers
from registry.services.downloads import Handed, Refused, ask_download_as_person
from registry.services.policies import effective_policy, refuses_unsigned, violation
from registry.services.visitors import PERSON_ACTION, Visitor, judge_customer, person_visitor

_SHOWN_RELEASES: Final = 50


@dataclass(frozen=True, slots=True)
class TargetShown:
    """What there is of a release for one target: a file, a build of it, or neither yet."""

    target: str
    artifact: Artifact | None
    build: BuildStanding | None
    digest_command: str = ""
    signature_commands: str = ""


@dataclass(frozen=True, slots=True)
class ChannelShown:
    """What a channel offers now."""

    name: str
    offer: Offer


class DownloadForm(forms.Form):
    """Which file."""

    target = forms.ChoiceField(label=gettext_lazy("For which system"), widget=forms.RadioSelect)

    def __init__(self, *args: Any, targets: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["target"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  for the type
        field.choices = [(target, target) for target in targets]


def releases_section(request: CustomerRequest, plugin: str) -> Section:
    """The releases, on the plugin's own page."""
    visitor = visitor_of(request)
    found = _offers(visitor, plugin)
    return Section(
        "portal/registry/releases.html",
        {
            "plugin": plugin,
            "is_seen": found is not None,
            "channels": _channels(found) if found else [],
            "offers": found.offers[:_SHOWN_RELEASES] if found else (),
            "is_cut": found is not None and len(found.offers) > _SHOWN_RELEASES,
        },
    )


@customer_page("plugins.read")
def release(request: CustomerRequest, plugin: str, version: str) -> HttpResponse:
    """One release: notes, files, how to verify them, and what can be built."""
    visitor = visitor_of(request)
    found, offer = _offer(visitor, plugin, version)
    built = standings(visitor.customer.id, offer.release.pk)
    context = {
        "offer": offer,
        "release": offer.release,
        "is_offered": found.is_offered(offer),
        "notes": rendered(offer.release.notes),
        "targets": [_target_shown(offer, target, built.get(target)) for target in offer.targets],
        "opened": min(offer.artifacts, default=""),
        "refusal": _refusal(visitor, offer),
        "download_action": PERSON_ACTION,
    }
    return render(request, "portal/registry/release.html", context)


@customer_page(PERSON_ACTION, methods=("GET", "POST"))
def download(request: CustomerRequest, plugin: str, version: str) -> HttpResponse:
    """Fetch a file: the answer to the POST holds the URL, and starts the download by itself."""
    visitor = visitor_of(request)
    _found, offer = _offer(visitor, plugin, version)
    targets = sorted(offer.artifacts)
    form = DownloadForm(request.POST or None, targets=targets, initial={"target": targets[0] if targets else ""})
    context = {"form": form, "release": offer.release, "has_files": bool(targets), "refusal": _refusal(visitor, offer)}
    if request.method == "POST" and form.is_valid():
        handed = _hand_out(visitor, offer, form)
        if handed is not None:
            shown = _target_shown(offer, handed.artifact.target, None)
            return render(request, "portal/registry/download.html", {**context, "handed": handed, "each": shown})
    return render(request, "portal/registry/download_form.html", context)


def visitor_of(request: CustomerRequest) -> Visitor:
    """The person as the registry knows callers. Raises `NotFound`."""
    found = decide(
        lambda state: person_visitor(
            customer_id=request.customer.pk, actor=actor(request), state=state, now=request.now.timestamp()
        )
    )
    if found is None:
        raise NotFound()
    return found


def _hand_out(visitor: Visitor, offer: Offer, form: DownloadForm) -> Handed | None:
    with transaction.atomic():
        outcome = ask_download_as_person(
            visitor=visitor,
            plugin=offer.release.plugin_id,
            version=offer.release.version,
            target=form.cleaned_data["target"],
        )
    if isinstance(outcome, Handed):
        return outcome
    if isinstance(outcome, Refused):
        refuse(form, outcome.error)
        if remedy := remedy_for(outcome.error.code, for_customer=True):
            form.add_error(None, remedy)
    else:
        form.add_error(None, _("That file was replaced this moment; the new one is being built."))
    return None


def _offers(visitor: Visitor, plugin: str) -> PluginOffers | None:
    """The releases, the newest first; None for a plugin that is not this customer's to have, or in quarantine."""
    if not visitor.may_see(plugin) or visitor.is_plugin_quarantined(plugin):
        return None
    return selectors.offers_for(visitor, [plugin])[plugin]


def _offer(visitor: Visitor, plugin: str, version: str) -> tuple[PluginOffers, Offer]:
    found = _offers(visitor, plugin)
    offer = found.offer(version) if found else None
    if found is None or offer is None:
        raise NotFound()
    return found, offer


def _channels(found: PluginOffers) -> list[ChannelShown]:
    """What each channel stands at, `stable` first."""
    names = sorted(found.heads, key=lambda name: (name != "stable", name))
    shown = ((name, _newest(found, name)) for name in names)
    return [ChannelShown(name, offer) for name, offer in shown if offer is not None]


def _newest(found: PluginOffers, channel: str) -> Offer | None:
    return next((offer for offer in found.offers if found.is_offered(offer, {channel})), None)


def _target_shown(offer: Offer, target: str, build: BuildStanding | None) -> TargetShown:
    artifact = offer.artifacts.get(target)
    if artifact is None:
        return TargetShown(target, None, build)
    return TargetShown(
        target,
        artifact,
        build,
        verifying.digest_command(artifact),
        verifying.signature_commands(artifact, public_url=settings.PUBLIC_URL),
    )


def _refusal(visitor: Visitor, offer: Offer) -> str:
    """Why nothing of this release would be handed out now, as sentences; empty if it would."""
    verdict = judge_customer(visitor)
    if not verdict.valid:
        return f"{verdict.detail} {remedy_for(verdict.code, for_customer=True)}".strip()
    policy = effective_policy(visitor.customer.id)
    broken = violation(policy, plugin=offer.release.plugin_id, version=offer.release.version)
    if broken is not None:
        return broken
    unsigned = any(not artifact.is_signed for artifact in offer.artifacts.values())
    return _("Your policy does not allow its unsigned files.") if unsigned and refuses_unsigned(policy) else ""
