"""The operator's pages that watch and stop: live numbers, audit, quarantine, lockdown."""

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.portal.access import PageRequest, actor, operator_page
from accounts.portal.audit import AuditFilter, filtered
from accounts.portal.fields import refuse
from accounts.portal.listing import newest_first, numbered, render_listing
from accounts.selectors import one
from licensing import scoped_reads
from licensing.core.errors import DomainError
from licensing.core.models import AuditEvent
from licensing.models import Lockdown, Quarantine
from licensing.portal.operator_health import health, tiles
from licensing.portal.operator_reads import live_numbers
from licensing.services.lockdown import end_lockdown, start_lockdown
from licensing.services.quarantines import lift_quarantine, quarantine


class ReasonForm(forms.Form):
    """Why; the audit log keeps it."""

    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=500, widget=forms.Textarea(attrs={"rows": 2}))


class QuarantineForm(ReasonForm):
    """What to put under quarantine."""

    plugin = forms.CharField(label=gettext_lazy("Plugin"), max_length=64)
    scope = forms.ChoiceField(
        label=gettext_lazy("What"),
        choices=[
            ("plugin", gettext_lazy("the whole plugin, for every customer")),
            ("version", gettext_lazy("one version of it")),
            ("artifact", gettext_lazy("one artifact, by its SHA-256")),
            ("build", gettext_lazy("one build, by its id")),
            ("installation", gettext_lazy("one installation, by its id")),
            ("customer", gettext_lazy("one customer, by its id: everything of theirs")),
        ],
    )
    target = forms.CharField(
        label=gettext_lazy("Target"),
        max_length=128,
        required=False,
        help_text=gettext_lazy("The version, SHA-256 or id. Empty for the whole plugin."),
    )
    field_order = ("plugin", "scope", "target", "reason")


@operator_page("manage.customers.read")
def live(request: PageRequest) -> HttpResponse:
    """What goes on now; refreshes itself where scripts run."""
    context = {**live_numbers(request.now), "health": health(), "tiles": tiles()}
    return render_listing(request, "portal/operator/live.html", "portal/parts/live_numbers.html", context)


@operator_page("manage.audit.read")
def audit(request: PageRequest) -> HttpResponse:
    """Everybody's log, newest first."""
    form = AuditFilter(request.GET)
    rows = filtered(form, AuditEvent.objects.all())
    customer = request.GET.get("customer", "").replace("\x00", "")
    if customer:
        rows = rows.filter(customer_id=customer)
    context = {"form": form, "listing": newest_first(request, rows), "customer": customer}
    return render_listing(request, "portal/operator/audit.html", "portal/parts/audit_table.html", context)


@operator_page("manage.quarantines.read")
def quarantines(request: PageRequest) -> HttpResponse:
    """What is in quarantine, and what was."""
    shows_lifted = request.GET.get("lifted") == "1"
    rows = scoped_reads.quarantines().filter(lifted_at__isnull=not shows_lifted).order_by("-id")
    context = {"listing": numbered(request, rows), "shows_lifted": shows_lifted}
    return render(request, "portal/operator/quarantines.html", context)


@operator_page("manage.quarantines.write", methods=("GET", "POST"))
def quarantine_new(request: PageRequest) -> HttpResponse:
    """Put something under quarantine."""
    initial = {name: request.GET.get(name, "") for name in ("plugin", "scope", "target")}
    form = QuarantineForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        wanted = dict(form.cleaned_data)
        try:
            plugin = scoped_reads.plugin(wanted.pop("plugin"))
            quarantine(plugin=plugin, actor=actor(request), now=request.now, **wanted)
        except DomainError as error:
            if error.status == 404:
                form.add_error("plugin", _("There is no such plugin."))
            else:
                refuse(form, error)
        else:
            messages.success(request, _("In quarantine. It is refused everywhere within a second."))
            return redirect("operator-quarantines")
    context = {
        "title": _("Put under quarantine"),
        "effects": [_("It is refused everywhere within a second of this. Tokens already handed out are refused too.")],
        "form": form,
        "verb": _("Quarantine"),
        "back": reverse("operator-quarantines"),
    }
    return render(request, "portal/confirm.html", context)


@operator_page("manage.quarantines.write", methods=("GET", "POST"))
def quarantine_lift(request: PageRequest, quarantine_id: str) -> HttpResponse:
    """Lift one."""
    row = one(Quarantine.objects.filter(pk=quarantine_id))
    if request.method == "POST":
        lift_quarantine(entry=row, actor=actor(request), now=request.now)
        messages.success(request, _("Lifted. It is served again."))
        return redirect("operator-quarantines")
    context = {
        "title": _("Lift the quarantine?"),
        "effects": [f"{row.scope} {row.plugin_name} {row.target}", row.reason],
        "verb": _("Lift"),
        "back": reverse("operator-quarantines"),
        "is_harmless": True,
    }
    return render(request, "portal/confirm.html", context)


@operator_page("manage.lockdown.write", methods=("GET", "POST"))
def lockdown(request: PageRequest) -> HttpResponse:
    """The global switch."""
    present = Lockdown.objects.first()
    form = ReasonForm(request.POST or None) if present is None else None
    if request.method == "POST":
        if present is not None:
            end_lockdown(actor=actor(request))
            messages.success(request, _("The lockdown is over. Requests are decided as usual."))
            return redirect("operator-live")
        if form is not None and form.is_valid():
            start_lockdown(reason=form.cleaned_data["reason"], actor=actor(request), now=request.now)
            messages.warning(request, _("Everything is locked. Every decision is LOCKDOWN until you end it here."))
            return redirect("operator-live")
    return render(request, "portal/operator/lockdown.html", {"present": present, "form": form})
