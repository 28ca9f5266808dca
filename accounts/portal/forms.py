"""Forms of sign-in that differ from django-allauth's."""

from typing import Any

from allauth.account.adapter import get_adapter
from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.tasks import send_password_reset


class ResetPasswordForm(forms.Form):
    """Asks for a mail with a link. What happens for an unknown address is a job's affair, so no answer tells."""

    email = forms.EmailField(
        label=_("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )

    def clean_email(self) -> str:
        """The address, trimmed."""
        return str(get_adapter().clean_email(self.cleaned_data["email"].strip()))

    def save(self, request: HttpRequest, **_kwargs: Any) -> str:
        """Have the mail sent, if the address is somebody's."""
        email: str = self.cleaned_data["email"]
        send_password_reset.delay(email)
        return email
