"""What whoever found a customer's revoked key can do with it: nothing to the customer."""

import json

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.services.api_keys import issue_api_key, revoke_api_key
from licensing.core.clock import from_epoch
from licensing.models import Subscription
from tests.licensing.api.driver import asked, signed
from tests.licensing.cast import ACTOR, T0, Cast

pytestmark = pytest.mark.django_db


def ask(cast: Cast, key: str, fingerprint: str) -> tuple[int, str | None]:
    body = asked(cast.acme, **signed(cast.acme, installation={"fingerprint": fingerprint}))
    headers = {"Authorization": f"Bearer {key}"}
    response = Client().post(
        "/api/plugins/authenticate", json.dumps(body), content_type="application/json", headers=headers
    )
    return response.status_code, json.loads(response.content).get("code")


def test_a_refused_key_is_limited_and_uses_up_nothing_of_its_customers(cast: Cast, settings: Settings) -> None:
    settings.RATE_LIMIT_PER_MINUTE, settings.RATE_LIMIT_BURST = 1, 2
    Subscription.objects.filter(pk=cast.acme.id).update(installation_limit=1)
    revoked = issue_api_key(customer=cast.acme.customer, name="Leaked", actor=ACTOR)
    revoke_api_key(api_key=revoked.api_key, actor=ACTOR, now=from_epoch(T0))

    answers = [ask(cast, revoked.key, f"machine-{number}") for number in range(4)]
    on_a_known_machine = ask(cast, revoked.key, "machine-of-acme")

    assert answers == [(401, "API_KEY_REVOKED")] * 2 + [(429, "RATE_LIMITED")] * 2
    assert on_a_known_machine == (429, "RATE_LIMITED")
    assert [ask(cast, cast.acme.key, "machine-of-acme") for _ in range(3)] == [(200, None)] * 2 + [
        (429, "RATE_LIMITED")
    ]
