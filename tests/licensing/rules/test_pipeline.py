"""Each rule by itself, and the order in which they are asked."""

from typing import Any

import pytest

from licensing.rules import pipeline
from licensing.rules.codes import DETAILS, Verdict, allow, deny
from licensing.rules.pipeline import (
    CREDENTIAL_RULES,
    CUSTOMER_RULES,
    PLUGIN_RULES,
    Build,
    Rule,
    first_answer,
    visible_plugin,
)
from licensing.rules.snapshot import Quarantined
from tests.licensing.rules.builders import NOW, catalogue, customer, facts, key, plugin, subscription

BUILD = Build("bld_1", NOW + 10)

# Name: the rule, what is different about the facts, the code it answers (None: it has nothing to say).
CASES: dict[str, tuple[Rule, dict[str, Any], str | None]] = {
    "a key": (pipeline.key_known, {}, None),
    "no key": (pipeline.key_known, {"key": None}, "API_KEY_INVALID"),
    "a key without an end": (pipeline.key_expired, {}, None),
    "a key's last instant": (pipeline.key_expired, {"key": key(expires_at=NOW + 0.001)}, None),
    "a key's end": (pipeline.key_expired, {"key": key(expires_at=NOW)}, "API_KEY_EXPIRED"),
    "a key not revoked": (pipeline.key_revoked, {}, None),
    "a revoked key": (pipeline.key_revoked, {"key": key(is_revoked=True)}, "API_KEY_REVOKED"),
    "the scope": (pipeline.scope_present, {}, None),
    "another scope": (pipeline.scope_present, {"key": key(scopes=frozenset({"usage"}))}, "SCOPE_MISSING"),
    "another scope asked for": (pipeline.scope_present, {"scope": "builds"}, "SCOPE_MISSING"),
    "no range set": (pipeline.address_allowed, {}, None),
    "inside a range": (pipeline.address_allowed, {"key": key(cidrs=("203.0.113.0/24",))}, None),
    "outside of it": (pipeline.address_allowed, {"key": key(cidrs=("203.0.114.0/24",))}, "IP_NOT_ALLOWED"),
    "a range's last address": (
        pipeline.address_allowed,
        {"key": key(cidrs=("203.0.113.0/29",))},
        None,
    ),
    "the address after it": (
        pipeline.address_allowed,
        {"key": key(cidrs=("203.0.113.0/29",)), "source_address": "203.0.113.8"},
        "IP_NOT_ALLOWED",
    ),
    "an address of the other family": (
        pipeline.address_allowed,
        {"key": key(cidrs=("2001:db8::/32",))},
        "IP_NOT_ALLOWED",
    ),
    "IPv6 inside": (
        pipeline.address_allowed,
        {"key": key(cidrs=("2001:db8::/32",)), "source_address": "2001:db8::7"},
        None,
    ),
    "IPv4 written as IPv6": (
        pipeline.address_allowed,
        {"key": key(cidrs=("203.0.113.0/24",)), "source_address": "::ffff:203.0.113.7"},
        None,
    ),
    "an address that is none": (
        pipeline.address_allowed,
        {"key": key(cidrs=("0.0.0.0/0",)), "source_address": "unix"},
        "IP_NOT_ALLOWED",
    ),
    "no lockdown": (pipeline.no_lockdown, {}, None),
    "lockdown": (pipeline.no_lockdown, {"catalogue": catalogue(is_locked_down=True)}, "LOCKDOWN"),
    "the key's customer": (pipeline.customer_matches, {}, None),
    "another customer": (pipeline.customer_matches, {"claimed_customers": ("cust_2",)}, "CUSTOMER_MISMATCH"),
    "another one in the metadata": (
        pipeline.customer_matches,
        {"claimed_customers": ("cust_1", "cust_2")},
        "CUSTOMER_MISMATCH",
    ),
    "the customer in other letters": (
        pipeline.customer_matches,
        {"claimed_customers": ("Cust_1",)},
        "CUSTOMER_MISMATCH",
    ),
    "not suspended": (pipeline.customer_not_suspended, {}, None),
    "suspended": (
        pipeline.customer_not_suspended,
        {"customer": customer(is_suspended=True)},
        "CUSTOMER_SUSPENDED",
    ),
    "quarantined as a whole": (
        pipeline.customer_not_suspended,
        {"customer": customer(quarantines=(Quarantined("customer", "tool", "cust_1"),))},
        "CUSTOMER_SUSPENDED",
    ),
    "something of it quarantined": (
        pipeline.customer_not_suspended,
        {"customer": customer(quarantines=(Quarantined("build", "tool", "bld_1"),))},
        None,
    ),
    "a subscription": (pipeline.subscription_exists, {}, None),
    "none": (pipeline.subscription_exists, {"customer": customer(subscription=None)}, "SUBSCRIPTION_NONE"),
    "not expired": (pipeline.subscription_not_expired, {}, None),
    "expired": (
        pipeline.subscription_not_expired,
        {"customer": customer(subscription=subscription(status="trialing", period_end=NOW))},
        "SUBSCRIPTION_EXPIRED",
    ),
    "expired is not for the paused": (
        pipeline.subscription_not_expired,
        {"customer": customer(subscription=subscription(status="paused", period_end=NOW))},
        None,
    ),
    "paused": (
        pipeline.subscription_not_paused,
        {"customer": customer(subscription=subscription(status="paused"))},
        "SUBSCRIPTION_PAUSED",
    ),
    "a plugin": (pipeline.plugin_known, {}, None),
    "no plugin": (pipeline.plugin_known, {"plugin_name": "nothing"}, "PLUGIN_UNKNOWN"),
    "a private one": (
        pipeline.plugin_known,
        {"catalogue": catalogue(plugin(is_private=True))},
        "PLUGIN_UNKNOWN",
    ),
    "a private one of this customer": (
        pipeline.plugin_known,
        {"catalogue": catalogue(plugin(is_private=True)), "customer": customer(allowed_plugins=("tool",))},
        None,
    ),
    "an allow-list is no catalogue": (
        pipeline.plugin_known,
        {"plugin_name": "gone", "customer": customer(allowed_plugins=("gone",))},
        "PLUGIN_UNKNOWN",
    ),
    "nothing quarantined": (pipeline.plugin_not_quarantined, {}, None),
    "the plugin quarantined": (
        pipeline.plugin_not_quarantined,
        {"catalogue": catalogue(quarantines=(Quarantined("plugin", "tool", ""),))},
        "PLUGIN_QUARANTINED",
    ),
    "another plugin quarantined": (
        pipeline.plugin_not_quarantined,
        {"catalogue": catalogue(quarantines=(Quarantined("plugin", "other", ""),))},
        None,
    ),
    "the version quarantined": (
        pipeline.plugin_not_quarantined,
        {"catalogue": catalogue(quarantines=(Quarantined("version", "tool", "1.2.3"),))},
        "PLUGIN_QUARANTINED",
    ),
    "another version quarantined": (
        pipeline.plugin_not_quarantined,
        {"catalogue": catalogue(quarantines=(Quarantined("version", "tool", "1.2.4"),))},
        None,
    ),
    "this version of another plugin": (
        pipeline.plugin_not_quarantined,
        {"catalogue": catalogue(quarantines=(Quarantined("version", "other", "1.2.3"),))},
        None,
    ),
    "the artifact that the build is": (
        pipeline.plugin_not_quarantined,
        {"catalogue": catalogue(quarantined_builds=frozenset({"bld_1"})), "build": BUILD},
        "PLUGIN_QUARANTINED",
    ),
    "another artifact": (
        pipeline.plugin_not_quarantined,
        {"catalogue": catalogue(quarantined_builds=frozenset({"bld_2"})), "build": BUILD},
        None,
    ),
    "unsigned": (pipeline.build_known, {}, None),
    "signed and found": (pipeline.build_known, {"is_signed": True, "build": BUILD}, None),
    "signed and not found": (pipeline.build_known, {"is_signed": True}, "BUILD_UNKNOWN"),
    "a build": (pipeline.build_not_quarantined, {"build": BUILD}, None),
    "a quarantined build": (
        pipeline.build_not_quarantined,
        {"build": BUILD, "customer": customer(quarantines=(Quarantined("build", "tool", "bld_1"),))},
        "BUILD_QUARANTINED",
    ),
    "another build quarantined": (
        pipeline.build_not_quarantined,
        {"build": BUILD, "customer": customer(quarantines=(Quarantined("build", "tool", "bld_2"),))},
        None,
    ),
    "a build without an end": (pipeline.build_not_expired, {"build": Build("bld_1")}, None),
    "a build's last instant": (
        pipeline.build_not_expired,
        {"now": NOW + 0.999, "build": Build("bld_1", NOW + 1)},
        None,
    ),
    "a build's end": (pipeline.build_not_expired, {"build": Build("bld_1", NOW)}, "BUILD_EXPIRED"),
    "a build's end within this second": (
        pipeline.build_not_expired,
        {"build": Build("bld_1", NOW + 0.001)},
        "BUILD_EXPIRED",
    ),
    "a served version": (pipeline.version_served, {}, None),
    "a blocked version": (
        pipeline.version_served,
        {"catalogue": catalogue(plugin(blocked_versions=("1.2.3",)))},
        "VERSION_BLOCKED",
    ),
    "below the minimum": (
        pipeline.version_served,
        {"catalogue": catalogue(plugin(minimum_version="1.3.0"))},
        "VERSION_BLOCKED",
    ),
    "a tier above": (pipeline.tier_high_enough, {}, None),
    "the tier itself": (pipeline.tier_high_enough, {"catalogue": catalogue(plugin(required_tier="Middle"))}, None),
    "a tier below": (
        pipeline.tier_high_enough,
        {"catalogue": catalogue(plugin(required_tier="High"))},
        "TIER_TOO_LOW",
    ),
    "asked for a tier it has": (pipeline.tier_high_enough, {"required_tier": "middle"}, None),
    "asked for more": (pipeline.tier_high_enough, {"required_tier": "High"}, "TIER_TOO_LOW"),
    "asked for less changes nothing": (
        pipeline.tier_high_enough,
        {"required_tier": "Low", "catalogue": catalogue(plugin(required_tier="High"))},
        "TIER_TOO_LOW",
    ),
    "asked for a tier that nobody can have": (
        pipeline.tier_high_enough,
        {"required_tier": "Platinum"},
        "TIER_TOO_LOW",
    ),
    "has a tier that is gone": (
        pipeline.tier_high_enough,
        {"customer": customer(subscription=subscription(tier="Gone"))},
        "TIER_TOO_LOW",
    ),
    "an installation": (pipeline.installation_not_quarantined, {"installation_id": "inst_1"}, None),
    "a quarantined installation": (
        pipeline.installation_not_quarantined,
        {
            "installation_id": "inst_1",
            "customer": customer(quarantines=(Quarantined("installation", "tool", "inst_1"),)),
        },
        "INSTALLATION_QUARANTINED",
    ),
    "no installation yet": (
        pipeline.installation_not_quarantined,
        {"customer": customer(quarantines=(Quarantined("installation", "tool", ""),))},
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str) -> None:
    rule, changes, code = CASES[name]
    verdict = rule(facts(**changes))
    assert verdict == (None if code is None else Verdict(False, code, verdict.detail if verdict else ""))
    assert verdict is None or verdict.detail


def test_every_rule_has_cases_both_ways() -> None:
    listed = {*CREDENTIAL_RULES, *CUSTOMER_RULES, *PLUGIN_RULES, pipeline.installation_not_quarantined}
    assert {rule for rule, _, code in CASES.values() if code} == listed
    assert {rule for rule, _, code in CASES.values() if code is None} >= listed - {pipeline.subscription_not_paused}


def test_the_rules_stand_in_the_order_of_the_codes() -> None:
    answers = {rule: code for rule, _, code in CASES.values() if code}
    rules = (*CREDENTIAL_RULES, *CUSTOMER_RULES, *PLUGIN_RULES, pipeline.installation_not_quarantined)
    order = list(DETAILS)
    places = [order.index(answers[rule]) for rule in rules]
    assert places == sorted(places)


def test_the_first_answer_wins_and_later_rules_are_not_asked() -> None:
    def must_not_be_asked(_: object) -> Verdict:
        raise AssertionError

    rules = (lambda _: None, lambda _: deny("LOCKDOWN"), must_not_be_asked)
    assert first_answer(rules, facts()).code == "LOCKDOWN"


def test_no_answer_is_a_yes() -> None:
    assert first_answer((), facts()) == allow()
    assert first_answer((*CREDENTIAL_RULES, *CUSTOMER_RULES, *PLUGIN_RULES), facts()) == allow()


@pytest.mark.parametrize("allowed", [None, (), ("other",)])
def test_a_private_plugin_is_as_invisible_as_none(allowed: tuple[str, ...] | None) -> None:
    who = customer(allowed_plugins=allowed)
    assert visible_plugin(catalogue(plugin(is_private=True)), who, "tool") is None
    assert visible_plugin(catalogue(), who, "absent") is None


def test_the_scope_that_is_missing_is_named() -> None:
    verdict = pipeline.scope_present(facts(key=key(scopes=frozenset())))
    assert verdict is not None
    assert "plugins:authenticate" in verdict.detail
