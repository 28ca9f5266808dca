"""Following an invitation's link: who has an account signs in and joins, who has none makes one and joins."""

from datetime import UTC, datetime

from allauth.account.forms import SetPasswordField
from django import forms
from django.contrib import messages
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.views import redirect_to_login
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Invitation, User
from accounts.portal.access import public_page
from accounts.services.invitations import accept_invitation, open_invitation
from licensing.core.actor import Actor
from licensing.core.errors import DomainError, MethodNotAllowed
from licensing.core.request_id import request_id
from licensing.core.source import client_address


class JoinForm(forms.Form):
    """A new person's name and password."""

    name = forms.CharField(
        label=gettext_lazy("Your name"), max_length=150, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    password = SetPasswordField(label=gettext_lazy("Password"))

    def __init__(self, *args: object, email: str, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._email = email

    def clean(self) -> dict[str, object]:
        """Hold the password against what passwords must be."""
        cleaned = super().clean() or {}
        if "password" in cleaned:
            try:
                validate_password(cleaned["password"], User(email=self._email, name=cleaned.get("name", "")))
            except forms.ValidationError as exc:
                self.add_error("password", exc)
        return cleaned


@public_page
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Accept an invitation."""
    if request.method not in ("GET", "HEAD", "POST"):
        raise MethodNotAllowed()
    now = datetime.now(UTC)
    try:
        row = open_invitation(token=token, now=now)
    except DomainError:
        return render(request, "portal/invitation_gone.html", status=404)
    if request.user.is_authenticated:
        return _join(request, row, token, now)
    if User.objects.filter(email__iexact=row.email).exists():
        # Whoever follows the link holds the mailbox, so that there is an account is no secret to them.
        messages.info(request, _("Sign in as %(email)s to join.") % {"email": row.email})
        return redirect_to_login(request.path)
    form = JoinForm(request.POST or None, email=row.email)
    if request.method == "POST" and form.is_valid():
        _make_and_join(row, form, token, request, now)
        messages.success(request, _("Welcome. Sign in with the password that you just chose."))
        return redirect("account_login")
    return render(request, "portal/invitation.html", {"invitation": row, "form": form})


def _join(request: HttpRequest, row: Invitation, token: str, now: datetime) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)  # noqa: S101  for the type: the caller has looked
    error = ""
    if request.method == "POST":
        try:
            accept_invitation(token=token, user=user, actor=_as(user, request), now=now)
        except DomainError as exc:
            error = exc.detail
        else:
            return redirect("overview", customer_id=row.customer_id)
    return render(request, "portal/invitation.html", {"invitation": row, "person": user, "error": error})


def _make_and_join(row: Invitation, form: JoinForm, token: str, request: HttpRequest, now: datetime) -> None:
    with transaction.atomic():
        try:
            with transaction.atomic():
                user = User.objects.create_user(
                    row.email, form.cleaned_data["password"], name=form.cleaned_data["name"].strip()
                )
        except IntegrityError:
            return  # they opened the link twice; the first one made the account
        accept_invitation(token=token, user=user, actor=_as(user, request), now=now)


def _as(user: User, request: HttpRequest) -> Actor:
    return Actor("person", str(user.pk), client_address(request), request_id(), display=user.email)
