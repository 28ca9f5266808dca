"""Which features a customer has: tier ← override ← temporary grant."""

from typing import Any

import pytest

from licensing.rules.entitlements import Entitled, entitlements, features_for_plugin, next_change
from licensing.rules.snapshot import Override, TemporaryGrant
from tests.licensing.rules.builders import NOW, catalogue, customer, plugin, subscription

START, END = NOW + 100, NOW + 200


def _override(feature: str, value: Any, row_id: str = "ent_o") -> Override:
    return Override(feature, value, row_id, "order 1")


def _grant(feature: str, value: Any, start: float = START, end: float = END, row_id: str = "ent_t") -> TemporaryGrant:
    return TemporaryGrant(feature, value, start, end, row_id, "trial")


# Name: overrides, grants, instant, feature, value (None: no layer speaks of it), origin.
LAYERS: dict[str, tuple[list[Override], list[TemporaryGrant], float, str, Any, str]] = {
    "the tier's grant": ([], [], NOW, "extra", 5, "tier"),
    "nobody speaks of it": ([], [], NOW, "special", None, ""),
    "an override adds": ([_override("special", "mine")], [], NOW, "special", "mine", "override"),
    "an override replaces": ([_override("extra", 7)], [], NOW, "extra", 7, "override"),
    "an override refuses": ([_override("extra", False)], [], NOW, "extra", False, "override"),
    "an override may be zero": ([_override("extra", 0)], [], NOW, "extra", 0, "override"),
    "before a grant's start": ([], [_grant("extra", 9)], START - 0.001, "extra", 5, "tier"),
    "a grant's start": ([], [_grant("extra", 9)], START, "extra", 9, "temporary"),
    "a grant's last instant": ([], [_grant("extra", 9)], END - 0.001, "extra", 9, "temporary"),
    "a grant's end": ([], [_grant("extra", 9)], END, "extra", 5, "tier"),
    "a grant over an override": ([_override("extra", 7)], [_grant("extra", 9)], START, "extra", 9, "temporary"),
    "an override when the grant is over": ([_override("extra", 7)], [_grant("extra", 9)], END, "extra", 7, "override"),
    "a grant over a refusal": ([_override("extra", False)], [_grant("extra", 9)], START, "extra", 9, "temporary"),
    "a grant may refuse": ([], [_grant("extra", False)], START, "extra", False, "temporary"),
    "of two grants the later start wins": (
        [],
        [_grant("extra", 9, START + 50, END), _grant("extra", 8)],
        START + 50,
        "extra",
        9,
        "temporary",
    ),
    "the earlier one until then": (
        [],
        [_grant("extra", 9, START + 50, END), _grant("extra", 8)],
        START + 49,
        "extra",
        8,
        "temporary",
    ),
    "of two that start together the greater id wins": (
        [],
        [_grant("extra", 9, row_id="ent_b"), _grant("extra", 8, row_id="ent_a")],
        START,
        "extra",
        9,
        "temporary",
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    overrides, grants, instant, feature, value, origin = LAYERS[name]
    found = entitlements(customer(overrides=tuple(overrides), grants=tuple(grants)), catalogue(), instant).get(feature)
    if value is None:
        assert found is None
        return
    assert found is not None
    assert (found.value, type(found.value), found.origin) == (value, type(value), origin)


def test_each_layer_says_where_it_comes_from() -> None:
    found = entitlements(
        customer(overrides=(_override("basic", True),), grants=(_grant("special", "x"),)), catalogue(), START
    )
    assert found == {
        "basic": Entitled("basic", True, "override", "ent_o", "order 1"),
        "extra": Entitled("extra", 5, "tier", "Middle"),
        "special": Entitled("special", "x", "temporary", "ent_t", "trial", END),
    }


@pytest.mark.parametrize(
    ("value", "is_granted"), [(True, True), (False, False), (0, True), (1, True), ("", True), ("x", True)]
)
def test_only_false_is_refused(value: Any, is_granted: bool) -> None:
    assert Entitled("extra", value, "tier", "Middle").is_granted is is_granted


def test_without_a_subscription_only_the_customers_own_remain() -> None:
    found = entitlements(customer(subscription=None, overrides=(_override("extra", 7),)), catalogue(), NOW)
    assert list(found) == ["extra"]


def test_a_tier_that_is_gone_grants_nothing() -> None:
    assert entitlements(customer(subscription=subscription(tier="Gone")), catalogue(), NOW) == {}


def test_a_plugin_learns_its_own_features_in_its_own_order() -> None:
    asking = plugin(features=("special", "extra", "basic"))
    who = customer(overrides=(_override("special", "s"), _override("unrelated", True)))
    assert list(features_for_plugin(who, catalogue(asking), asking, NOW)) == ["special", "extra", "basic"]


def test_a_refused_feature_is_not_listed() -> None:
    asking = plugin(features=("basic", "extra"))
    who = customer(overrides=(_override("extra", False),))
    assert list(features_for_plugin(who, catalogue(asking), asking, NOW)) == ["basic"]


def test_a_plugin_that_lists_none_is_told_of_all_sorted() -> None:
    asking = plugin(features=())
    who = customer(overrides=(_override("a_first", True),))
    assert list(features_for_plugin(who, catalogue(asking), asking, NOW)) == ["a_first", "basic", "extra"]


@pytest.mark.parametrize(
    ("instant", "expected"),
    [(NOW, START), (START - 0.5, START), (START, END), (END - 0.5, END), (END, None)],
)
def test_the_next_change(instant: float, expected: float | None) -> None:
    assert next_change(customer(grants=(_grant("extra", 9),)), instant) == expected


def test_no_change_without_grants() -> None:
    assert next_change(customer(), NOW) is None
