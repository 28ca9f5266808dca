"""What a positive verdict grants."""

import pytest

from licensing.rules.grants import grant_for
from tests.licensing.rules.builders import DAY, NOW, catalogue, customer, facts, plugin, subscription


def test_the_tiers_allowance_where_the_plugin_has_none() -> None:
    grant = grant_for(facts())
    assert (grant.tier, grant.feature_codes) == ("Middle", ("basic", "extra"))
    assert (grant.requests_per_minute, grant.events_per_day) == (60, 1000)
    assert grant.permissions == {
        "tool": {"allowed": True, "rate_limit": 60, "quota": 1000, "feature_values": {"extra": 5}}
    }


@pytest.mark.parametrize(("rate_limit", "quota"), [(0, 0), (7, 70)])
def test_the_plugins_own_allowance(rate_limit: int, quota: int) -> None:
    grant = grant_for(facts(catalogue=catalogue(plugin(rate_limit=rate_limit, quota=quota))))
    assert (grant.requests_per_minute, grant.events_per_day) == (rate_limit, quota)
    assert (grant.permissions["tool"]["rate_limit"], grant.permissions["tool"]["quota"]) == (rate_limit, quota)


def test_a_feature_that_is_simply_there_has_no_value() -> None:
    grant = grant_for(facts(catalogue=catalogue(plugin(features=("basic",)))))
    assert "feature_values" not in grant.permissions["tool"]


def test_the_versions_own_permissions() -> None:
    manifests = {"1.2.3": {"short": ["network"]}, "1.2.4": {"short": ["files"]}}
    grant = grant_for(facts(catalogue=catalogue(plugin(manifests=manifests))))
    assert grant.permissions["tool"]["permissions"] == ["network"]


def test_access_and_grace() -> None:
    late = subscription(period_end=NOW - 1, grace_until=NOW + DAY)
    grant = grant_for(facts(customer=customer(subscription=late)))
    assert (grant.access_until, grant.grace_until) == (NOW + DAY, NOW + DAY)


def test_there_is_no_grant_without_subscription_or_plugin() -> None:
    with pytest.raises(ValueError, match="subscription and a plugin"):
        grant_for(facts(customer=customer(subscription=None)))
    with pytest.raises(ValueError, match="subscription and a plugin"):
        grant_for(facts(plugin_name="absent"))
