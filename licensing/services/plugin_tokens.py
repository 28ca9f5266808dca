"""From a presented plugin token to facts the rules can judge: validate, refresh and deactivate begin here."""

import msgspec

from licensing.core.actor import Actor
from licensing.core.hot_settings import hot_settings
from licensing.crypto.tokens import TokenExpired, TokenInvalid
from licensing.rules import codes
from licensing.rules.codes import Verdict, deny
from licensing.rules.pipeline import Build, Facts, installation_not_quarantined
from licensing.rules.tokens import Token, judge_token
from licensing.services.authenticate import Caller, is_proof_required
from licensing.services.known import KnownOfToken
from licensing.services.proofs import SentRequest, check_proof
from licensing.services.seen_tokens import verified_token
from licensing.services.signing_keys import verifying_keys
from licensing.services.state import State


class Presented(msgspec.Struct, frozen=True):
    """A verified token with the state it is held against, and who presents it."""

    token: Token
    facts: Facts
    caller: Caller

    @property
    def actor(self) -> Actor:
        """The one who presents it, for the audit log."""
        caller, customer = self.caller, self.facts.customer
        return Actor("plugin_token", self.token.installation_id, caller.address, caller.request_id, customer.id)


def open_token(*, caller: Caller, state: State, now: float) -> Presented | Verdict:
    """Verify the token's signature and times, and gather the facts around it; a Verdict if it is no good."""
    catalogue = state.catalogue()
    try:
        token = verified_token(
            caller.credential, keys=verifying_keys(catalogue, "token"), issuer=hot_settings.PUBLIC_URL, now=int(now)
        )
    except TokenExpired:
        return deny(codes.TOKEN_EXPIRED)
    except TokenInvalid:
        return deny(codes.TOKEN_INVALID)
    customer = state.customer(token.customer_id)
    if customer is None:
        return deny(codes.TOKEN_REVOKED)
    facts = Facts(
        now=now,
        catalogue=catalogue,
        customer=customer,
        key=customer.key(token.key_id),
        plugin_name=token.plugin,
        plugin_version=token.version,
        source_address=caller.address,
        claimed_customers=(token.customer_id,),
        is_signed=token.build_id is not None,
        build=None if token.build_id is None else Build(token.build_id),
        installation_id=token.installation_id,
        grace_seconds=hot_settings.GRACE_SECONDS,
    )
    return Presented(token, facts, caller)


def judge(presented: Presented, *, plugin_name: str, sent: SentRequest, caller: Caller) -> Verdict:
    """All rules for a token, then the proof of its request, then whether its installation is in quarantine."""
    facts = presented.facts
    verdict = judge_token(presented.token, facts, plugin_name=plugin_name)
    if not verdict.valid:
        return verdict
    refusal = check_proof(
        sent=sent,
        credential=caller.credential,
        build_id=presented.token.build_id,
        is_required=is_proof_required(facts),
        now=facts.now,
    )
    return refusal or installation_not_quarantined(facts) or verdict


def with_build_as_it_is(presented: Presented, known: KnownOfToken) -> Presented:
    """Judge by the token's build as it is now, for whoever mints anew: the token was cut to the build's end, its
    successor is not.

    Validate has no need of it: a token that its build has outlived has expired itself.
    """
    if presented.token.build_id is None:
        return presented
    return Presented(presented.token, msgspec.structs.replace(presented.facts, build=known.build), presented.caller)
