"""Entitlements and subscriptions over the management API, at their very instants; and *explain*."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from licensing.core.models import AuditEvent, OutboxEvent
from licensing.models import Entitlement, Subscription
from licensing.services.explain import explain
from licensing.services.state import State
from tests import cast
from tests.cast import NOW

CUSTOMER = "/api/manage/customers/acme_1"
PATH = f"{CUSTOMER}/entitlements/"


def body_of(response) -> dict:
    return json.loads(response.content)


def explained(owner, at: datetime, **asked):
    state = State(None)
    return explain(customer=state.customer(owner.pk), state=state, now=at.timestamp(), **asked)


def test_an_override_and_a_temporary_grant(admin, acme):
    override = admin.post(PATH, {"feature": "support_level", "value": "gold", "source": "order 7"})
    assert (override.status_code, body_of(override)["kind"]) == (201, "override")
    assert body_of(admin.get(override["Location"])) == body_of(override)
    grant = admin.post(PATH, {"feature": "history_days", "value": 90, "ends_at": "2199-01-01T02:00:00+02:00"})
    assert body_of(grant)["kind"] == "temporary"
    assert body_of(grant)["ends_at"] == "2199-01-01T00:00:00Z"
    assert [each["kind"] for each in body_of(admin.get(f"{PATH}?in_force=true"))["results"]] == [
        "override",
        "temporary",
    ]
    assert len(body_of(admin.get(f"{PATH}?feature=history_days"))["results"]) == 1
    events = OutboxEvent.objects.filter(name="entitlement.changed", customer_id="acme_1")
    assert events.count() == 2
    assert AuditEvent.objects.filter(action="entitlement.set", actor_kind="operator").count() == 2


@pytest.mark.parametrize(
    ("body", "field", "status"),
    [
        ({}, "feature", 400),
        ({"feature": "nothing"}, "feature", 400),
        ({"feature": "history_days", "value": "many"}, "value", 400),
        ({"feature": "history_days", "value": 1.5}, "value", 400),
        ({"feature": "history_days", "value": None}, "value", 400),
        ({"feature": "history_days", "value": 2**53}, "value", 400),
        ({"feature": "api_logging", "kind": "temporary"}, "ends_at", 400),
        ({"feature": "api_logging", "kind": "override", "ends_at": "2030-01-01T00:00:00Z"}, "ends_at", 400),
        (
            {"feature": "api_logging", "starts_at": "2030-01-02T00:00:00Z", "ends_at": "2030-01-02T00:00:00Z"},
            "ends_at",
            400,
        ),
        ({"feature": "api_logging", "ends_at": "2030-01-01T00:00:00"}, "ends_at", 400),
        ({"feature": "api_logging", "ends_at": "9999-12-31T23:59:59-23:00"}, "ends_at", 400),
        ({"feature": "api_logging", "end": "2030-01-01T00:00:00Z"}, "end", 400),
    ],
)
def test_what_cannot_be_granted_is_refused_by_its_field(admin, acme, body, field, status):
    response = admin.post(PATH, body)
    assert (response.status_code, body_of(response)["field"]) == (status, field)
    assert not Entitlement.objects.exists()


def test_a_second_override_of_a_feature_is_a_conflict_and_patch_changes_the_first(admin, acme):
    first = body_of(admin.post(PATH, {"feature": "api_logging", "value": False}))
    assert admin.post(PATH, {"feature": "api_logging"}).status_code == 409
    tag = admin.get(f"{PATH}{first['id']}")["ETag"]
    changed = admin.patch(f"{PATH}{first['id']}", {"value": True}, If_Match=tag)
    assert body_of(changed)["value"] is True
    assert admin.delete(f"{PATH}{first['id']}", If_Match=tag).status_code == 412
    assert admin.delete(f"{PATH}{first['id']}", If_Match=changed["ETag"]).status_code == 204
    assert admin.get(f"{PATH}{first['id']}").status_code == 404


def test_another_customers_entitlement_is_not_there(admin, acme, globex):
    theirs = body_of(admin.post("/api/manage/customers/globex_1/entitlements/", {"feature": "api_logging"}))
    for method in ("GET", "PATCH", "DELETE"):
        body = {} if method == "PATCH" else None
        assert admin(method, f"{PATH}{theirs['id']}", body).status_code == 404
    batch = {"update": [{"id": theirs["id"], "value": False}]}
    refused = admin.post(f"{PATH}bulk", batch)
    assert body_of(refused)["errors"][0]["field"] == "update[0].id"
    assert Entitlement.objects.get().value is True


def test_a_batch_is_all_or_nothing(admin, acme):
    kept = body_of(admin.post(PATH, {"feature": "api_logging", "value": False}))
    bad = {
        "create": [{"feature": "support_level", "value": "x"}, {"feature": "history_days", "value": "x"}],
        "update": [{"id": kept["id"], "value": True}, {"id": "ent_none", "value": True}],
    }
    refused = admin.post(f"{PATH}bulk", bad)
    assert (refused.status_code, body_of(refused)["code"]) == (400, "BATCH_REFUSED")
    assert [error["field"] for error in body_of(refused)["errors"]] == ["create[1].value", "update[1].id"]
    assert [row.value for row in Entitlement.objects.all()] == [False]
    good = {"create": bad["create"][:1], "update": bad["update"][:1]}
    done = body_of(admin.post(f"{PATH}bulk", good))
    assert (done["created"][0]["value"], done["updated"][0]["value"]) == ("x", True)


def test_a_subscription_is_put_patched_and_held_to_its_tag(admin, acme):
    path = f"{CUSTOMER}/subscription"
    Subscription.objects.all().delete()
    assert admin.get(path).status_code == 404
    assert admin.patch(path, {}).status_code == 404
    whole = {"tier": "Pro", "period_start": "2026-01-01T00:00:00Z", "period_end": "2199-01-01T00:00:00Z"}
    made = admin.put(path, whole, If_None_Match="*")
    assert (made.status_code, body_of(made)["status"], body_of(made)["is_active"]) == (201, "active", True)
    assert admin.put(path, whole, If_None_Match="*").status_code == 412
    changed = admin.patch(path, {"tier": "Free", "installation_limit": 5}, If_Match=admin.get(path)["ETag"])
    assert (body_of(changed)["tier"], body_of(changed)["installation_limit"]) == ("Free", 5)
    assert admin.patch(path, {"status": "paused"}, If_Match=made["ETag"]).status_code == 412
    assert body_of(admin.patch(path, {"status": "paused"}))["code"] == "SUBSCRIPTION_PAUSED"
    for body, field in (({"tier": "Gold"}, "tier"), ({"period_end": "2025-01-01T00:00:00Z"}, "period_end")):
        refused = admin.patch(path, body)
        assert (refused.status_code, body_of(refused)["field"]) == (400, field)


def test_explain_names_what_decides_and_what_would_be_without(acme, admin):
    start, end = NOW, NOW + timedelta(days=1)
    cast.subscribe(acme, now=NOW - timedelta(days=1))
    override = body_of(admin.post(PATH, {"feature": "history_days", "value": 5, "source": "deal"}))
    grant = body_of(
        admin.post(
            PATH,
            {"feature": "history_days", "value": 90, "starts_at": start.isoformat(), "ends_at": "2199-01-01T00:00:00Z"},
        )
    )
    Entitlement.objects.filter(pk=grant["id"]).update(ends_at=datetime(2190, 1, 1, tzinfo=UTC))
    before = explained(acme, start - timedelta(microseconds=1), feature="history_days").feature
    assert (before.decided_by, before.value, before.id) == ("override", 5, override["id"])
    assert (before.otherwise.decided_by, before.otherwise.value) == ("tier", 30)
    assert before.next_change_at == start
    at = explained(acme, start, feature="history_days").feature
    assert (at.decided_by, at.value, at.otherwise.value) == ("temporary", 90, 5)
    assert [(layer.kind, layer.decides) for layer in at.layers] == [
        ("tier", False),
        ("override", False),
        ("temporary", True),
    ]
    assert end > start
    nothing = explained(acme, start, feature="support_level").feature
    assert (nothing.is_granted, nothing.decided_by) == (False, "nothing")
    assert "no feature" in explained(acme, start, feature="unheard_of").feature.explanation


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(timedelta(microseconds=-1), True), (timedelta(0), False)],
    ids=["just before", "at the instant"],
)
def test_a_grants_end_and_a_graces_end_are_obeyed_at_their_instants(acme, admin, offset, expected):
    end = datetime(2190, 1, 1, tzinfo=UTC)
    cast.subscribe(acme, "Free", now=end - timedelta(days=40), period_end=end - timedelta(days=1), grace_until=end)
    body = {"feature": "support_level", "value": "x", "starts_at": "2026-01-01T00:00:00Z", "ends_at": end.isoformat()}
    assert admin.post(PATH, body).status_code == 201
    answer = explained(acme, end + offset, feature="support_level", plugin="api-logger")
    assert answer.feature.is_granted is expected
    assert answer.plugin.verdict.valid is expected
    assert answer.subscription.is_active is expected


def test_explain_gives_the_verdict_that_the_plugin_api_gives(admin, acme, globex, signing):
    key = cast.key_of(globex)
    asked = {"plugin_name": "analytics", "plugin_version": "1.0.0", "customer_id": "globex_1"}
    refused = body_of(key.post("/api/plugins/authenticate", asked))
    shown = body_of(admin.get("/api/manage/customers/globex_1/explain?plugin=analytics&feature=api_logging"))
    assert shown["plugin"]["verdict"]["code"] == refused["code"] == "TIER_TOO_LOW"
    assert "required_tier" in shown["plugin"]["remedy"]
    assert shown["feature"]["is_granted"] is False
    assert len(shown["summary"]) == 3
    own = body_of(key.get("/api/account/explain?plugin=analytics"))
    assert own["plugin"]["remedy"] == "Change to a higher tier."
    admin.patch("/api/manage/customers/globex_1/subscription", {"tier": "Pro"})
    assert key.post("/api/plugins/authenticate", asked).status_code == 200
    assert body_of(key.get("/api/account/explain?plugin=analytics"))["plugin"]["verdict"]["valid"] is True


def test_explain_refuses_a_version_without_a_plugin_and_an_unknown_customer(admin, acme):
    assert admin.get(f"{CUSTOMER}/explain?version=1").status_code == 400
    assert admin.get("/api/manage/customers/nobody_1/explain").status_code == 404
