"""`/api/manage/features/`, `tiers/`, `plugins/`: the catalogue, and what may not be taken from under others."""

import json

import pytest

from licensing.models import Entitlement, Feature, Plugin, PluginAccess, Tier, TierGrant
from licensing.selectors import load_catalogue
from tests import cast

MANAGE = "/api/manage"


def body_of(response) -> dict:
    return json.loads(response.content)


def test_a_vendor_makes_a_feature_a_tier_and_a_plugin(admin):
    feature = admin.post(f"{MANAGE}/features/", {"code": "export", "value_type": "int"})
    assert (feature.status_code, feature["Location"]) == (201, f"{MANAGE}/features/export")
    tier = admin.post(f"{MANAGE}/tiers/", {"name": "Team One", "rank": 5, "features": {"export": 3}})
    assert tier.status_code == 201
    assert body_of(admin.get(tier["Location"]))["features"] == {"export": 3}
    plugin = admin.post(f"{MANAGE}/plugins/", {"name": "x-tool", "required_tier": "Team One", "features": ["export"]})
    shown = body_of(plugin)
    assert (plugin.status_code, shown["accepts_unsigned"], shown["features"]) == (201, False, ["export"])
    catalogue = load_catalogue()
    assert catalogue.tiers["Team One"].grants == {"export": 3}
    assert catalogue.plugins["x-tool"].features == ("export",)


@pytest.mark.parametrize(
    ("path", "body", "field", "status"),
    [
        ("features", {"code": "Export"}, "code", 400),
        ("features", {"code": "api_logging"}, "code", 409),
        ("features", {"code": "x", "value_type": "float"}, "value_type", 400),
        ("tiers", {"name": "pro", "rank": 7}, "name", 409),
        ("tiers", {"name": "New", "rank": 10}, "rank", 409),
        ("tiers", {"name": "New", "rank": -1}, "rank", 400),
        ("tiers", {"name": "New", "rank": 7, "features": {"nothing": True}}, "features.nothing", 400),
        ("tiers", {"name": "New", "rank": 7, "features": {"history_days": "many"}}, "features.history_days", 400),
        ("plugins", {"name": "new"}, "required_tier", 400),
        ("plugins", {"name": "new", "required_tier": "Gold"}, "required_tier", 400),
        ("plugins", {"name": "api-logger", "required_tier": "Pro"}, "name", 409),
        ("plugins", {"name": "new", "required_tier": "Pro", "features": ["api_logging", "no"]}, "features[1]", 400),
        (
            "plugins",
            {"name": "new", "required_tier": "Pro", "allowed_customers": ["no_1"]},
            "allowed_customers[0]",
            400,
        ),
        ("plugins", {"name": "new", "required_tier": "Pro", "minimum_version": "two"}, "minimum_version", 400),
        ("plugins", {"name": "new", "required_tier": "Pro", "private": True}, "private", 400),
    ],
)
def test_what_cannot_be_made_is_refused_by_its_field(admin, shop, path, body, field, status):
    before = (Feature.objects.count(), Tier.objects.count(), Plugin.objects.count(), TierGrant.objects.count())
    response = admin.post(f"{MANAGE}/{path}/", body)
    assert (response.status_code, body_of(response)["field"]) == (status, field)
    assert before == (Feature.objects.count(), Tier.objects.count(), Plugin.objects.count(), TierGrant.objects.count())


def test_what_is_in_use_stays(admin, acme):
    for path in ("features/api_logging", "tiers/Pro", "tiers/Free"):
        response = admin.delete(f"{MANAGE}/{path}")
        assert (response.status_code, body_of(response)["code"]) == (409, "CONFLICT")
    assert admin.delete(f"{MANAGE}/features/support_level").status_code == 204
    assert admin.delete(f"{MANAGE}/plugins/analytics").status_code == 204
    assert admin.get(f"{MANAGE}/plugins/analytics").status_code == 404


def test_a_tier_changes_its_grants_as_a_whole(admin, shop):
    path = f"{MANAGE}/tiers/Pro"
    tag = admin.get(path)["ETag"]
    changed = admin.patch(path, {"features": {"history_days": 60}, "rank": 11}, If_Match=tag)
    assert body_of(changed)["features"] == {"history_days": 60}
    assert body_of(changed)["rank"] == 11
    assert admin.patch(path, {"rank": 12}, If_Match=tag).status_code == 412
    # To Python alone True equals 1: the value must become the number.
    assert body_of(admin.patch(path, {"features": {"history_days": 1}}))["features"] == {"history_days": 1}


def test_a_feature_that_is_granted_keeps_its_type(admin, shop):
    path = f"{MANAGE}/features/history_days"
    assert admin.patch(path, {"value_type": "str"}).status_code == 409
    assert body_of(admin.patch(path, {"name": "History"}))["name"] == "History"
    assert body_of(admin.patch(f"{MANAGE}/features/support_level", {"value_type": "int"}))["value_type"] == "int"


def test_a_plugin_keeps_the_order_of_its_features_and_its_allow_list(admin, acme):
    path = f"{MANAGE}/plugins/api-logger"
    listed = ["support_level", "history_days", "api_logging"]
    changed = admin.patch(path, {"features": listed, "is_private": True, "allowed_customers": ["acme_1"]})
    assert body_of(changed)["features"] == listed
    assert PluginAccess.objects.get().customer_id == "acme_1"
    assert load_catalogue().plugins["api-logger"].features == tuple(listed)
    assert body_of(admin.patch(path, {"allowed_customers": []}))["allowed_customers"] == []


def test_a_manifest_is_taken_in_any_form_and_shown_in_one(admin, shop):
    path = f"{MANAGE}/plugins/api-logger/manifests/2.1.0"
    nested = {"permissions": {"network": {"fetch": True}}, "resources": {"timeout_seconds": 5}}
    first = admin.put(path, nested, If_None_Match="*")
    assert (first.status_code, body_of(first)["short"]) == (201, ["network:fetch"])
    assert admin.put(path, nested, If_None_Match="*").status_code == 412
    again = admin.put(path, {"permissions": [{"resource": "db.*", "actions": ["read"], "effect": "deny"}]})
    assert (again.status_code, body_of(again)["short"]) == (200, ["!db.*:read"])
    assert load_catalogue().plugins["api-logger"].manifests["2.1.0"]["short"] == ["!db.*:read"]
    wrong = admin.put(path, {"permissions": [{"resource": "a", "action": "b", "effect": "perhaps"}]})
    assert (wrong.status_code, body_of(wrong)["field"]) == (400, "permissions[0].effect")
    assert admin.put(f"{MANAGE}/plugins/api-logger/manifests/new", nested).status_code == 400
    assert admin.delete(path).status_code == 204
    assert admin.get(path).status_code == 404


def test_removing_what_an_entitlement_needs_is_refused(admin, acme):
    cast.subscribe(acme)
    granted = admin.post(f"{MANAGE}/customers/acme_1/entitlements/", {"feature": "support_level", "value": "gold"})
    assert granted.status_code == 201
    assert admin.delete(f"{MANAGE}/features/support_level").status_code == 409
    assert Entitlement.objects.count() == 1
