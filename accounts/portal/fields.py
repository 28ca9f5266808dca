"""Fields that several forms share, and how a service's refusal becomes an error beside its field."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from licensing.core.errors import DomainError


class LinesField(forms.CharField):
    """A list, one entry a line."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})

    def clean(self, value: Any) -> list[str]:
        """The entries, without empty lines."""
        return [line.strip() for line in super().clean(value).replace(",", "\n").splitlines() if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        """A list as text."""
        return "\n".join(value) if isinstance(value, list) else value


def networks_field(help_text: Any) -> LinesField:
    """Address ranges."""
    return LinesField(label=_("Allowed addresses"), required=False, max_length=4000, help_text=help_text)


class InstantField(forms.DateTimeField):
    """An instant in UTC, in the browser's own picker."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
        super().__init__(widget=widget, input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"], **kwargs)


def refuse(form: forms.Form, error: DomainError) -> None:
    """Show a refusal beside the field at fault, or above the form."""
    name = (error.field or "").partition("[")[0]
    form.add_error(name if name in form.fields else None, error.detail)
