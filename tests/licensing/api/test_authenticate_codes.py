"""Every code that an authenticate can be refused with, and which of two wins (DESIGN §5)."""

import pytest
from django.db import transaction

from licensing.core.models import AuditEvent, OutboxEvent
from licensing.models import Installation
from licensing.rules import codes
from tests.licensing.api.conditions import CONDITIONS, STATUS_401, Scene, later_than
from tests.licensing.api.driver import PluginApi, answer, code_of
from tests.licensing.cast import Cast
from tests.licensing.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock", "empty_valkey")]


@pytest.fixture
def scene(api: PluginApi, cast: Cast) -> Scene:
    return Scene(api, cast, cast.acme)


def test_the_scene_itself_is_granted(scene: Scene) -> None:
    response = scene.ask()
    assert response.status_code == 200
    assert answer(response)["success"] is True


@pytest.mark.parametrize("code", CONDITIONS)
def test_each_code_is_answered_as_its_problem(scene: Scene, code: str) -> None:
    CONDITIONS[code](scene)
    before = Installation.objects.count()
    response = scene.ask()
    assert response.status_code == (401 if code in STATUS_401 else 403)
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    body = answer(response)
    assert body["request_id"] == response["X-Request-ID"]
    assert body | {"request_id": ""} == {
        "success": False,
        "type": f"/docs/errors/{code}",
        "title": "Unauthorized" if code in STATUS_401 else "Forbidden",
        "status": response.status_code,
        "detail": body["detail"],
        "code": code,
        "request_id": "",
    }
    assert body["detail"]
    assert ("WWW-Authenticate" in response) == (code in STATUS_401)
    assert Installation.objects.count() == before


@pytest.mark.parametrize("code", [code for code in CONDITIONS if code != "API_KEY_INVALID"])
def test_each_denial_is_audited_and_told(scene: Scene, code: str) -> None:
    CONDITIONS[code](scene)
    AuditEvent.objects.all().delete()
    OutboxEvent.objects.all().delete()
    response = scene.ask()
    row = AuditEvent.objects.get()
    assert (row.action, row.code, row.customer_id) == ("plugin.denied", code, "cust_123")
    assert (row.actor_kind, row.actor_id) == ("api_key", scene.member.api_key.id)
    assert (row.subject_kind, row.subject_id) == ("plugin", "api-logger")
    assert (row.source_address, row.request_id) == ("127.0.0.1", response["X-Request-ID"])
    event = OutboxEvent.objects.get()
    assert (event.name, event.customer_id) == ("plugin.denied", "cust_123")
    assert event.payload == {"plugin": "api-logger", "version": "2.1.0", "code": code}


@pytest.mark.parametrize("earlier", [code for code in CONDITIONS if later_than(code)])
def test_the_earlier_code_wins(api: PluginApi, cast: Cast, earlier: str) -> None:
    for later in later_than(earlier):
        with transaction.atomic():
            scene = Scene(api, cast, cast.acme)
            CONDITIONS[later](scene)
            assert code_of(scene.ask()) == later, later
            CONDITIONS[earlier](scene)
            assert code_of(scene.ask()) == earlier, later
            transaction.set_rollback(True)


def test_the_table_covers_every_code_in_the_order_of_the_design() -> None:
    elsewhere = {
        "RATE_LIMITED",
        "QUOTA_EXCEEDED",
        "VALID",
        "TOKEN_INVALID",
        "TOKEN_EXPIRED",
        "TOKEN_REVOKED",
        "PLUGIN_MISMATCH",
        "REAUTHENTICATION_DUE",
        "ENTITLEMENTS_CHANGED",
    }
    assert [code for code in codes.DETAILS if code not in elsewhere] == list(CONDITIONS)


def test_time_of_the_clock_is_what_decides(scene: Scene, clock: Clock) -> None:
    CONDITIONS["API_KEY_EXPIRED"](scene)
    clock.now -= 1
    assert scene.ask().status_code == 200
