"""Turning a positive verdict into a token, an offline lease and the answer that carries them (DESIGN §5 and §6)."""

import math
import random
import time
from typing import Any

from prometheus_client import Histogram

from licensing.core import metrics
from licensing.core.clock import rfc3339
from licensing.core.hot_settings import hot_settings
from licensing.core.ids import new_id
from licensing.crypto.claims import LEASE_AUDIENCE, LeaseClaims, PluginClaims
from licensing.crypto.tokens import SigningKey, sign_claims
from licensing.rules.entitlements import entitlements
from licensing.rules.grants import Grant
from licensing.rules.pipeline import Facts
from licensing.rules.snapshot import CustomerSnapshot
from licensing.services.installations import Place
from licensing.services.signing_keys import minting_key

REFRESH_JITTER = 0.1
PRIVATE_REGISTRY_FEATURE = "private_repository"


def lease_end(facts: Facts, grant: Grant) -> int | None:
    """When the lease handed out now ends, or None for none.

    As the plugin's policy says, within what is paid for, and no later than the build it was handed to.
    """
    plugin = facts.plugin
    if plugin is None or plugin.lease_seconds == 0:
        return None
    end = int(min(facts.now + plugin.lease_seconds, grant.access_until, _build_end(facts)))
    return end if end > int(facts.now) else None


def answer(facts: Facts, grant: Grant, place: Place, *, auth_time: int, nonce: str | None) -> dict[str, Any]:
    """Mint what an authenticate or refresh hands out, and write its 200 (members as DESIGN §5)."""
    now = int(facts.now)
    expires = _token_end(facts, grant)
    return {
        "success": True,
        "token": _token(facts, grant, place, now=now, expires=expires, auth_time=auth_time, nonce=nonce),
        "token_type": "Bearer",
        "expires_at": rfc3339(expires),
        "next_refresh": rfc3339(min(next_refresh(facts.now), expires)),
        "customer_id": facts.customer.id,
        "subscription_tier": grant.tier,
        "authorized_features": list(grant.feature_codes),
        "plugin_permissions": grant.permissions,
        "rate_limits": {
            "requests_per_minute": grant.requests_per_minute,
            "events_per_day": grant.events_per_day,
        },
        "installation_id": place.installation_id,
        "grace_until": None if grant.grace_until is None else rfc3339(grant.grace_until),
        "offline_lease": _lease(facts, grant, place, now=now),
        "private_registry": private_registry(facts),
    }


def require_minting_keys(facts: Facts) -> None:
    """See that what will be handed out can be signed, before anything is written for it.

    Raises:
        ServiceUnavailable: as `minting_key`.
    """
    minting_key(facts.catalogue, "token")
    if facts.plugin is not None and facts.plugin.lease_seconds:
        minting_key(facts.catalogue, "lease")


def next_refresh(now: float) -> float:
    """About one refresh interval ahead; the jitter keeps a fleet from marching in step."""
    interval: int = hot_settings.REFRESH_INTERVAL_SECONDS
    return now + interval * random.uniform(1 - REFRESH_JITTER, 1 + REFRESH_JITTER)


def private_registry(facts: Facts) -> dict[str, Any]:
    """The customer's private registry, as the answers show it (seed: Private Repository Access)."""
    feature = entitlements(facts.customer, facts.catalogue, facts.now).get(PRIVATE_REGISTRY_FEATURE)
    if feature is None or not feature.is_granted:
        return {"enabled": False, "url": None, "allowed_plugins": []}
    return {
        "enabled": True,
        "url": f"{hot_settings.PUBLIC_URL}/private/{facts.customer.id}",
        "allowed_plugins": list(_private_plugins(facts.customer, facts)),
    }


def _private_plugins(customer: CustomerSnapshot, facts: Facts) -> list[str]:
    plugins = facts.catalogue.plugins
    return [name for name in customer.allowed_plugins or () if name in plugins and plugins[name].is_private]


def _token_end(facts: Facts, grant: Grant) -> int:
    """The token's `exp`: whole seconds, never beyond what is paid for.

    It lies ahead, since by the rules an end within this very second has come already.
    """
    return int(min(int(facts.now) + hot_settings.TOKEN_TTL_SECONDS, grant.access_until, _build_end(facts)))


def _build_end(facts: Facts) -> float:
    build = facts.build
    return math.inf if build is None or build.expires_at is None else build.expires_at


def _token(
    facts: Facts, grant: Grant, place: Place, *, now: int, expires: int, auth_time: int, nonce: str | None
) -> str:
    claims = PluginClaims(
        iss=hot_settings.PUBLIC_URL,
        aud=facts.plugin_name,
        nonce=nonce,
        auth_time=auth_time,
        subscription_tier=grant.tier,
        authorized_features=grant.feature_codes,
        plugin_permissions=grant.permissions,
        gen=_generations(facts, place),
        exp=expires,
        **_identity(facts, place, now),
    )
    return _signed(claims, minting_key(facts.catalogue, "token"), metrics.token_signed)


def _lease(facts: Facts, grant: Grant, place: Place, *, now: int) -> str | None:
    end = lease_end(facts, grant)
    if end is None:
        return None
    claims = LeaseClaims(
        iss=hot_settings.PUBLIC_URL,
        aud=LEASE_AUDIENCE,
        plugin=facts.plugin_name,
        # A temporary grant ends at its own instant, lease or no lease.
        features={each.feature: end if each.until is None else min(end, int(each.until)) for each in grant.features},
        offline_until=end,
        exp=end,
        **_identity(facts, place, now),
    )
    return _signed(claims, minting_key(facts.catalogue, "lease"), metrics.lease_signed)


def _signed(claims: PluginClaims | LeaseClaims, key: SigningKey, times: Histogram) -> str:
    began = time.perf_counter()
    text = sign_claims(claims, key=key)
    times.observe(time.perf_counter() - began)
    return text


def _identity(facts: Facts, place: Place, now: int) -> dict[str, Any]:
    key = facts.key
    if key is None:
        raise ValueError("no token without a key")
    return {
        "sub": place.installation_id,
        "client_id": facts.customer.id,
        "customer_id": facts.customer.id,
        "ver": facts.plugin_version,
        "bld": facts.build.id if facts.build else None,
        "key": key.id,
        "mode": key.mode,
        "iat": now,
        "nbf": now,
        "jti": new_id("tok"),
    }


def _generations(facts: Facts, place: Place) -> tuple[int, int, int]:
    key_id = facts.key.id if facts.key else ""
    return (
        facts.customer.generation("customer", facts.customer.id),
        facts.customer.generation("key", key_id),
        place.generation,
    )
