"""`POST /api/plugins/deactivate`: the installation gives its place back, now, and its lease with it."""

from licensing.core.clock import from_epoch
from licensing.models import Installation
from licensing.rules import codes
from licensing.rules.codes import Verdict, deny
from licensing.rules.tokens import is_revoked
from licensing.services import limits
from licensing.services.authenticate import Caller, is_proof_required, refuse
from licensing.services.installations import release_installation
from licensing.services.outcome import Denied, Granted, Outcome
from licensing.services.plugin_tokens import open_token
from licensing.services.proofs import SentRequest, check_proof
from licensing.services.state import State


def deactivate(*, caller: Caller, sent: SentRequest, state: State, now: float) -> Outcome:
    """Release the token's installation, confirmed by itself.

    Giving back needs no paid subscription: a token that is genuine and not outdated is enough. Asked again for an
    installation that is released already, it answers the same.
    """
    presented = open_token(caller=caller, state=state, now=now)
    if isinstance(presented, Verdict):
        limits.note_bad_token(presented, caller.address)
        return Denied(presented)
    token, facts = presented.token, presented.facts
    headers = limits.take(installation=token.installation_id, customer=facts.customer, catalogue=facts.catalogue)
    row = Installation.objects.filter(pk=token.installation_id, customer_id=token.customer_id).first()
    if row is None or (is_revoked(token, facts.customer) and row.released_at is None):
        return refuse(deny(codes.TOKEN_REVOKED), facts, presented.actor, headers, token.installation_id)
    refusal = check_proof(
        sent=sent,
        credential=caller.credential,
        build_id=token.build_id,
        is_required=is_proof_required(facts),
        now=now,
    )
    if refusal is not None:
        return refuse(refusal, facts, presented.actor, headers, token.installation_id)
    release_installation(
        installation=row, reason="deactivated", confirmed=True, actor=presented.actor, now=from_epoch(now)
    )
    return Granted({"success": True, "installation_id": row.id, "released": True}, headers)
