"""The organisation's policy: what its plugin hosts obey, and what we hold its downloads against.

A change that loosens something or takes something away is asked about once more, in words, before it is made.
"""

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import selectors as accounts_selectors
from accounts.portal.access import CustomerRequest, actor, customer_page
from accounts.portal.fields import LinesField, refuse
from licensing.core.errors import DomainError, PermissionMissing
from registry import selectors
from registry.models import CustomerPolicy
from registry.services.policies import effective_policy, set_policy, violation

_FIELDS: Final = (
    "plugin_verification", "allow_unsigned", "allowed_sources", "blocked_plugins", "auto_update", "version_pins",
)  # fmt: skip


class PinsField(LinesField):
    """Plugins and versions, a pair a line."""

    def clean(self, value: Any) -> Any:
        """Plugin → version."""
        pairs = [line.split() for line in super().clean(value)]
        if any(len(pair) != 2 for pair in pairs):
            raise ValidationError(_("Each line names a plugin and a version, such as: api-logger 2.1"))
        return dict(pairs)

    def prepare_value(self, value: Any) -> Any:
        """The pairs as text."""
        return (
            "\n".join(f"{plugin} {version}" for plugin, version in value.items()) if isinstance(value, dict) else value
        )


class PolicyForm(forms.Form):
    """The policy."""

    plugin_verification = forms.ChoiceField(
        label=gettext_lazy("When a plugin does not verify, a host"),
        choices=[
            ("strict", gettext_lazy("refuses it")),
            ("warn", gettext_lazy("warns, and runs it")),
            ("off", gettext_lazy("does not look")),
        ],
        widget=forms.RadioSelect,
    )
    allow_unsigned = forms.BooleanField(label=gettext_lazy("Unsigned plugins may run"), required=False)
    auto_update = forms.BooleanField(label=gettext_lazy("Hosts may update plugins by themselves"), required=False)
    allowed_sources = LinesField(
        label=gettext_lazy("Allowed sources"),
        required=False,
        max_length=40_000,
        help_text=gettext_lazy("Servers that plugins may come from, one URL a line. Empty: any."),
    )
    blocked_plugins = LinesField(
        label=gettext_lazy("Blocked plugins"),
        required=False,
        max_length=40_000,
        help_text=gettext_lazy("Never installed, one name a line."),
    )
    version_pins = PinsField(
        label=gettext_lazy("Pinned versions"),
        required=False,
        max_length=80_000,
        help_text=gettext_lazy(
            "Plugin and version, one pair a line: “api-logger 2.1” holds it at 2.1 and its patches, and nothing "
            "else of it is offered or sent."
        ),
    )
    seen = forms.IntegerField(widget=forms.HiddenInput)


@customer_page("registry.read", methods=("GET", "POST"))
def policy(request: CustomerRequest) -> HttpResponse:
    """The policy, and changing it."""
    present = effective_policy(request.customer.pk)
    initial = {name: getattr(present, name) for name in _FIELDS} | {"seen": present.version}
    form = PolicyForm(request.POST or None, initial=initial)
    if request.method == "POST":
        if "registry.write" not in request.visitor.actions:
            raise PermissionMissing(_("Your role in this organisation does not allow that."))
        if form.is_valid():
            effects = consequences(present, form.cleaned_data)
            if effects and "confirmed" not in request.POST:
                return render(request, "portal/registry/policy_confirm.html", {"form": form, "effects": effects})
            if _save(request, form):
                messages.success(request, _("Saved. We hold downloads against it from now on; hosts hear of it soon."))
                return redirect("own-registry-policy", customer_id=request.customer.pk)
    context = {"form": form, "present": present, "signed": selectors.signed_policy(request.customer.pk)}
    return render(request, "portal/registry/policy.html", context)


def consequences(present: CustomerPolicy, wanted: Mapping[str, Any]) -> list[str]:
    """What a change loosens or takes away, a sentence each."""
    found = []
    if wanted["plugin_verification"] != "strict" and present.plugin_verification == "strict":
        found.append(_("Hosts will run plugins that do not verify: altered ones, and those of other vendors."))
    if wanted["allow_unsigned"] and not present.allow_unsigned:
        found.append(_("Hosts will run plugins that nobody has signed."))
    for name in sorted(set(wanted["blocked_plugins"]) - set(present.blocked_plugins)):
        found.append(_("%(plugin)s is not sent to you any more, and hosts must not install it.") % {"plugin": name})
    for name, version in sorted(wanted["version_pins"].items()):
        if present.version_pins.get(name) != version:
            found.append(
                _("%(plugin)s stays at %(version)s: other versions, fixes among them, are not sent to you.")
                % {"plugin": name, "version": version}
            )
    sources = CustomerPolicy(allowed_sources=wanted["allowed_sources"])
    if violation(sources, plugin="", version="") is not None:
        found.append(_("This server is not among the allowed sources: nothing can be downloaded from it."))
    return found


def _save(request: CustomerRequest, form: PolicyForm) -> bool:
    customer_id = request.customer.pk
    try:
        with transaction.atomic():
            # Held until the change is made: two people who save at once do not undo each other unseen.
            customer = accounts_selectors.customer(customer_id, lock=True)
            if effective_policy(customer_id).version != form.cleaned_data["seen"]:
                form.add_error(None, _("Somebody else changed the policy meanwhile. Load the page again."))
                return False
            changes = {name: form.cleaned_data[name] for name in _FIELDS}
            set_policy(customer=customer, changes=changes, actor=actor(request), now=request.now)
    except DomainError as error:
        refuse(form, error)
        return False
    return True
