"""A person's own pages: where to go first, name, theme, sessions, codes; and a new password by a mailed link."""

from functools import wraps
from typing import Any

from allauth.account.views import password_reset_from_key
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from accounts.api.authentication import CURRENT_CUSTOMER
from accounts.models import Membership
from accounts.portal.access import PageRequest, View, actor, person_page, public_page
from accounts.portal.context import THEMES, theme_cookie
from licensing.core import audit

_YEAR_SECONDS = 365 * 86400


class NameForm(forms.Form):
    """What others see a person as."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=150,
        required=False,
        help_text=gettext_lazy("Shown to the other people of your organisations."),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )


@person_page
def home(request: PageRequest) -> HttpResponse:
    """Send a person on: to the organisation they were at last, to their only one, to the operator's pages."""
    ids = list(
        Membership.objects.filter(user=request.user).order_by("customer__name").values_list("customer_id", flat=True)
    )
    last = request.session.get(CURRENT_CUSTOMER)
    if request.user.is_staff and last not in ids:
        return redirect("operator-live")
    if ids:
        return redirect("overview", customer_id=last if last in ids else ids[0])
    return render(request, "portal/no_organisation.html", {"personal": True})


@person_page
def me(request: PageRequest) -> HttpResponse:
    """A person's own page."""
    form = NameForm(request.POST or None, initial={"name": request.user.name})
    if request.method == "POST" and form.is_valid():
        user = request.user
        user.name = form.cleaned_data["name"].strip()
        user.save(update_fields=["name"])
        messages.success(request, _("Saved."))
        return redirect("me")
    context = {
        "personal": True,
        "form": form,
        "factors": Authenticator.objects.filter(user_id=request.user.pk).count(),
        "sessions": UserSession.objects.filter(user_id=request.user.pk).count(),
    }
    return render(request, "portal/me.html", context)


@person_page
@require_POST
def end_sessions(request: PageRequest) -> HttpResponse:
    """Sign a person out everywhere, here included."""
    for session in UserSession.objects.filter(user_id=request.user.pk):
        session.end()
    audit.record(
        actor=actor(request),
        action="person.signed_out_everywhere",
        subject_kind="person",
        subject_id=str(request.user.pk),
        is_change=False,
    )
    request.session.flush()
    return redirect("account_login")


@public_page
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Remember dark, light, or neither."""
    chosen = request.POST.get("theme", "")
    then = request.POST.get("next", "/")
    response = redirect(then if url_has_allowed_host_and_scheme(then, allowed_hosts=None) else "/")
    if chosen in THEMES:
        secure = theme_cookie().startswith("__Host-")
        response.set_cookie(theme_cookie(), chosen, max_age=_YEAR_SECONDS, secure=secure, httponly=True, samesite="Lax")
    else:
        response.delete_cookie(theme_cookie())
    return response


def reset_from_key(request: HttpRequest, uidb36: str, key: str) -> HttpResponseBase:
    """Set a new password by the link of a mail."""
    response: HttpResponseBase = password_reset_from_key(request, uidb36=uidb36, key=key)
    # The address holds the key until it is used: nothing that is linked from here may be told of it. Without any
    # referrer at all browsers would send `Origin: null` with the form, which is no way past CSRF.
    response.headers["Referrer-Policy"] = "strict-origin"
    return response


def holding_recovery_codes(view: View) -> View:
    """A page that shows recovery codes, while nobody else writes their row.

    django-allauth notes in the row that they were shown by writing back all that it has read of it: a code that was
    used meanwhile would be good again, and a seed that `rotate_kek` has resealed would be under the old key again.
    """

    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with transaction.atomic():
            held = Authenticator.objects.filter(user_id=request.user.pk, type=Authenticator.Type.RECOVERY_CODES)
            list(held.select_for_update().values_list("pk"))
            return view(request, *args, **kwargs)

    return page
