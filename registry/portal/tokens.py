"""Registry tokens: making one (shown once), one token with what it did, and revoking it."""

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.portal.access import CustomerRequest, actor, customer_page
from accounts.portal.fields import refuse
from licensing.core.errors import DomainError
from licensing.portal import charts
from registry import selectors
from registry.portal import clients
from registry.portal.own_registry import standing
from registry.portal.releases import visitor_of
from registry.services.registry_tokens import MAX_PLUGINS, issue_registry_token, revoke_registry_token
from registry.services.visitors import FEATURE, FeatureMissing

_MIB: Final = 1024 * 1024
_LIFETIMES: Final = (
    (1, gettext_lazy("One day")),
    (7, gettext_lazy("Seven days")),
    (30, gettext_lazy("Thirty days")),
    (90, gettext_lazy("Ninety days")),
    (365, gettext_lazy("One year")),
)


class TokenForm(forms.Form):
    """A token to be made."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        help_text=gettext_lazy("Where it will be used, such as “CI” or “Berlin mirror”."),
    )
    lifetime = forms.TypedChoiceField(label=gettext_lazy("Good for"), choices=_LIFETIMES, coerce=int, initial=90)
    plugins = forms.MultipleChoiceField(
        label=gettext_lazy("Only these plugins"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None ticked: all that your organisation may have, those to come included."),
    )
    max_downloads = forms.IntegerField(
        label=gettext_lazy("At most so many downloads"), required=False, min_value=1, max_value=2**31 - 1
    )
    max_mebibytes = forms.IntegerField(
        label=gettext_lazy("At most so many MiB in all"), required=False, min_value=1, max_value=2**40
    )

    def __init__(self, *args: Any, plugins: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["plugins"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101  for the type
        field.choices = [(name, name) for name in plugins]


@customer_page("registry.write", methods=("GET", "POST"))
def create(request: CustomerRequest) -> HttpResponse:
    """Make a token."""
    visitor = visitor_of(request)
    has_registry = visitor.has_feature(FEATURE)
    form = TokenForm(request.POST or None, plugins=selectors.visible_plugins(visitor)[:MAX_PLUGINS])
    if request.method == "POST":
        if not has_registry:
            raise FeatureMissing(_("Your subscription does not include a private registry."))
        if form.is_valid() and (answer := _issued(request, form)) is not None:
            return answer
    return render(request, "portal/registry/token_form.html", {"form": form, "has_registry": has_registry})


@customer_page("registry.read")
def token(request: CustomerRequest, token_id: str) -> HttpResponse:
    """One token: what it may do, until when, and how much of that is used."""
    row = selectors.registry_token(request.customer.pk, token_id)
    mebibytes = None if row.max_bytes is None else row.max_bytes // _MIB
    context = {
        "row": row,
        "standing": standing(row, request.now),
        "downloads": charts.meter(row.downloads_used, row.max_downloads),
        "mebibytes": charts.meter(-(-row.bytes_used // _MIB), mebibytes),
    }
    return render(request, "portal/registry/token.html", context)


@customer_page("registry.write", methods=("GET", "POST"))
def revoke(request: CustomerRequest, token_id: str) -> HttpResponse:
    """Revoke a token for good."""
    row = selectors.registry_token(request.customer.pk, token_id)
    if request.method == "POST":
        revoke_registry_token(row=row, actor=actor(request), now=request.now, reason="revoked in the portal")
        messages.success(request, _("The token is revoked. Nothing can use it any more."))
        return redirect("own-registry", customer_id=request.customer.pk)
    return render(request, "portal/registry/token_revoke.html", {"row": row})


def _issued(request: CustomerRequest, form: TokenForm) -> HttpResponse | None:
    """Answer with the token. It is not stored anywhere to be shown again, so the answer to the POST itself holds it."""
    wanted = form.cleaned_data
    mebibytes = wanted["max_mebibytes"]
    try:
        issued = issue_registry_token(
            customer=request.customer,
            name=wanted["name"],
            expires_at=request.now + timedelta(days=wanted["lifetime"]),
            plugins=wanted["plugins"],
            max_downloads=wanted["max_downloads"],
            max_bytes=None if mebibytes is None else mebibytes * _MIB,
            actor=actor(request),
            now=request.now,
        )
    except DomainError as error:
        refuse(form, error)
        return None
    context = {
        "row": issued.row,
        "secret": issued.token,
        "export_line": clients.export_line(issued.token),
        "list_command": clients.list_command(request.customer.pk),
        "download_commands": clients.download_commands(),
    }
    return render(request, "portal/registry/token_created.html", context, status=201)
