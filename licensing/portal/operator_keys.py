"""The operator's page about keys that sign, and rotating them. Public halves and dates only."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.keyrings import ring
from accounts.portal.access import PageRequest, actor, operator_page
from licensing import scoped_reads
from licensing.core.errors import ConfigurationError, NotFound, ServiceUnavailable
from licensing.models import Certificate, SignedKeySet, SigningKey
from licensing.portal.operator import ReasonForm
from licensing.services.key_lifecycle import AUTHORITY, CERTIFICATE_RENEWAL, KEY_AGE, PUBLISH_LEAD, is_key_set_late
from licensing.services.rotation import ask_for_rotation

SIGN_TIMEOUT_SECONDS = 5.0
_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A signing key, and what comes next for it."""

    key: SigningKey
    then: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """A certificate: `standing` is `active`, `expiring`, `expired` or `retired`."""

    certificate: Certificate
    standing: str
    days_left: int


@operator_page("manage.signing_keys.read")
def signing_keys(request: PageRequest) -> HttpResponse:
    """Keys and their states, certificates and when they run out, the signed key set, and the keys of URLs."""
    rows = Certificate.objects.defer("sealed_private_key", "der").order_by("retired_at", "purpose", "-created_at")
    context = {
        "keys": [_key_line(key) for key in scoped_reads.signing_keys().order_by("-created_at")[:_MOST]],
        "certificates": [_certificate_line(row, request.now) for row in rows[:_MOST]],
        "key_set": SignedKeySet.objects.defer("jws").order_by("-version").first(),
        "is_late": is_key_set_late(request.now),
        "url_keys": _url_keys(),
        "may_rotate": "manage.signing_keys.write" in request.actions,
        "purposes": SigningKey.Purpose.values,
    }
    return render(request, "portal/operator/signing_keys.html", context)


@operator_page("manage.signing_keys.write", methods=("GET", "POST"))
def rotate(request: PageRequest, purpose: str) -> HttpResponse:
    """Start a rotation in good order."""
    _require_known(purpose)
    if request.method == "POST":
        return _ordered(request, purpose, emergency=False)
    context = {
        "title": _("Rotate the %(purpose)s key?") % {"purpose": purpose},
        "effects": [
            _("A new key is made and published now, and begins to sign ten minutes later, when everybody knows it."),
            _("What the present key has signed stays good until it runs out. Nobody notices anything."),
        ],
        "verb": _("Rotate"),
        "back": reverse("operator-signing-keys"),
        "is_harmless": True,
    }
    return render(request, "portal/confirm.html", context)


@operator_page("manage.signing_keys.write", methods=("GET", "POST"))
def replace(request: PageRequest, purpose: str) -> HttpResponse:
    """Replace a key that may have been copied, at once."""
    _require_known(purpose)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _ordered(request, purpose, emergency=True, reason=form.cleaned_data["reason"])
    context = {
        "title": _("Replace the %(purpose)s key at once?") % {"purpose": purpose},
        "effects": _emergency_effects(purpose),
        "form": form,
        "verb": _("Replace it now"),
        "back": reverse("operator-signing-keys"),
    }
    return render(request, "portal/confirm.html", context)


def _ordered(request: PageRequest, purpose: str, *, emergency: bool, reason: str = "") -> HttpResponse:
    try:
        kid = ask_for_rotation(
            purpose=purpose,
            emergency=emergency,
            actor=actor(request),
            now=request.now,
            timeout_seconds=SIGN_TIMEOUT_SECONDS,
            reason=reason,
        )
    except ServiceUnavailable as error:
        messages.error(request, error.detail)
    else:
        words = (
            _("Replaced. The key %(kid)s signs from now on, and the old one is believed no more.")
            if emergency
            else _("The key %(kid)s is published, and signs in about ten minutes.")
        )
        messages.success(request, words % {"kid": kid})
    return redirect("operator-signing-keys")


def _emergency_effects(purpose: str) -> list[str]:
    if purpose == SigningKey.Purpose.LEASE:
        return [
            _("The new key takes over at once, and the old one leaves the signed key set."),
            _(
                "Leases that are out stay good on machines that do not reach the server, until they run out: nobody "
                "can take them back. Plugins that do reach it get new ones with their next refresh."
            ),
            _("For a key that may have been copied. In all other cases, rotate."),
        ]
    return [
        _("The new key takes over at once. Every plugin token that is out is refused within a second of this."),
        _(
            "Plugins authenticate anew by themselves: expect a request of every installation within the next minutes. "
            "Plugins that work offline go on."
        ),
        _("For a key that may have been copied. In all other cases, rotate."),
    ]


def _key_line(key: SigningKey) -> KeyLine:
    match key.state:
        case SigningKey.State.PENDING:
            return KeyLine(key, _("signs from"), key.created_at + PUBLISH_LEAD)
        case SigningKey.State.ACTIVE:
            return KeyLine(key, _("is replaced"), (key.activated_at or key.created_at) + KEY_AGE)
        case SigningKey.State.RETIRING:
            return KeyLine(key, _("is kept while what it signed may be alive"), None)
    return KeyLine(key, _("retired"), key.retired_at)


def _certificate_line(row: Certificate, now: datetime) -> CertificateLine:
    if row.retired_at is not None:
        return CertificateLine(row, "retired", 0)
    left = row.not_after - now
    # `sign` renews thirty days before the end; a day later that has gone wrong. The authority itself is not renewed.
    is_due = left < CERTIFICATE_RENEWAL - timedelta(days=1) and row.purpose != AUTHORITY
    standing = "expired" if left <= timedelta(0) else "expiring" if is_due else "active"
    return CertificateLine(row, standing, max(0, left.days))


def _url_keys() -> tuple[int, ...]:
    """The versions of KEK_TOKENS, under which download URLs are sealed, the current one first; none if not held."""
    try:
        return ring("tokens").versions
    except ConfigurationError:
        return ()


def _require_known(purpose: str) -> None:
    if purpose not in SigningKey.Purpose.values:
        raise NotFound()
