"""Who asks the registry: an API key, a plugin token, a registry token or, from the portal, a person.

All are judged by the same rules as everywhere. A `Visitor` is a credential that was found good, with the state it was
judged by; what it may see and fetch are the rules of `licensing.rules` again. Nothing here decides by itself.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec
from django.conf import settings

from accounts.keyrings import peppers
from accounts.models import Membership
from accounts.permissions import is_allowed
from accounts.services.key_material import known_prefixes
from accounts.services.stored_peppers import require_peppers_of_stored_keys
from licensing.api.authentication import VerdictRefused
from licensing.core.actor import Actor
from licensing.core.errors import PermissionMissing
from licensing.core.source import in_networks
from licensing.crypto import base64url, keys
from licensing.crypto.strict_json import parse_object
from licensing.crypto.urls import CredentialKind, DownloadClaims, TokenBinding
from licensing.rules import codes
from licensing.rules.codes import Verdict, deny
from licensing.rules.entitlements import entitlements
from licensing.rules.pipeline import (
    CREDENTIAL_RULES,
    CUSTOMER_RULES,
    PLUGIN_RULES,
    Build,
    Facts,
    first_answer,
    installation_not_quarantined,
    plugin_known,
    scope_present,
    tier_high_enough,
)
from licensing.rules.snapshot import Catalogue, CustomerSnapshot, Key
from licensing.rules.tokens import Token, judge_token
from licensing.services import limits
from licensing.services.authenticate import Caller, find_key, is_proof_required, key_actor
from licensing.services.plugin_tokens import open_token
from licensing.services.proofs import SentRequest, check_proof
from licensing.services.state import State
from registry.models import RegistryToken

READ = "registry:read"
DOWNLOAD = "registry:download"
FEATURE = "private_repository"
TOKEN_PREFIX = "pat"  # noqa: S105  the first letters of every registry token

API_KEY: Final = "api_key"
PLUGIN_TOKEN: Final = "plugin_token"  # noqa: S105  a kind, not a credential
REGISTRY_TOKEN: Final = "registry_token"  # noqa: S105
PERSON: Final = "person"
PERSON_ACTION: Final = "downloads.write"


class FeatureMissing(PermissionMissing):
    """The customer's subscription does not include a registry of its own."""

    code = "FEATURE_MISSING"
    title = "The subscription does not include this feature"


@dataclass(frozen=True, slots=True)
class Credential:
    """Which credential it is.

    `plugins` bounds what it is good for (None: the customer's own bounds alone); `ends_at` (Unix seconds) is when it
    ends by itself.
    """

    kind: CredentialKind
    id: str
    plugins: frozenset[str] | None = None
    ends_at: float | None = None
    token: TokenBinding | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A caller whose credential is good for the registry; `now` in Unix seconds."""

    catalogue: Catalogue = field(repr=False)
    customer: CustomerSnapshot = field(repr=False)
    credential: Credential
    actor: Actor
    now: float
    key: Key | None = None

    def may_see(self, plugin: str) -> bool:
        """Whether there is such a plugin as far as this visitor is concerned."""
        if self.credential.plugins is not None and plugin not in self.credential.plugins:
            return False
        return first_answer((plugin_known, tier_high_enough), self._facts(plugin)).valid

    def judge(self, plugin: str, version: str, *, build_id: str = "", sha256: str = "") -> Verdict:
        """Whether it may have a version, or a file of it, of a plugin it may see."""
        verdict = first_answer(PLUGIN_RULES, self._facts(plugin, version, build_id))
        if verdict.valid and sha256 and self.catalogue.is_artifact_quarantined(sha256):
            return deny(codes.PLUGIN_QUARANTINED)
        return verdict

    def is_plugin_quarantined(self, plugin: str) -> bool:
        """Whether all of a plugin is in quarantine."""
        return self.catalogue.is_plugin_quarantined(plugin, "")

    def has_feature(self, feature: str) -> bool:
        """Whether the customer has a feature now."""
        entitled = entitlements(self.customer, self.catalogue, self.now).get(feature)
        return entitled is not None and entitled.is_granted

    def _facts(self, plugin: str, version: str = "", build_id: str = "") -> Facts:
        return Facts(
            now=self.now,
            catalogue=self.catalogue,
            customer=self.customer,
            key=self.key,
            plugin_name=plugin,
            plugin_version=version,
            source_address=self.actor.source_address or "",
            is_signed=bool(build_id),
            build=Build(build_id) if build_id else None,
            grace_seconds=settings.GRACE_SECONDS,
        )


def identify(*, caller: Caller, sent: SentRequest, scope: str, state: State, now: float) -> Visitor:
    """Find out who asks, and whether the credential is good for `scope` at this moment.

    A plugin token proves which build sends it wherever the plugin API would ask for that.

    Raises:
        VerdictRefused: with the code of the rule that says no.
        FeatureMissing: a token of a customer whose subscription has no private registry.
        TooManyRequests: too many bad credentials came from this address.
    """
    if caller.credential.startswith(f"{TOKEN_PREFIX}_"):
        return _by_registry_token(caller, state, now)
    if keys.parse_key(caller.credential, known_prefixes()) is None and caller.credential.count(".") == 2:
        return _by_plugin_token(caller, sent, scope, state, now)
    return _by_api_key(caller, scope, state, now)


def person_visitor(*, customer_id: str, actor: Actor, state: State, now: float) -> Visitor | None:
    """One of the customer's people, who the portal has let in; None where there is no such customer.

    Not judged yet: `judge_customer` says whether the customer may have anything now.
    """
    customer = state.customer(customer_id)
    if customer is None:
        return None
    credential = Credential(PERSON, actor.id)
    return Visitor(catalogue=state.catalogue(), customer=customer, credential=credential, actor=actor, now=now)


def judge_customer(visitor: Visitor) -> Verdict:
    """Whether the visitor's customer may have anything at this moment."""
    return first_answer(CUSTOMER_RULES, visitor._facts(""))


def revisit(*, claims: DownloadClaims, actor: Actor, state: State, now: float) -> Visitor | Verdict:
    """Hold the credential that a download URL was handed out for against the state of this moment."""
    customer = state.customer(claims.customer_id)
    if customer is None:
        return deny(codes.API_KEY_REVOKED)
    match claims.credential_kind:
        case "api_key":
            return _revisit_key(claims, customer, actor, state, now)
        case "plugin_token" if claims.token is not None:
            return _revisit_token(claims, claims.token, customer, actor, state, now)
        case "registry_token":
            return _revisit_registry_token(claims, actor, state, now)
        case "person":
            return _revisit_person(claims, actor, state, now)
    return deny(codes.TOKEN_INVALID)


def _by_api_key(caller: Caller, scope: str, state: State, now: float) -> Visitor:
    found = find_key(caller, "", state)
    if found is None:
        limits.note_bad_credential(caller.address)
        raise VerdictRefused(deny(codes.API_KEY_INVALID))
    customer, key = found
    visitor = Visitor(
        catalogue=state.catalogue(),
        customer=customer,
        credential=Credential(API_KEY, key.id, ends_at=key.expires_at),
        actor=key_actor(key, caller),
        now=now,
        key=key,
    )
    return _or_refuse(visitor, _judge_key(visitor, scope))


def _revisit_key(
    claims: DownloadClaims, customer: CustomerSnapshot, actor: Actor, state: State, now: float
) -> Visitor | Verdict:
    visitor = Visitor(
        catalogue=state.catalogue(),
        customer=customer,
        credential=Credential(API_KEY, claims.credential_id),
        actor=actor,
        now=now,
        key=customer.key(claims.credential_id),
    )
    verdict = _judge_key(visitor, DOWNLOAD)
    return visitor if verdict.valid else verdict


def _judge_key(visitor: Visitor, scope: str) -> Verdict:
    facts = msgspec.structs.replace(visitor._facts(""), scope=scope)
    return first_answer((*CREDENTIAL_RULES, *CUSTOMER_RULES), facts)


def _by_plugin_token(caller: Caller, sent: SentRequest, scope: str, state: State, now: float) -> Visitor:
    presented = open_token(caller=caller, state=state, now=now)
    if isinstance(presented, Verdict):
        limits.note_bad_credential(caller.address)
        raise VerdictRefused(presented)
    token, facts = presented.token, presented.facts
    binding = TokenBinding(
        plugin=token.plugin,
        version=token.version,
        installation_id=token.installation_id,
        key_id=token.key_id,
        build_id=token.build_id,
        mode=token.mode,
        auth_time=token.auth_time,
        generations=token.generations,
    )
    visitor = Visitor(
        catalogue=facts.catalogue,
        customer=facts.customer,
        credential=Credential(PLUGIN_TOKEN, token.installation_id, ends_at=_end_of(caller.credential), token=binding),
        actor=presented.actor,
        now=now,
        key=facts.key,
    )
    verdict = _judge_plugin_token(token, facts, scope)
    refusal = verdict.valid and check_proof(
        sent=sent,
        credential=caller.credential,
        build_id=token.build_id,
        is_required=is_proof_required(facts),
        now=now,
    )
    return _or_refuse(visitor, refusal or verdict)


def _end_of(verified_token: str) -> float:
    """The `exp` of a token that has just been verified."""
    return float(parse_object(base64url.decode(verified_token.split(".")[1]))["exp"])


def _revisit_token(
    claims: DownloadClaims,
    binding: TokenBinding,
    customer: CustomerSnapshot,
    actor: Actor,
    state: State,
    now: float,
) -> Visitor | Verdict:
    token = Token(
        customer_id=claims.customer_id,
        tier="",
        features=(),
        permissions={},
        **msgspec.structs.asdict(binding),
    )
    visitor = Visitor(
        catalogue=state.catalogue(),
        customer=customer,
        credential=Credential(PLUGIN_TOKEN, claims.credential_id, token=binding),
        actor=actor,
        now=now,
        key=customer.key(binding.key_id),
    )
    facts = msgspec.structs.replace(
        visitor._facts(binding.plugin, binding.version, binding.build_id or ""), installation_id=binding.installation_id
    )
    verdict = _judge_plugin_token(token, facts, DOWNLOAD)
    if not verdict.valid:
        return verdict
    return visitor if visitor.has_feature(FEATURE) else deny(codes.SCOPE_MISSING)


def _judge_plugin_token(token: Token, facts: Facts, scope: str) -> Verdict:
    """All rules for the token; and its key's scope, since whoever may download a build can open its secret."""
    verdict = judge_token(token, facts, plugin_name=token.plugin)
    if not verdict.valid:
        return verdict
    rules = (installation_not_quarantined, scope_present)
    return first_answer(rules, msgspec.structs.replace(facts, scope=scope))


def _by_registry_token(caller: Caller, state: State, now: float) -> Visitor:
    parsed = keys.parse_key(caller.credential, (TOKEN_PREFIX,))
    row = None
    if parsed is not None:
        digests = peppers().digests(keys.fingerprint(parsed.text))
        row = RegistryToken.objects.filter(digest__in=digests).first()
        if row is None:
            require_peppers_of_stored_keys(RegistryToken)
    if row is None:
        limits.note_bad_credential(caller.address)
        raise VerdictRefused(deny(codes.TOKEN_INVALID))
    actor = Actor(REGISTRY_TOKEN, row.id, caller.address, caller.request_id, display=row.name)
    visitor = _registry_token_visitor(row, actor, state, now)
    if isinstance(visitor, Verdict):
        raise VerdictRefused(visitor)
    return _or_refuse(visitor, judge_customer(visitor))


def _revisit_registry_token(claims: DownloadClaims, actor: Actor, state: State, now: float) -> Visitor | Verdict:
    row = RegistryToken.objects.filter(pk=claims.credential_id, customer=claims.customer_id).first()
    if row is None:
        return deny(codes.TOKEN_REVOKED)
    visitor = _registry_token_visitor(row, actor, state, now)
    if isinstance(visitor, Verdict):
        return visitor
    verdict = judge_customer(visitor)
    if not verdict.valid:
        return verdict
    return visitor if visitor.has_feature(FEATURE) else deny(codes.SCOPE_MISSING)


def _revisit_person(claims: DownloadClaims, actor: Actor, state: State, now: float) -> Visitor | Verdict:
    """They are still a member who may download, from where the organisation lets its people in.

    A person's session is not looked at: a URL lives minutes, and is used where there are no sessions.
    """
    rows = Membership.objects.select_related("customer", "user").filter(customer=claims.customer_id)
    member = rows.filter(user_id=int(claims.credential_id)).first() if claims.credential_id.isdecimal() else None
    if member is None or not member.user.is_active or not is_allowed(member.role, PERSON_ACTION):
        return deny(codes.SCOPE_MISSING)
    networks = tuple(member.customer.portal_cidrs)
    if networks and not in_networks(actor.source_address or "", networks):
        return deny(codes.IP_NOT_ALLOWED)
    visitor = person_visitor(customer_id=claims.customer_id, actor=actor, state=state, now=now)
    if visitor is None:
        return deny(codes.SCOPE_MISSING)
    verdict = judge_customer(visitor)
    return visitor if verdict.valid else verdict


def _registry_token_visitor(row: RegistryToken, actor: Actor, state: State, now: float) -> Visitor | Verdict:
    if row.revoked_at is not None:
        return deny(codes.TOKEN_REVOKED)
    if now >= row.expires_at.timestamp():
        return deny(codes.TOKEN_EXPIRED)
    customer = state.customer(row.customer_id)
    if customer is None:
        return deny(codes.TOKEN_REVOKED)
    plugins = frozenset(row.plugins) if row.plugins else None
    credential = Credential(REGISTRY_TOKEN, row.id, plugins=plugins, ends_at=row.expires_at.timestamp())
    return Visitor(catalogue=state.catalogue(), customer=customer, credential=credential, actor=actor, now=now)


def _or_refuse(visitor: Visitor, verdict: Verdict) -> Visitor:
    if not verdict.valid:
        raise VerdictRefused(verdict)
    if visitor.credential.kind != API_KEY and not visitor.has_feature(FEATURE):
        raise FeatureMissing("The subscription does not include a private registry.")
    return visitor
