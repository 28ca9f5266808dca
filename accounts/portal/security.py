"""What an organisation asks of its people, and of requests that its plugins make."""

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.api.authentication import is_session_with_second_factor
from accounts.portal.access import CustomerRequest, actor, customer_page
from accounts.portal.fields import networks_field, refuse
from accounts.services.api_keys import checked_cidrs
from accounts.services.customer_changes import update_customer
from licensing.core.errors import DomainError, PermissionMissing
from licensing.core.source import client_address, in_networks


class SecurityForm(forms.Form):
    """An organisation's own rules."""

    require_mfa = forms.BooleanField(
        label=gettext_lazy("Everybody needs a second factor"),
        required=False,
        help_text=gettext_lazy("Who has none is asked to set one up before anything else."),
    )
    portal_cidrs = networks_field(
        gettext_lazy(
            "Where these pages may be used from, one range a line. Empty: from anywhere. Plugins are not affected."
        )
    )
    proof_required = forms.BooleanField(
        label=gettext_lazy("Plugins must prove which build they are"),
        required=False,
        help_text=gettext_lazy(
            "Refuses every request without a request proof (PROOF_REQUIRED). Builds made for you prove it by "
            "themselves; plugins that are not built for you stop working."
        ),
    )


@customer_page("security.read", methods=("GET", "POST"))
def security(request: CustomerRequest) -> HttpResponse:
    """The rules, and changing them."""
    names = ("require_mfa", "portal_cidrs", "proof_required")
    form = SecurityForm(request.POST or None, initial={name: getattr(request.customer, name) for name in names})
    if request.method == "POST":
        if "security.write" not in request.visitor.actions:
            raise PermissionMissing(_("Your role in this organisation does not allow that."))
        if form.is_valid() and _save(request, form):
            messages.success(request, _("Saved. It counts from this moment on."))
            return redirect("security", customer_id=request.customer.pk)
    return render(request, "portal/security.html", {"form": form, "address": client_address(request)})


def _save(request: CustomerRequest, form: SecurityForm) -> bool:
    try:
        ranges = checked_cidrs(form.cleaned_data["portal_cidrs"], field="portal_cidrs")
        if ranges and not in_networks(client_address(request), tuple(ranges)):
            form.add_error("portal_cidrs", _("That would shut you out: your own address is in none of these ranges."))
        elif form.cleaned_data["require_mfa"] and not is_session_with_second_factor(request):
            form.add_error("require_mfa", _("Set up a second factor of your own first, or you would be shut out."))
        else:
            update_customer(customer=request.customer, changes=form.cleaned_data, actor=actor(request))
            return True
    except DomainError as error:
        refuse(form, error)
    return False
