"""Holding a verified token against the state of this moment."""

import math
from typing import Final

import msgspec

from licensing.rules import codes
from licensing.rules.codes import Verdict, allow, deny
from licensing.rules.grants import Grant, grant_for
from licensing.rules.pipeline import (
    CUSTOMER_RULES,
    PLUGIN_RULES,
    Facts,
    Rule,
    address_allowed,
    first_answer,
    key_expired,
    scope_present,
)
from licensing.rules.snapshot import CustomerSnapshot

_RULES: Final[tuple[Rule, ...]] = (key_expired, scope_present, address_allowed, *CUSTOMER_RULES, *PLUGIN_RULES)


class Token(msgspec.Struct, frozen=True, gc=False):
    """What decisions need of a token whose signature and times have been verified.

    `expires_at` is its `exp`; infinite for one that is known by what was bound to it alone.
    """

    customer_id: str
    plugin: str
    version: str
    installation_id: str
    key_id: str
    build_id: str | None
    mode: str
    auth_time: int
    generations: tuple[int, int, int]
    tier: str
    features: tuple[str, ...]
    permissions: dict[str, dict[str, object]]
    expires_at: float = math.inf


def is_revoked(token: Token, customer: CustomerSnapshot) -> bool:
    """Whether the key is revoked or gone, or a newer generation outdates the token (DESIGN §6)."""
    key = customer.key(token.key_id)
    if key is None or key.is_revoked:
        return True
    current = (
        customer.generation("customer", customer.id),
        customer.generation("key", token.key_id),
        customer.generation("installation", token.installation_id),
    )
    return token.generations != current


def judge_token(token: Token, facts: Facts, *, plugin_name: str) -> Verdict:
    """Answer for a token: revoked, for another plugin, then everything that holds for a request with its key.

    The proof of its request comes next, and then its installation.
    """
    if is_revoked(token, facts.customer):
        return deny(codes.TOKEN_REVOKED)
    if plugin_name != token.plugin:
        return deny(codes.PLUGIN_MISMATCH)
    return first_answer(_RULES, facts)


def judge_entitlements(token: Token, facts: Facts) -> tuple[Verdict, Grant]:
    """The last rule: whether what the token grants is what the customer has now; with what that is."""
    grant = grant_for(facts)
    same = token.tier == grant.tier and token.features == grant.feature_codes and token.permissions == grant.permissions
    return (allow() if same else allow(codes.ENTITLEMENTS_CHANGED)), grant
