"""`POST /api/plugins/refresh`: a new token of the same installation, from the state of this moment."""

from django.conf import settings

from licensing.rules import codes
from licensing.rules.codes import Verdict, deny
from licensing.rules.grants import grant_for
from licensing.services import limits
from licensing.services.asked import RefreshAsked
from licensing.services.authenticate import Caller, refuse
from licensing.services.installations import Place
from licensing.services.known import look_up_token
from licensing.services.minting import answer, lease_end
from licensing.services.outcome import Denied, Granted, Outcome
from licensing.services.plugin_tokens import judge, open_token, with_build_as_it_is
from licensing.services.proofs import SentRequest
from licensing.services.remember import remember_lease
from licensing.services.seen import note_served
from licensing.services.state import State


def refresh(*, asked: RefreshAsked, caller: Caller, sent: SentRequest, state: State, now: float) -> Outcome:
    """Answer one refresh request; `now` in Unix seconds.

    The `auth_time` stays that of the authenticate it all began with, and after REAUTHENTICATION_SECONDS it is due
    again, so that a stolen token cannot be refreshed for ever.

    Raises:
        ServiceUnavailable: it cannot be known.
    """
    presented = open_token(caller=caller, state=state, now=now)
    if isinstance(presented, Verdict):
        limits.note_bad_token(presented, caller.address)
        return Denied(presented)
    taking = limits.begin_take(
        installation=presented.token.installation_id,
        customer=presented.facts.customer,
        catalogue=presented.facts.catalogue,
    )
    token = presented.token
    known = look_up_token(customer_id=token.customer_id, build_id=token.build_id, installation_id=token.installation_id)
    presented = with_build_as_it_is(presented, known)
    facts = presented.facts
    headers = taking.headers()
    verdict = judge(presented, plugin_name=token.plugin, sent=sent, caller=caller)
    if verdict.valid and now >= token.auth_time + settings.REAUTHENTICATION_SECONDS:
        verdict = deny(codes.REAUTHENTICATION_DUE)
    if not verdict.valid:
        return refuse(verdict, facts, presented.actor, headers, token.installation_id)
    grant = grant_for(facts)
    place = Place(token.installation_id, token.generations[2], is_new=False)
    body = answer(facts, grant, place, auth_time=token.auth_time, nonce=asked.nonce)
    end = lease_end(facts, grant)
    if end is not None:
        remember_lease(installation_id=token.installation_id, lease_end=end, kept_until=known.lease_until)
    note_served(facts=facts, installation_id=token.installation_id, endpoint="refresh")
    return Granted(body, headers)
