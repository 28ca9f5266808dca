"""`POST /api/plugins/report`: a plugin host reports a compromise of its own plugin.

The installation is signed out and put under quarantine, and `security.alert` goes out. Nothing widens, and nobody
else is touched: a token speaks for its own installation, an API key for installations of its own customer.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from django.db import transaction

from licensing.core import outbox
from licensing.core.actor import Actor
from licensing.core.clock import from_epoch
from licensing.core.errors import BadRequest, NotFound
from licensing.core.ids import new_id
from licensing.core.json_body import whole
from licensing.models import Installation
from licensing.rules import codes
from licensing.rules.codes import Verdict, deny
from licensing.rules.pipeline import CREDENTIAL_RULES, Facts, first_answer
from licensing.rules.tokens import Token, is_revoked
from licensing.services import limits
from licensing.services.asked import ANONYMOUS_PREFIX, Fingerprint, Name
from licensing.services.authenticate import Caller, find_key, key_actor, refuse
from licensing.services.installations import release_installation
from licensing.services.outcome import Denied, Granted, Outcome
from licensing.services.plugin_tokens import open_token
from licensing.services.proofs import SentRequest, check_proof
from licensing.services.quarantines import Scope, quarantine
from licensing.services.state import State

REASON = "reported"


class ReportAsked(msgspec.Struct, frozen=True):
    """Body of `POST /api/plugins/report`. An API key names an installation; without, the anonymous one is meant."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=whole(r"[A-Za-z0-9_.-]+"))]
    plugin_name: Name
    evidence: dict[str, Any] | str = ""
    installation_id: Annotated[str, msgspec.Meta(min_length=1, max_length=40)] | None = None
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True, slots=True)
class _Reporter:
    """Who reports, and which installation they may speak for; None where it is not there."""

    actor: Actor
    customer_id: str
    installation: Installation | None
    headers: dict[str, str]


def report(*, asked: ReportAsked, caller: Caller, sent: SentRequest, state: State, now: float) -> Outcome:
    """Answer one report; `now` in Unix seconds.

    Raises:
        BadRequest: a token's report names another installation than its own.
        NotFound: the key's customer has no such installation.
        TooManyRequests: each report is an alarm, and draws on the limits like any other request.
    """
    # A plugin token is a JWS, which no API key looks like.
    found = (_by_token if caller.credential.count(".") == 2 else _by_key)(asked, caller, sent, state, now)
    if isinstance(found, Denied):
        return found
    if found.installation is None:
        raise NotFound("There is no such installation of this plugin.")
    return Granted(_contain(found, found.installation, asked, now), found.headers)


def _by_token(asked: ReportAsked, caller: Caller, sent: SentRequest, state: State, now: float) -> _Reporter | Denied:
    presented = open_token(caller=caller, state=state, now=now)
    if isinstance(presented, Verdict):
        limits.note_bad_token(presented, caller.address)
        return Denied(presented)
    token, facts = presented.token, presented.facts
    headers = limits.take(installation=token.installation_id, customer=facts.customer, catalogue=facts.catalogue)
    refusal = _token_refusal(token, facts, asked, caller, sent)
    if refusal is not None:
        return refuse(refusal, facts, presented.actor, headers, token.installation_id)
    if asked.installation_id not in (None, token.installation_id):
        raise BadRequest("installation_id: a token reports its own installation.", field="installation_id")
    row = Installation.objects.filter(pk=token.installation_id, customer_id=token.customer_id).first()
    return _Reporter(presented.actor, token.customer_id, row, headers)


def _token_refusal(token: Token, facts: Facts, asked: ReportAsked, caller: Caller, sent: SentRequest) -> Verdict | None:
    """Why a token may not report, if it may not; who reports needs no paid subscription."""
    if is_revoked(token, facts.customer):
        return deny(codes.TOKEN_REVOKED)
    if asked.plugin_name != token.plugin:
        return deny(codes.PLUGIN_MISMATCH)
    return check_proof(
        sent=sent, credential=caller.credential, build_id=token.build_id, is_required=False, now=facts.now
    )


def _by_key(asked: ReportAsked, caller: Caller, sent: SentRequest, state: State, now: float) -> _Reporter | Denied:
    found = find_key(caller, "", state)
    if found is None:
        limits.note_bad_credential(caller.address)
        return Denied(deny(codes.API_KEY_INVALID))
    customer, key = found
    facts = Facts(
        now=now,
        catalogue=state.catalogue(),
        customer=customer,
        key=key,
        plugin_name=asked.plugin_name,
        plugin_version="",
        source_address=caller.address,
    )
    verdict = first_answer(CREDENTIAL_RULES, facts)
    actor, apart = key_actor(key, caller), "" if verdict.valid else f":{key.id}"
    taking = limits.begin_take(
        installation=f"report:{key.id}", customer=customer, catalogue=facts.catalogue, apart=apart
    )
    headers = taking.headers()
    if not verdict.valid:
        return refuse(verdict, facts, actor, headers)
    rows = Installation.objects.filter(customer_id=customer.id, plugin_id=asked.plugin_name, mode=key.mode)
    if asked.installation_id is not None:
        rows = rows.filter(pk=asked.installation_id)
    else:
        rows = rows.filter(fingerprint=asked.fingerprint or f"{ANONYMOUS_PREFIX}{key.id}")
    return _Reporter(actor, customer.id, rows.first(), headers)


def _contain(reporter: _Reporter, installation: Installation, asked: ReportAsked, now: float) -> dict[str, Any]:
    """Sign the installation out, keep it out, and tell: one transaction, each step with its own audit row."""
    report_id = new_id("rep")
    at = from_epoch(now)
    with transaction.atomic():
        # In the order in which quarantines lock: the plugin, then the installation.
        entry, _ = quarantine(
            plugin=installation.plugin,
            scope=Scope.INSTALLATION,
            target=installation.id,
            reason=f"Reported: {asked.type}",
            actor=reporter.actor,
            now=at,
        )
        release_installation(installation=installation, reason=REASON, confirmed=False, actor=reporter.actor, now=at)
        outbox.emit(
            "security.alert",
            customer_id=reporter.customer_id,
            payload={
                "type": "plugin_compromise",
                "report_id": report_id,
                "reported_type": asked.type,
                "plugin": installation.plugin_id,
                "installation_id": installation.id,
                "evidence": asked.evidence,
                "actions": ["installation_revoked", "installation_quarantined"],
            },
        )
    return {
        "success": True,
        "report_id": report_id,
        "plugin_name": installation.plugin_id,
        "installation_id": installation.id,
        "quarantine_id": entry.id,
        "actions": ["installation_revoked", "installation_quarantined", "alert_sent"],
    }
