"""`POST /api/plugins/usage` over HTTP."""

from typing import Any

import pytest

from licensing.core.models import AuditEvent
from licensing.models import Plugin
from tests.licensing.api.driver import PluginApi, answer, code_of
from tests.licensing.cast import DAY, Cast, sign_out

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_valkey")]


@pytest.fixture
def api() -> PluginApi:
    return PluginApi()


def report(api: PluginApi, token: str | None, batch_id: str = "batch-0001", **body: Any) -> Any:
    events = [{"feature": "console_logging", "count": 4}]
    return api.post("usage", {"batch_id": batch_id, "events": events, **body}, credential=token)


def test_counts_and_tells_what_is_left(api: PluginApi, cast: Cast) -> None:
    token = api.token(cast.acme)
    response = report(api, token)
    assert response.status_code == 200
    said = answer(response)
    assert (said["used"], said["quota"], said["remaining"]) == (4, 1_000_000, 999_996)
    assert said["success"] is True
    assert said["resets_at"].endswith("T00:00:00Z")
    assert answer(report(api, token))["used"] == 4


def test_over_quota_it_learns_so_and_nothing_of_the_batch_counts(api: PluginApi, cast: Cast) -> None:
    Plugin.objects.filter(pk="console-logger").update(quota=5)
    token = api.token(cast.acme)
    report(api, token)
    refused = report(api, token, "batch-0002")
    assert (refused.status_code, code_of(refused)) == (403, "QUOTA_EXCEEDED")
    assert answer(refused)["used"] == 4
    one = report(api, token, "batch-0003", events=[{"feature": "console_logging"}])
    assert answer(one)["used"] == 5


def test_the_day_ends_at_midnight_utc(api: PluginApi, cast: Cast, clock: Any) -> None:
    clock.now = (int(clock.now) // DAY + 1) * DAY - 1
    token = api.token(cast.acme)
    assert answer(report(api, token))["used"] == 4
    clock.now += 1
    assert answer(report(api, token, "batch-0002"))["used"] == 4


def test_without_a_token(api: PluginApi, cast: Cast) -> None:
    assert report(api, None).status_code == 401


def test_with_a_token_that_was_signed_out(api: PluginApi, cast: Cast) -> None:
    token = api.token(cast.acme)
    sign_out(cast.acme.customer, "customer", cast.acme.id)
    refused = report(api, token)
    assert (refused.status_code, code_of(refused)) == (401, "TOKEN_REVOKED")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"batch_id": "short"}, "batch_id"),
        ({"batch_id": "with space"}, "batch_id"),
        ({"events": []}, "events"),
        ({"events": [{"feature": "x"}] * 1001}, "events"),
        ({"events": [{"feature": "Not A Code"}]}, "events[0].feature"),
        ({"events": [{"feature": "x", "count": 0}]}, "events[0].count"),
        ({"events": [{"feature": "x", "count": 1.5}]}, "events[0].count"),
        ({"events": [{"count": 1}]}, "events[0].feature"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_names_its_field(api: PluginApi, cast: Cast, body: dict[str, Any], field: str) -> None:
    refused = report(api, api.token(cast.acme), **body)
    assert refused.status_code == 400
    assert answer(refused)["field"] == field


def test_a_refusal_is_remembered(api: PluginApi, cast: Cast) -> None:
    Plugin.objects.filter(pk="console-logger").update(quota=3)
    token = api.token(cast.acme)
    assert code_of(report(api, token)) == "QUOTA_EXCEEDED"
    sign_out(cast.acme.customer, "customer", cast.acme.id)
    assert code_of(report(api, token, "batch-0002")) == "TOKEN_REVOKED"
    rows = AuditEvent.objects.filter(action="plugin.denied", actor_kind="plugin_token").order_by("id")
    assert [(row.code, row.customer_id) for row in rows] == [
        ("QUOTA_EXCEEDED", cast.acme.id),
        ("TOKEN_REVOKED", cast.acme.id),
    ]
