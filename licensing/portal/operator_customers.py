"""The operator's pages about customers: the list, everything about one, suspending, and looking on."""

from datetime import timedelta
from typing import Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import selectors
from accounts.models import Customer
from accounts.portal.access import VIEWING, PageRequest, actor, operator_page, person_page
from accounts.portal.keys import standing as key_standing
from accounts.portal.listing import numbered, render_listing
from accounts.services.customers import resume_customer, suspend_customer
from licensing import scoped_reads
from licensing.core import audit
from licensing.core.clock import from_epoch
from licensing.core.errors import MethodNotAllowed
from licensing.core.models import AuditEvent
from licensing.portal import charts, reads
from licensing.portal.operator import ReasonForm
from licensing.rules.subscription import standing
from licensing.services.installations import places_taken

VIEWING_FOR: Final = timedelta(hours=1)


class CustomerFilter(forms.Form):
    """Which customers."""

    q = forms.CharField(
        label=gettext_lazy("Search"),
        required=False,
        max_length=128,
        widget=forms.SearchInput(attrs={"placeholder": gettext_lazy("Id or name begins with")}),
    )
    suspended = forms.BooleanField(label=gettext_lazy("Suspended only"), required=False)


@operator_page("manage.customers.read")
def customers(request: PageRequest) -> HttpResponse:
    """The list, by id."""
    form = CustomerFilter(request.GET)
    form.is_valid()
    rows = Customer.objects.select_related("subscription").order_by("id")
    if text := form.cleaned_data.get("q"):
        rows = rows.filter(Q(id__startswith=text) | Q(name__istartswith=text))
    if form.cleaned_data.get("suspended"):
        rows = rows.filter(suspended_at__isnull=False)
    context = {"form": form, "listing": numbered(request, rows)}
    return render_listing(request, "portal/operator/customers.html", "portal/parts/customer_table.html", context)


@operator_page("manage.customers.read")
def customer(request: PageRequest, customer_id: str) -> HttpResponse:
    """Everything about one customer."""
    row = selectors.customer(customer_id)
    held = reads.holding(customer_id)
    stands = standing(held.customer.subscription, request.now.timestamp(), grace_seconds=settings.GRACE_SECONDS)
    keys = list(selectors.api_keys_of(customer_id).order_by("-created_at")[:20])
    for key in keys:
        key.standing = key_standing(key, request.now)  # type: ignore[attr-defined]
    context = {
        "row": row,
        "held": held,
        "subscription": scoped_reads.subscription(customer_id),
        "stands": stands,
        "access_until": from_epoch(stands.access_until) if stands.access_until else None,
        "plugins": reads.plugin_standings(held, request.now, for_customer=False),
        "features": reads.granted_features(held, request.now),
        "places": charts.meter(places_taken(customer_id, "live", request.now), held.installation_limit),
        "fleet": reads.fleet(customer_id, request.now),
        "keys": keys,
        "members": list(selectors.memberships_of(customer_id).order_by("user__email")[:50]),
        "quarantines": list(scoped_reads.quarantines().filter(customer_id=customer_id, lifted_at=None)[:50]),
        "events": AuditEvent.objects.filter(customer_id=customer_id).order_by("-id")[:15],
    }
    return render(request, "portal/operator/customer.html", context)


@operator_page("manage.customers.write", methods=("GET", "POST"))
def suspend(request: PageRequest, customer_id: str) -> HttpResponse:
    """Suspend a customer, or take a suspension back."""
    row = selectors.customer(customer_id)
    form = None if row.is_suspended else ReasonForm(request.POST or None)
    if request.method == "POST" and (form is None or form.is_valid()):
        if form is None:
            resume_customer(customer=row, actor=actor(request))
            messages.success(request, _("Resumed. Their requests are decided as usual."))
        else:
            suspend_customer(customer=row, reason=form.cleaned_data["reason"], actor=actor(request), now=request.now)
            messages.warning(request, _("Suspended. Everything of theirs is refused within a second."))
        return redirect("operator-customer", customer_id=customer_id)
    effects = (
        [_("%(name)s is served again at once.") % {"name": row.name}]
        if row.is_suspended
        else [
            _("Every plugin of %(name)s is refused with CUSTOMER_SUSPENDED within a second. You can resume it.")
            % {"name": row.name}
        ]
    )
    context = {
        "title": _("Resume this customer?") if row.is_suspended else _("Suspend this customer?"),
        "effects": effects,
        "form": form,
        "verb": _("Resume") if row.is_suspended else _("Suspend"),
        "back": reverse("operator-customer", kwargs={"customer_id": customer_id}),
        "is_harmless": row.is_suspended,
    }
    return render(request, "portal/confirm.html", context)


@operator_page("manage.customers.read", methods=("GET", "POST"))
def look_on(request: PageRequest, customer_id: str) -> HttpResponse:
    """Sign in as a customer: read-only, for an hour, and in the customer's own audit log."""
    row = selectors.customer(customer_id)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        until = request.now + VIEWING_FOR
        with transaction.atomic():
            _record(request, row, "operator.looked_on", form.cleaned_data["reason"])
            request.session[VIEWING] = {"customer_id": row.pk, "until": until.timestamp()}
            request.session.save()
        return redirect("overview", customer_id=row.pk)
    context = {
        "title": _("Look on as %(name)s") % {"name": row.name},
        "effects": [
            _("You see their pages as an owner does, for one hour. Nothing can be changed, and no key is shown."),
            _("Their audit log says that an operator looked on, and why."),
        ],
        "form": form,
        "verb": _("Look on"),
        "back": reverse("operator-customer", kwargs={"customer_id": customer_id}),
        "is_harmless": True,
    }
    return render(request, "portal/confirm.html", context)


@person_page
def stop_looking_on(request: PageRequest) -> HttpResponseBase:
    """End it."""
    if request.method != "POST":
        raise MethodNotAllowed(headers={"Allow": "POST"})
    viewing = request.session.pop(VIEWING, None)
    if isinstance(viewing, dict) and request.user.is_staff:
        row = Customer.objects.filter(pk=viewing.get("customer_id")).first()
        if row is not None:
            _record(request, row, "operator.stopped_looking_on", "")
            return redirect("operator-customer", customer_id=row.pk)
    return redirect("portal-home")


def _record(request: HttpRequest, row: Customer, action: str, reason: str) -> None:
    audit.record(
        actor=actor(request),
        action=action,
        subject_kind="customer",
        subject_id=row.pk,
        customer_id=row.pk,
        detail={"reason": reason} if reason else {},
        is_change=False,
    )
