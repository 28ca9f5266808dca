"""`POST /api/plugins/validate`: what a token is worth at this moment. Every verdict is a 200; nothing is written."""

from typing import Any

from licensing.core.clock import rfc3339
from licensing.rules import codes
from licensing.rules.codes import Verdict
from licensing.rules.tokens import judge_entitlements
from licensing.services import limits
from licensing.services.asked import ValidateAsked
from licensing.services.authenticate import Caller
from licensing.services.minting import next_refresh
from licensing.services.outcome import Granted, told_members
from licensing.services.plugin_tokens import Presented, judge, open_token
from licensing.services.proofs import SentRequest
from licensing.services.seen import note_served
from licensing.services.state import State


def validate(*, asked: ValidateAsked, caller: Caller, sent: SentRequest, state: State, now: float) -> Granted:
    """Answer one validate request; `now` in Unix seconds.

    Raises:
        ServiceUnavailable: it cannot be known.
    """
    presented = open_token(caller=caller, state=state, now=now)
    if isinstance(presented, Verdict):
        limits.note_bad_token(presented, caller.address)
        return Granted({"valid": False, "code": presented.code, "detail": presented.detail})
    token, facts = presented.token, presented.facts
    taking = limits.begin_take(installation=token.installation_id, customer=facts.customer, catalogue=facts.catalogue)
    if sent.proof is not None:
        taking.headers()  # a nonce is used up by being looked at
    verdict = judge(presented, plugin_name=asked.plugin_name, sent=sent, caller=caller)
    body = _positive(presented) if verdict.valid else _negative(presented, verdict)
    headers = taking.headers()
    if verdict.valid:
        note_served(facts=facts, installation_id=token.installation_id, endpoint="validate")
    return Granted(body, headers)


def _negative(presented: Presented, verdict: Verdict) -> dict[str, Any]:
    return {
        "valid": False,
        "code": verdict.code,
        "detail": verdict.detail,
        "customer_id": presented.facts.customer.id,
        "subscription_active": presented.facts.standing.is_active,
        "features_active": False,
        "authorized_features": [],
        "next_refresh": None,
        **told_members(verdict),
    }


def _positive(presented: Presented) -> dict[str, Any]:
    facts = presented.facts
    verdict, grant = judge_entitlements(presented.token, facts)
    return {
        "valid": True,
        "code": verdict.code,
        "detail": verdict.detail,
        "customer_id": facts.customer.id,
        "subscription_active": True,
        "features_active": verdict.code == codes.VALID,
        "authorized_features": list(grant.feature_codes),
        "next_refresh": rfc3339(min(next_refresh(facts.now), presented.token.expires_at)),
    }
