"""Reports of a compromise: each is an alarm, so they draw on the limits; and who is refused one is remembered."""

from typing import Any

import pytest
from pytest_django import Settings

from accounts.services.api_keys import revoke_api_key
from licensing.core.clock import from_epoch
from licensing.core.models import AuditEvent, OutboxEvent
from tests.licensing.api.driver import PluginApi, code_of
from tests.licensing.cast import ACTOR, T0, Cast, make_key, sign_out

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_valkey")]

REPORT = {"type": "tampering", "plugin_name": "console-logger", "fingerprint": "machine-0001"}


def report(api: PluginApi, credential: str, **changes: Any) -> tuple[int, str]:
    response = api.post("report", REPORT | changes, credential=credential)
    return response.status_code, code_of(response)


def alarms() -> int:
    return OutboxEvent.objects.filter(name="security.alert").count()


def denials() -> list[tuple[str, str]]:
    rows = AuditEvent.objects.filter(action="plugin.denied").order_by("id")
    return [(row.code, row.actor_kind) for row in rows]


def test_a_key_raises_no_more_alarms_than_the_limit_lets_it(api: PluginApi, cast: Cast, settings: Settings) -> None:
    api.token(cast.acme)
    settings.RATE_LIMIT_PER_MINUTE, settings.RATE_LIMIT_BURST = 1, 3
    assert [report(api, cast.acme.key) for _ in range(5)] == [(200, "VALID")] * 3 + [(429, "RATE_LIMITED")] * 2
    assert alarms() == 3
    assert api.authenticate(cast.acme, installation={"fingerprint": "machine-0002"}).status_code == 200


def test_a_refused_key_uses_up_nothing_of_its_customers(api: PluginApi, cast: Cast, settings: Settings) -> None:
    api.token(cast.acme)
    revoked = make_key(cast.acme.customer)
    revoke_api_key(api_key=revoked.api_key, actor=ACTOR, now=from_epoch(T0))
    settings.RATE_LIMIT_PER_MINUTE, settings.RATE_LIMIT_BURST = 1, 2
    answers = [report(api, revoked.key) for _ in range(3)]
    assert answers == [(401, "API_KEY_REVOKED")] * 2 + [(429, "RATE_LIMITED")]
    assert report(api, cast.acme.key) == (200, "VALID")
    assert denials() == [("API_KEY_REVOKED", "api_key")] * 2


def test_a_token_that_may_not_report_is_remembered(api: PluginApi, cast: Cast) -> None:
    token = api.token(cast.acme)
    assert report(api, token, plugin_name="api-logger") == (403, "PLUGIN_MISMATCH")
    sign_out(cast.acme.customer, "customer", cast.acme.id)
    assert report(api, token) == (401, "TOKEN_REVOKED")
    assert denials() == [("PLUGIN_MISMATCH", "plugin_token"), ("TOKEN_REVOKED", "plugin_token")]
    assert alarms() == 0


def test_what_was_never_ours_is_nobodys_and_leaves_no_row(api: PluginApi, cast: Cast) -> None:
    assert report(api, "a.b.c") == (401, "TOKEN_INVALID")
    assert report(api, "km_live_" + "0" * 36) == (401, "API_KEY_INVALID")
    assert denials() == []
