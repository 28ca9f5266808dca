"""`POST /api/plugins/authenticate`: from an API key to a plugin token.

The pipeline of DESIGN §5: find the key → pure rules, first answer wins → proof → installation (the one write that can
refuse) → mint → remember. What is remembered (the audit row, the lease's end) is committed before the answer goes out.
"""

from dataclasses import replace

import msgspec
from django.db import transaction

from accounts.keyrings import peppers
from accounts.services.key_material import known_prefixes
from accounts.services.stored_peppers import require_peppers_of_stored_keys
from licensing import selectors
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.clock import from_epoch
from licensing.core.errors import BadRequest
from licensing.core.hot_settings import hot_settings
from licensing.crypto import keys
from licensing.rules import codes
from licensing.rules.codes import Verdict, deny
from licensing.rules.grants import grant_for
from licensing.rules.pipeline import (
    CREDENTIAL_RULES,
    CUSTOMER_RULES,
    PLUGIN_RULES,
    Build,
    Facts,
    first_answer,
    installation_not_quarantined,
)
from licensing.rules.snapshot import Catalogue, CustomerSnapshot, Key
from licensing.services import limits
from licensing.services.asked import AuthenticateAsked
from licensing.services.installations import (
    Machine,
    Place,
    machine_for,
    take_place,
)
from licensing.services.known import KnownInstallation, look_up
from licensing.services.minting import answer, lease_end, require_minting_keys
from licensing.services.outcome import Denied, Granted, Outcome
from licensing.services.proofs import SentRequest, check_proof
from licensing.services.remember import remember_authenticated
from licensing.services.seen import note_served
from licensing.services.state import State


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who sent a request: the credential as presented, and the address it came from."""

    credential: str
    address: str
    request_id: str

    def __repr__(self) -> str:
        """Without the credential."""
        return f"Caller(address={self.address!r}, request_id={self.request_id!r})"


def authenticate(*, asked: AuthenticateAsked, caller: Caller, sent: SentRequest, state: State, now: float) -> Outcome:
    """Answer one authenticate request; `now` in Unix seconds.

    Raises:
        BadRequest: something that this plugin needs is missing from the request.
        ServiceUnavailable: it cannot be known.
    """
    found = find_key(caller, asked.customer_id, state)
    if found is None:
        limits.note_bad_credential(caller.address)
        return Denied(deny(codes.API_KEY_INVALID))
    customer, key = found
    catalogue = state.catalogue()
    machine = _machine(asked, caller, customer, key)
    signature = asked.signature_bytes()
    known = look_up(machine, signature)
    bucket = known.installation.id if known.installation else f"{customer.id}:{machine.plugin}:{machine.fingerprint}"
    facts = _facts(asked, caller, catalogue, customer, key, known.build, now)
    # A key that is refused draws on limits of its own: who found a revoked one could else use up all of its customer's.
    apart = "" if first_answer(CREDENTIAL_RULES, facts).valid else f":{key.id}"
    taking = limits.begin_take(installation=bucket + apart, customer=customer, catalogue=catalogue, apart=apart)
    actor = key_actor(key, caller)
    if sent.proof is not None:
        taking.headers()  # a nonce is used up by being looked at
    verdict = _judge(facts, asked, sent, caller)
    if not verdict.valid:
        return refuse(verdict, facts, actor, taking.headers())
    require_minting_keys(facts)
    place = _kept_place(facts, known.installation)
    if place is None:
        taking.headers()  # a place is used up by being taken
        place = _new_place(facts, machine, actor)
    if isinstance(place, Verdict):
        return refuse(place, facts, actor, taking.headers())
    grant = grant_for(facts)
    # Signed while Valkey counts: a thread that waits less often is kept from its work less often.
    body = answer(facts, grant, place, auth_time=int(now), nonce=asked.nonce)
    headers = taking.headers()
    remember_authenticated(
        facts=facts,
        actor=actor,
        installation_id=place.installation_id,
        lease_end=lease_end(facts, grant),
        kept_until=known.installation.lease_until if known.installation else None,
    )
    note_served(facts=facts, installation_id=place.installation_id, endpoint="authenticate")
    return Granted(body, headers)


def find_key(caller: Caller, claimed_customer: str, state: State) -> tuple[CustomerSnapshot, Key] | None:
    """Find whose key this is: first among the claimed customer's, then by one lookup.

    A key of the wrong shape or checksum is answered without a query.

    Raises:
        TooManyRequests: too many bad credentials came from this address, and this one is not the claimed customer's.
        ServiceUnavailable: whether there is such a key cannot be known.
    """
    parsed = keys.parse_key(caller.credential, known_prefixes())
    if parsed is None:
        return None
    digests = peppers().digests(keys.fingerprint(parsed.text))
    customer = state.customer(claimed_customer)
    key = customer.key_by_digest(digests) if customer else None
    if customer is None or key is None:
        limits.refuse_if_blocked(caller.address)
        owner = selectors.customer_of_key(digests)
        if owner is None:
            require_peppers_of_stored_keys()
        customer = state.customer(owner) if owner else None
        key = customer.key_by_digest(digests) if customer else None
    return None if customer is None or key is None else (customer, key)


def key_actor(key: Key, caller: Caller) -> Actor:
    """The API key as an actor of the audit log."""
    return Actor("api_key", key.id, caller.address, caller.request_id)


def refuse(verdict: Verdict, facts: Facts, actor: Actor, headers: dict[str, str], installation_id: str = "") -> Denied:
    """Record a denial, one by one (DESIGN §10), before it is answered."""
    with transaction.atomic():
        _record(facts, actor, "plugin.denied", verdict.code, installation_id)
        outbox.emit(
            "plugin.denied",
            customer_id=facts.customer.id,
            payload={"plugin": facts.plugin_name, "version": facts.plugin_version, "code": verdict.code},
        )
    return Denied(verdict, headers)


def _facts(
    asked: AuthenticateAsked,
    caller: Caller,
    catalogue: Catalogue,
    customer: CustomerSnapshot,
    key: Key,
    build: Build | None,
    now: float,
) -> Facts:
    return Facts(
        now=now,
        catalogue=catalogue,
        customer=customer,
        key=key,
        plugin_name=asked.plugin_name,
        plugin_version=asked.plugin_version,
        source_address=caller.address,
        claimed_customers=asked.claimed_customers(),
        required_tier=asked.metadata.get("required_tier", ""),
        is_signed=asked.plugin_signature is not None,
        build=build,
        grace_seconds=hot_settings.GRACE_SECONDS,
    )


def _judge(facts: Facts, asked: AuthenticateAsked, sent: SentRequest, caller: Caller) -> Verdict:
    verdict = first_answer((*CREDENTIAL_RULES, *CUSTOMER_RULES, *PLUGIN_RULES), facts)
    if not verdict.valid:
        return verdict
    plugin = facts.plugin
    if plugin is not None:
        if not facts.is_signed and not plugin.accepts_unsigned:
            raise BadRequest("plugin_signature: This field is required for this plugin.", field="plugin_signature")
        if asked.installation is None and plugin.installation_required:
            raise BadRequest("installation: This field is required for this plugin.", field="installation")
    refusal = check_proof(
        sent=sent,
        credential=caller.credential,
        build_id=facts.build.id if facts.build else None,
        is_required=is_proof_required(facts),
        now=facts.now,
    )
    return refusal or verdict


def is_proof_required(facts: Facts) -> bool:
    """Whether the plugin's vendor or the customer asks for proof."""
    plugin = facts.plugin
    return facts.customer.proof_required or (plugin is not None and plugin.proof_required)


def _machine(asked: AuthenticateAsked, caller: Caller, customer: CustomerSnapshot, key: Key) -> Machine:
    return machine_for(
        asked.installation,
        customer_id=customer.id,
        plugin=asked.plugin_name,
        version=asked.plugin_version,
        mode=key.mode,
        api_key_id=key.id,
        address=caller.address,
    )


def _kept_place(facts: Facts, known: KnownInstallation | None) -> Place | Verdict | None:
    """The place that the machine holds, or the verdict that its installation is in quarantine; None: it has none."""
    if known is None:
        return None
    quarantined = installation_not_quarantined(msgspec.structs.replace(facts, installation_id=known.id))
    if quarantined is not None or not known.is_active:
        return quarantined
    return Place(known.id, facts.customer.generation("installation", known.id), is_new=False)


def _new_place(facts: Facts, machine: Machine, actor: Actor) -> Place | Verdict:
    """A place for the machine, or the verdict that all are taken."""
    build_id = facts.build.id if facts.build else ""
    place = take_place(machine=replace(machine, build_id=build_id), actor=actor, now=from_epoch(facts.now))
    return place or deny(codes.INSTALLATION_LIMIT_REACHED)


def _record(facts: Facts, actor: Actor, action: str, code: str, installation_id: str) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject_kind="plugin",
        subject_id=facts.plugin_name,
        customer_id=facts.customer.id,
        code=code,
        is_change=False,
        detail={
            "version": facts.plugin_version,
            "installation_id": installation_id,
            "build_id": facts.build.id if facts.build else None,
        },
    )
