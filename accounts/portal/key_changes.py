"""Making, changing, rotating and revoking API keys. The key itself shows once, in the answer that made it."""

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts import selectors
from accounts.models import SCOPES, ApiKey
from accounts.portal.access import CustomerRequest, actor, customer_page
from accounts.portal.fields import InstantField, networks_field, refuse
from accounts.portal.key_users import users_of
from accounts.services.api_key_changes import update_api_key
from accounts.services.api_keys import DEFAULT_SCOPES, IssuedKey, issue_api_key, revoke_api_key, rotate_api_key
from licensing.core.errors import DomainError

_SCOPE_LABELS: Final = {
    "plugins:authenticate": gettext_lazy("Plugins may authenticate with it"),
    "registry:read": gettext_lazy("List plugins and releases"),
    "registry:download": gettext_lazy("Download artifacts and builds"),
    "builds": gettext_lazy("Request builds"),
    "usage": gettext_lazy("Report and read usage"),
    "account:read": gettext_lazy("Read this account: keys, installations, audit log"),
    "account:write": gettext_lazy("Change this account: keys and installations"),
}
_OVERLAPS: Final = (
    (0, gettext_lazy("None: the old key stops at once")),
    (3600, gettext_lazy("One hour")),
    (86400, gettext_lazy("One day")),
    (7 * 86400, gettext_lazy("Seven days")),
    (30 * 86400, gettext_lazy("Thirty days")),
)


class KeyForm(forms.Form):
    """What can change about a key."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        help_text=gettext_lazy("Where it will be used, such as “CI” or “Berlin office”."),
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("What it may do"),
        choices=[(scope, _SCOPE_LABELS[scope]) for scope in SCOPES],
        widget=forms.CheckboxSelectMultiple,
    )
    expires_at = InstantField(
        label=gettext_lazy("Expires (UTC)"), required=False, help_text=gettext_lazy("Empty: never.")
    )
    cidrs = networks_field(gettext_lazy("One range a line, such as 203.0.113.0/24. Empty: from anywhere."))


class NewKeyForm(KeyForm):
    """A key to be made."""

    mode = forms.ChoiceField(
        label=gettext_lazy("Mode"),
        choices=[("live", gettext_lazy("Live")), ("test", gettext_lazy("Test: for CI and development; counted apart"))],
        widget=forms.RadioSelect,
        initial="live",
    )
    field_order = ("name", "mode", "scopes", "expires_at", "cidrs")


class RotateForm(forms.Form):
    """How long the old key goes on."""

    overlap = forms.TypedChoiceField(
        label=gettext_lazy("How long the old key still works"), choices=_OVERLAPS, coerce=int, initial=86400
    )


@customer_page("keys.write", methods=("GET", "POST"))
def create(request: CustomerRequest) -> HttpResponse:
    """Make a key."""
    form = NewKeyForm(request.POST or None, initial={"scopes": list(DEFAULT_SCOPES)})
    if request.method == "POST" and form.is_valid():
        try:
            issued = issue_api_key(customer=request.customer, actor=actor(request), **form.cleaned_data)
        except DomainError as error:
            refuse(form, error)
        else:
            return _show_once(request, issued, _("Your new key"))
    return render(
        request, "portal/key_form.html", {"form": form, "title": _("Create an API key"), "verb": _("Create the key")}
    )


@customer_page("keys.write", methods=("GET", "POST"))
def edit(request: CustomerRequest, key_id: str) -> HttpResponse:
    """Change a key's name, scopes, end or addresses."""
    row = selectors.api_key(request.customer.pk, key_id)
    initial = {"name": row.name, "scopes": row.scopes, "expires_at": row.expires_at, "cidrs": row.cidrs}
    form = KeyForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            update_api_key(api_key=row, changes=_changed(form, row), actor=actor(request))
        except DomainError as error:
            refuse(form, error)
        else:
            messages.success(request, _("Saved. It counts from this moment on."))
            return redirect("key", customer_id=request.customer.pk, key_id=row.pk)
    return render(
        request, "portal/key_form.html", {"form": form, "key": row, "title": _("Change the key"), "verb": _("Save")}
    )


@customer_page("keys.write", methods=("GET", "POST"))
def rotate(request: CustomerRequest, key_id: str) -> HttpResponse:
    """Make a successor and let the old key live on for a while."""
    row = selectors.api_key(request.customer.pk, key_id)
    form = RotateForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            issued = rotate_api_key(
                api_key=row, overlap_seconds=form.cleaned_data["overlap"], actor=actor(request), now=request.now
            )
        except DomainError as error:
            refuse(form, error)
        else:
            old_until = request.now + timedelta(seconds=form.cleaned_data["overlap"])
            return _show_once(request, issued, _("The key that takes over"), old=row, old_until=old_until)
    return render(request, "portal/key_rotate.html", _effect_context(request, row, form))


@customer_page("keys.write", methods=("GET", "POST"))
def revoke(request: CustomerRequest, key_id: str) -> HttpResponse:
    """Revoke a key for good."""
    row = selectors.api_key(request.customer.pk, key_id)
    if request.method == "POST":
        revoke_api_key(api_key=row, actor=actor(request), now=request.now, reason="revoked in the portal")
        messages.success(request, _("The key is revoked. Nothing can use it any more."))
        return redirect("keys", customer_id=request.customer.pk)
    return render(request, "portal/key_revoke.html", _effect_context(request, row, None))


def _effect_context(request: CustomerRequest, row: ApiKey, form: forms.Form | None) -> dict[str, Any]:
    users = users_of(request.customer.pk, row.pk)
    using = ngettext(
        "%(count)d installation last authenticated with it.",
        "%(count)d installations last authenticated with it.",
        users.count,
    ) % {"count": users.count}
    return {"key": row, "form": form, "users": users, "using": using if users.count else ""}


def _changed(form: forms.Form, row: ApiKey) -> dict[str, Any]:
    changes = dict(form.cleaned_data)
    shown = row.expires_at and row.expires_at.replace(second=0, microsecond=0)
    if changes["expires_at"] == shown:
        del changes["expires_at"]  # the picker shows no seconds: what was not touched is not rounded
    return changes


def _show_once(request: CustomerRequest, issued: IssuedKey, title: str, **context: Any) -> HttpResponse:
    """Answer with the key. It is not stored anywhere to be shown again, so the answer to the POST itself holds it."""
    return render(
        request,
        "portal/key_created.html",
        {"title": title, "key": issued.api_key, "secret": issued.key, "public_url": settings.PUBLIC_URL, **context},
        status=201,
    )
