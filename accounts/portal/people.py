"""The people of an organisation: members, their roles, invitations."""

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import selectors
from accounts.models import Membership, Role
from accounts.permissions import TABLE
from accounts.portal.access import CustomerRequest, actor, customer_page
from accounts.portal.fields import refuse
from accounts.portal.listing import numbered
from accounts.services.invitations import invite_member, withdraw_invitation
from accounts.services.memberships import change_role, remove_member
from licensing.core.errors import DomainError, PermissionMissing

ROLE_WORDS = {
    Role.OWNER: gettext_lazy("Everything, owners included"),
    Role.ADMIN: gettext_lazy("Everything but making, changing or removing owners"),
    Role.DEVELOPER: gettext_lazy("Keys, installations, builds and downloads"),
    Role.BILLING: gettext_lazy("Sees the subscription and usage"),
    Role.VIEWER: gettext_lazy("Sees, and changes nothing"),
}


class RoleForm(forms.Form):
    """A role to give; owner only where the giver may make owners."""

    role = forms.ChoiceField(label=gettext_lazy("Role"), widget=forms.RadioSelect)

    def __init__(self, *args: object, may_make_owners: bool, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["role"].choices = [  # type: ignore[attr-defined]
            (role.value, f"{role.label}: {ROLE_WORDS[role]}") for role in Role if may_make_owners or role != Role.OWNER
        ]


class InviteForm(RoleForm):
    """Whom to ask in, and as what."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off"})
    )
    field_order = ("email", "role")


@customer_page("members.read")
def people(request: CustomerRequest) -> HttpResponse:
    """Members and waiting invitations."""
    members = selectors.memberships_of(request.customer.pk).order_by("user__email")
    context = {
        "listing": numbered(request, members),
        "invitations": list(selectors.invitations_of(request.customer.pk).order_by("-created_at")[:100]),
        "roles": [(role.label, ROLE_WORDS[role]) for role in Role],
        "table": sorted((action, [role.value for role in Role if role in roles]) for action, roles in TABLE.items()),
        "role_names": [(role.value, role.label) for role in Role],
    }
    return render(request, "portal/people.html", context)


@customer_page("members.write", methods=("GET", "POST"))
def invite(request: CustomerRequest) -> HttpResponse:
    """Ask a person in by e-mail."""
    form = InviteForm(request.POST or None, may_make_owners=_may_make_owners(request), initial={"role": Role.VIEWER})
    if request.method == "POST" and form.is_valid():
        try:
            invite_member(
                customer=request.customer,
                email=form.cleaned_data["email"],
                role=form.cleaned_data["role"],
                actor=actor(request),
                now=request.now,
            )
        except DomainError as error:
            refuse(form, error)
        else:
            messages.success(request, _("The invitation is on its way. It is good for seven days."))
            return redirect("people", customer_id=request.customer.pk)
    return render(request, "portal/invite.html", {"form": form})


@customer_page("members.write", methods=("GET", "POST"))
def withdraw(request: CustomerRequest, invitation_id: str) -> HttpResponse:
    """Take an invitation back."""
    row = selectors.invitation(request.customer.pk, invitation_id)
    if request.method == "POST":
        withdraw_invitation(invitation=row, actor=actor(request), now=request.now)
        messages.success(request, _("The invitation is withdrawn; its link is good for nothing."))
        return redirect("people", customer_id=request.customer.pk)
    context = {
        "title": _("Withdraw the invitation?"),
        "effects": [
            _("The link that was mailed to %(email)s stops working. You can invite them again.") % {"email": row.email}
        ],
        "verb": _("Withdraw"),
        "back": _people_url(request),
    }
    return render(request, "portal/confirm.html", context)


@customer_page("members.write", methods=("GET", "POST"))
def member(request: CustomerRequest, number: str) -> HttpResponse:
    """Give a member another role."""
    row = _changeable(request, number)
    form = RoleForm(request.POST or None, may_make_owners=_may_make_owners(request), initial={"role": row.role})
    if request.method == "POST" and form.is_valid():
        try:
            change_role(membership=row, role=form.cleaned_data["role"], actor=actor(request))
        except DomainError as error:
            refuse(form, error)
        else:
            messages.success(request, _("Saved. It counts from their next click on."))
            return redirect("people", customer_id=request.customer.pk)
    return render(request, "portal/member.html", {"form": form, "member": row})


@customer_page("members.write", methods=("GET", "POST"))
def remove(request: CustomerRequest, number: str) -> HttpResponse:
    """Take a member out."""
    row = _changeable(request, number)
    if request.method == "POST":
        remove_member(membership=row, actor=actor(request))
        messages.success(request, _("They are no member any more."))
        return redirect("portal-home" if row.user_id == request.user.pk else _people_url(request))
    context = {
        "title": _("Remove %(email)s?") % {"email": row.user.email},
        "effects": [
            _("They lose access to this organisation's pages at once. API keys that they made go on working."),
            _("You can invite them again."),
        ],
        "verb": _("Remove"),
        "back": _people_url(request),
    }
    return render(request, "portal/confirm.html", context)


def _changeable(request: CustomerRequest, number: str) -> Membership:
    row = selectors.membership(request.customer.pk, number)
    if row.role == Role.OWNER and not _may_make_owners(request):
        raise PermissionMissing(_("Only an owner changes owners."))
    return row


def _may_make_owners(request: CustomerRequest) -> bool:
    return "owners.write" in request.visitor.actions


def _people_url(request: CustomerRequest) -> str:
    return f"/portal/{request.customer.pk}/people"
