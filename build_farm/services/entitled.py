"""Whether a customer may have a build at all: the rules that everything else is judged by."""

from datetime import datetime

from django.conf import settings

from licensing.api.authentication import VerdictRefused
from licensing.core.errors import NotFound
from licensing.rules import codes
from licensing.rules.codes import Verdict, deny
from licensing.rules.pipeline import CUSTOMER_RULES, PLUGIN_RULES, Facts, first_answer
from licensing.services.state import State, decide


def require_entitled(*, customer_id: str, plugin: str, version: str, now: datetime) -> None:
    """Refuse unless the customer may use this version of a plugin now.

    Raises:
        NotFound: there is no such plugin as far as this customer is concerned.
        VerdictRefused: with the code of the rule that says no.
    """

    def judge(state: State) -> Verdict:
        customer = state.customer(customer_id)
        if customer is None:
            return deny(codes.PLUGIN_UNKNOWN)
        facts = Facts(
            now=now.timestamp(),
            catalogue=state.catalogue(),
            customer=customer,
            key=None,
            plugin_name=plugin,
            plugin_version=version,
            source_address="",
            grace_seconds=settings.GRACE_SECONDS,
        )
        return first_answer((*CUSTOMER_RULES, *PLUGIN_RULES), facts)

    verdict = decide(judge)
    if verdict.code == codes.PLUGIN_UNKNOWN:
        raise NotFound()
    if not verdict.valid:
        raise VerdictRefused(verdict)
