"""What the customer may use, and why not: the rules' own verdicts, in words."""

from datetime import datetime

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render

from accounts.portal.access import CustomerRequest, customer_page
from licensing.core.errors import NotFound
from licensing.models import Plugin
from licensing.portal import plugin_sections, reads
from licensing.rules.pipeline import visible_plugin
from licensing.services.explain import ExplanationShown, explain
from licensing.services.state import State, decide


@customer_page("plugins.read")
def plugins(request: CustomerRequest) -> HttpResponse:
    """Every plugin that the customer may know of."""
    held = reads.holding(request.customer.pk)
    context = {"plugins": reads.plugin_standings(held, request.now), "features": _features(held, request.now)}
    return render(request, "portal/plugins.html", context)


@customer_page("plugins.read")
def plugin(request: CustomerRequest, plugin: str) -> HttpResponse:
    """One plugin: the verdict, and each of its features with what decides it."""
    row = Plugin.objects.filter(pk=plugin).first()
    held = reads.holding(request.customer.pk)
    if row is None or visible_plugin(held.catalogue, held.customer, plugin) is None:
        raise NotFound()
    version = request.GET.get("version", "")[:64]

    def by(state: State) -> list[ExplanationShown]:
        customer = state.customer(request.customer.pk)
        if customer is None:
            raise NotFound()
        codes = held.catalogue.plugins[plugin].features or ("",)
        return [
            explain(
                customer=customer,
                state=state,
                now=request.now.timestamp(),
                plugin=plugin,
                version=version,
                feature=code,
                for_customer=True,
            )
            for code in codes[:50]
        ]

    explained = decide(by)
    context = {
        "plugin": row,
        "first": explained[0],
        "features": [each.feature for each in explained if each.feature],
        "version": version,
        "sections": plugin_sections.sections(request, plugin),
        "ask": f'curl -sS "{settings.PUBLIC_URL}/api/account/explain?plugin={plugin}" '
        '-H "Authorization: Bearer $KEYWRIGHT_API_KEY"',
    }
    return render(request, "portal/plugin.html", context)


def _features(held: reads.Holding, now: datetime) -> list[tuple[str, object]]:
    return [(each.feature, each) for each in reads.granted_features(held, now)]
