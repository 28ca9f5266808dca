"""Holding a verified token against the state of this moment."""

from typing import Any

import pytest

from licensing.rules.grants import grant_for
from licensing.rules.snapshot import Quarantined
from licensing.rules.tokens import Token, is_revoked, judge_entitlements, judge_token
from tests.licensing.rules.builders import NOW, catalogue, customer, facts, key, plugin, subscription


def token(**changes: Any) -> Token:
    """A token of what `facts()` grants."""
    grant = grant_for(facts())
    fields: dict[str, Any] = {
        "customer_id": "cust_1",
        "plugin": "tool",
        "version": "1.2.3",
        "installation_id": "inst_1",
        "key_id": "key_1",
        "build_id": None,
        "mode": "live",
        "auth_time": int(NOW),
        "generations": (0, 0, 0),
        "tier": grant.tier,
        "features": grant.feature_codes,
        "permissions": grant.permissions,
    }
    return Token(**(fields | changes))


REVOCATIONS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "nothing happened": ({}, {}, False),
    "the key is revoked": ({}, {"keys": (key(is_revoked=True),)}, True),
    "the key is gone": ({}, {"keys": ()}, True),
    "another key is revoked": ({}, {"keys": (key(), key(id="key_2", is_revoked=True))}, False),
    "the customer was signed out": ({}, {"generations": {"customer:cust_1": 1}}, True),
    "the key was signed out": ({}, {"generations": {"key:key_1": 1}}, True),
    "the installation was released": ({}, {"generations": {"installation:inst_1": 1}}, True),
    "another installation was": ({}, {"generations": {"installation:inst_2": 1}}, False),
    "minted since": ({"generations": (1, 2, 3)}, {"generations": {
        "customer:cust_1": 1, "key:key_1": 2, "installation:inst_1": 3}}, False),
    "of an older generation": ({"generations": (1, 2, 3)}, {"generations": {
        "customer:cust_1": 1, "key:key_1": 2, "installation:inst_1": 4}}, True),
    "of a generation that never was": ({"generations": (0, 0, 1)}, {}, True),
}  # fmt: skip


@pytest.mark.parametrize("name", REVOCATIONS)
def test_is_revoked(name: str) -> None:
    of_token, of_customer, answer = REVOCATIONS[name]
    assert is_revoked(token(**of_token), customer(**of_customer)) is answer


# Name: facts, plugin asked for, code.
VERDICTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "good": ({}, "tool", "VALID"),
    "revoked": ({"customer": customer(keys=())}, "tool", "TOKEN_REVOKED"),
    "revoked, before anything else": (
        {"customer": customer(keys=(), is_suspended=True), "catalogue": catalogue(is_locked_down=True)},
        "other",
        "TOKEN_REVOKED",
    ),
    "for another plugin": ({}, "other", "PLUGIN_MISMATCH"),
    "for another plugin, before the rest": ({"catalogue": catalogue(is_locked_down=True)}, "other", "PLUGIN_MISMATCH"),
    "its key has expired": ({"key": key(expires_at=NOW)}, "tool", "API_KEY_EXPIRED"),
    "its key lost the scope": ({"key": key(scopes=frozenset())}, "tool", "SCOPE_MISSING"),
    "its key may not be used from here": ({"key": key(cidrs=("192.0.2.0/24",))}, "tool", "IP_NOT_ALLOWED"),
    "lockdown": ({"catalogue": catalogue(is_locked_down=True)}, "tool", "LOCKDOWN"),
    "paused": ({"customer": customer(subscription=subscription(status="paused"))}, "tool", "SUBSCRIPTION_PAUSED"),
    "the plugin is blocked": (
        {"catalogue": catalogue(plugin(blocked_versions=("1.2.3",)))},
        "tool",
        "VERSION_BLOCKED",
    ),
    "its installation is a later question": (
        {
            "installation_id": "inst_1",
            "customer": customer(quarantines=(Quarantined("installation", "tool", "inst_1"),)),
        },
        "tool",
        "VALID",
    ),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_judge_token(name: str) -> None:
    changes, asked, code = VERDICTS[name]
    verdict = judge_token(token(), facts(**changes), plugin_name=asked)
    assert (verdict.code, verdict.valid) == (code, code == "VALID")


# Name: token, facts, whether what it grants is what there is.
ENTITLEMENTS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "the same": ({}, {}, True),
    "another tier": ({}, {"customer": customer(subscription=subscription(tier="High"))}, False),
    "another order of features": ({"features": ("extra", "basic")}, {}, False),
    "a feature more": ({"features": ("basic", "extra", "special")}, {}, False),
    "another value": ({"permissions": {"tool": {"allowed": True, "feature_values": {"extra": 6}}}}, {}, False),
    "another allowance": ({}, {"catalogue": catalogue(plugin(rate_limit=1))}, False),
    "another manifest": ({}, {"catalogue": catalogue(plugin(manifests={"1.2.3": {"short": ["net"]}}))}, False),
    "another version's manifest": ({}, {"catalogue": catalogue(plugin(manifests={"1.2.4": {"short": ["net"]}}))}, True),
}


@pytest.mark.parametrize("name", ENTITLEMENTS)
def test_judge_entitlements(name: str) -> None:
    of_token, of_facts, same = ENTITLEMENTS[name]
    asked = facts(**of_facts)
    verdict, grant = judge_entitlements(token(**of_token), asked)
    assert (verdict.valid, verdict.code) == (True, "VALID" if same else "ENTITLEMENTS_CHANGED")
    assert grant == grant_for(asked)
